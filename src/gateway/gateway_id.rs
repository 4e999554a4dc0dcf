//! Which gateway this is: a random id in a file of its own in the state folder. Gateways of one platform share the
//! CA and the database, and each marks with its id what it says of control links; so the file is never copied from
//! one to another.

use std::path::PathBuf;

use tracing::debug;

use adit_core::domain::id::{GatewayId, InvalidId};
use adit_net::host::folder::{Folder, FolderError};
use adit_net::identity::random;

pub(super) const FILE: &str = "gateway.id";

#[derive(Debug, thiserror::Error)]
pub enum GatewayIdError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("`{path}` holds no id of a gateway; delete it, and this gateway takes a new one")]
    Damaged { path: PathBuf, source: InvalidId },
}

/// Reads this gateway's id, or makes it when the folder has none.
pub(super) fn open(folder: &Folder) -> Result<GatewayId, GatewayIdError> {
    if let Some(bytes) = folder.read(FILE)? {
        let path = folder.path().join(FILE);
        let id = String::from_utf8_lossy(&bytes).trim().parse();
        return id.map_err(|source| GatewayIdError::Damaged { path, source });
    }
    let id = GatewayId::from_bytes(random::bytes());
    folder.write(FILE, format!("{id}\n").as_bytes())?;
    debug!(%id, "this gateway has an id from now on");
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_keeps_its_id_and_another_has_another() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let open =
            |folder: &tempfile::TempDir| super::open(&Folder::open(&folder.path().join("state")).unwrap());
        let id = open(&one).unwrap();
        assert_eq!(open(&one).unwrap(), id);
        assert_ne!(open(&other).unwrap(), id);
    }

    #[test]
    fn a_damaged_id_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder::open(&folder.path().join("state")).unwrap();
        folder.write(FILE, b"not an id").unwrap();
        let error = open(&folder).unwrap_err().to_string();
        assert!(error.contains("gateway.id` holds no id of a gateway; delete it"), "{error}");
    }
}
