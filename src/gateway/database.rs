//! Which database the gateway's file means, and whether it is there. A file that holds its URL is read here,
//! never one that others may read.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tracing::debug;
use zeroize::Zeroizing;

use super::platform::{DATABASE, Location, OpenError, check_not_emptied};
use adit_core::config::gateway::GatewayConfig;
use adit_core::config::{DatabaseSetting, DatabaseUrl, InvalidDatabaseUrl};
use adit_core::domain::limits::CONFIG_BYTES_MAX;
use adit_net::host::folder::Folder;
use adit_net::host::privilege::{self, PrivilegeError};
use adit_net::host::regular;

pub use super::store::LookedAt;

#[derive(Debug, thiserror::Error)]
pub enum DatabaseFileError {
    #[error(
        "cannot read `{path}`, which is to hold the database's URL; write it there, in a file of this user (mode 0600)"
    )]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "`{path}` holds the database's URL and others may read it (mode {mode:04o}); run: chmod 600 {path}"
    )]
    Mode { path: PathBuf, mode: u32 },
    #[error(
        "`{path}`, which holds the database's URL, belongs to user id {owner}, this process runs as {user}; have it \
         belong to that user: chown {user} {path}"
    )]
    Owner { path: PathBuf, owner: u32, user: u32 },
    #[error("`{path}` holds no URL of a database; write one there, and nothing else")]
    Content { path: PathBuf, source: InvalidDatabaseUrl },
    #[error(transparent)]
    Path(#[from] PrivilegeError),
}

/// Returns where a gateway's file has its database: in the state folder unless it says otherwise.
pub fn location(config: &GatewayConfig) -> Result<Location, DatabaseFileError> {
    match &config.database {
        None => Ok(Location::Sqlite(config.state.join(DATABASE))),
        Some(DatabaseSetting::Url(url)) => Ok(Location::Postgres(url.clone())),
        Some(DatabaseSetting::File(path)) => read_url(path).map(Location::Postgres),
    }
}

/// Reads the URL out of a file of this user that nobody else may read.
pub fn read_url(path: &Path) -> Result<DatabaseUrl, DatabaseFileError> {
    privilege::check_named(Some(path))?;
    let failed = |source| DatabaseFileError::Read { path: path.into(), source };
    let file = regular::open(path, OpenOptions::new().read(true)).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    if mode & 0o077 != 0 {
        return Err(DatabaseFileError::Mode { path: path.into(), mode });
    }
    let user = rustix::process::geteuid().as_raw();
    if owner != user {
        return Err(DatabaseFileError::Owner { path: path.into(), owner, user });
    }
    let text: Zeroizing<String> = regular::read_all(&file, CONFIG_BYTES_MAX).map_err(failed)?;
    debug!(path = %path.display(), "the database's URL is read");
    text.trim().parse().map_err(|source| DatabaseFileError::Content { path: path.into(), source })
}

/// Looks at the database as the gateway with this state folder would find it. Changes nothing.
pub async fn look(state: &Path, location: &Location) -> Result<LookedAt, OpenError> {
    if state.exists() {
        check_not_emptied(&Folder::open(state)?, location)?;
    }
    Ok(location.look().await?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn written(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("database-url");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        (folder, path)
    }

    fn config(folder: &Path, database: &str) -> GatewayConfig {
        let text = format!(
            "name = \"gateway.example.org:443\"\ntrust_domain = \"example.org\"\nstate = \"state\"\n{database}"
        );
        GatewayConfig::parse(&text, folder).unwrap()
    }

    #[test]
    fn a_url_is_read_from_a_file_of_this_user_alone() {
        for mode in [0o600, 0o400] {
            let (folder, _) = written("postgres://adit:hunter2@db/adit\n", mode);
            let location = location(&config(folder.path(), "database = \"database-url\"")).unwrap();
            let Location::Postgres(url) = location else { panic!("{location:?}") };
            assert_eq!(url.reveal(), "postgres://adit:hunter2@db/adit");
        }
    }

    #[test]
    fn the_database_is_in_the_state_folder_where_nothing_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let expected = Location::Sqlite(folder.path().join("state").join(DATABASE));
        assert_eq!(location(&config(folder.path(), "")).unwrap(), expected);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_remedy() {
        let (_folder, path) = written("postgres://adit:hunter2@db/adit", 0o640);
        let error = read_url(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0640") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_file_that_holds_no_url_is_never_quoted() {
        let (folder, path) = written("mysql://adit:hunter2@db/adit", 0o600);
        let error = read_url(&path).unwrap_err();
        assert!(matches!(error, DatabaseFileError::Content { .. }), "{error}");
        let said = format!("{error:?} {error}");
        assert!(!said.contains("hunter2") && said.contains("database-url"), "{said}");
        for path in [folder.path().to_owned(), folder.path().join("none")] {
            assert!(matches!(read_url(&path), Err(DatabaseFileError::Read { .. })), "{}", path.display());
        }
    }
}
