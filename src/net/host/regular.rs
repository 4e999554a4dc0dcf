//! Opening what must be a regular file: a pipe is not waited for, and a device not read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// Opens a file that a person named; links are followed.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    open_with(path, options, OFlags::NONBLOCK)
}

/// Opens a file of a folder that is ours alone, where it can have no other name.
pub(super) fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = open_with(path, options, OFlags::NONBLOCK | OFlags::NOFOLLOW).map_err(|error| match error
        .raw_os_error()
        .map(rustix::io::Errno::from_raw_os_error)
    {
        Some(rustix::io::Errno::LOOP) => irregular("it is a symbolic link"),
        Some(rustix::io::Errno::NXIO) => irregular("it is no regular file"),
        _ => error,
    })?;
    if file.metadata()?.nlink() > 1 {
        return Err(irregular("it has another name (a hard link)"));
    }
    Ok(file)
}

/// Returns the text of a file that a person named, if it has at most `bytes_max` bytes.
pub fn read_text(path: &Path, bytes_max: u64) -> io::Result<Zeroizing<String>> {
    read_all(&open(path, OpenOptions::new().read(true))?, bytes_max)
}

/// Returns the text of an open file, if it has at most `bytes_max` bytes.
pub fn read_all(file: &File, bytes_max: u64) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    file.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(irregular("it is too long"));
    }
    Ok(text)
}

/// Returns whether an error says that a file is of the wrong kind.
pub(super) fn is_irregular(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput && error.raw_os_error().is_none()
}

fn open_with(path: &Path, options: &mut OpenOptions, flags: OFlags) -> io::Result<File> {
    let file = options.custom_flags(flags.bits().cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(irregular("it is no regular file"));
    }
    Ok(file)
}

fn irregular(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}
