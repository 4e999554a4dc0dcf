//! A folder for what many tests in a row write.

use std::path::Path;

use tempfile::TempDir;

/// Returns a folder of its own, in memory where there is such a place: none of these tests is about a disk, and
/// thousands of syncs would only wear one.
pub(crate) fn memory_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}
