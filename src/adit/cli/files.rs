//! Reading the files people write: bounded, refused with what to do, and never from a file that
//! holds secrets others may read.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::bail;

use adit_core::config::ConfigProblems;
use adit_core::config::agent::{AgentConfig, Entry, LocalUser};
use adit_core::config::connector::Connector;
use adit_core::config::gateway::GatewayConfig;
use adit_core::domain::limits;
use adit_net::host::account;

#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("there is no file `{path}`; name the right one with --config")]
    Missing { path: PathBuf },
    #[error("cannot read `{path}`; name a file with --config that this user may read")]
    Read { path: PathBuf, source: io::Error },
    #[error("`{path}` is no regular file; name the right one with --config")]
    NotAFile { path: PathBuf },
    #[error("`{path}` is longer than {} KiB; name the right file with --config", limits::CONFIG_BYTES_MAX / 1024)]
    TooLong { path: PathBuf },
    #[error("`{path}` is not UTF-8 text; save it as such")]
    NotText { path: PathBuf },
    #[error(
        "`{path}` holds a secret and others may read it (mode {mode:04o}); run: chmod 600 {path}, and have it belong to the user that reads it"
    )]
    Open { path: PathBuf, mode: u32 },
    #[error("`{path}` cannot be used; change what is listed:\n{}", listed(.problems))]
    Unusable { path: PathBuf, problems: ConfigProblems },
}

/// A file's text and who may read it.
pub(super) struct Written {
    pub text: String,
    pub metadata: Metadata,
}

impl Written {
    /// Returns whether anyone but the file's owner may read or write it.
    pub(super) fn is_open(&self) -> bool {
        self.metadata.mode() & 0o077 != 0
    }
}

pub(super) fn read_agent(path: &Path) -> Result<AgentConfig, FileError> {
    let written = read(path)?;
    let knows = |name: &str| account::user_id(name).is_some_and(LocalUser::can_be);
    let config = AgentConfig::parse_on_host(&written.text, folder(path), &knows)
        .map_err(|problems| FileError::Unusable { path: path.into(), problems })?;
    check_closed(path, &written, config.holds_secret())?;
    Ok(config)
}

pub(super) fn read_gateway(path: &Path) -> Result<GatewayConfig, FileError> {
    let written = read(path)?;
    let config = GatewayConfig::parse(&written.text, folder(path))
        .map_err(|problems| FileError::Unusable { path: path.into(), problems })?;
    check_closed(path, &written, config.holds_secret())?;
    Ok(config)
}

/// Refuses a file that holds a secret and that others may read.
fn check_closed(path: &Path, written: &Written, holds_secret: bool) -> Result<(), FileError> {
    if holds_secret && written.is_open() {
        return Err(FileError::Open { path: path.into(), mode: written.metadata.mode() & 0o7777 });
    }
    Ok(())
}

/// Refuses a connector file whose token is still to be used and that others may read, as [`read_agent`] does
/// with secrets. What else may be wrong with it is said when it is used.
pub(super) fn check_connector(path: &Path) -> Result<(), FileError> {
    let Ok(written) = read(path) else { return Ok(()) };
    let holds_token = Connector::parse(&written.text).is_ok_and(|connector| connector.token.is_some());
    check_closed(path, &written, holds_token)
}

/// Reads the whole text of a file of ours.
pub(super) fn read(path: &Path) -> Result<Written, FileError> {
    // Some devices are used by being opened.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(FileError::NotAFile { path: path.into() });
    }
    // Not waiting for the other end, should it be a pipe.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(nonblocking).open(path);
    let file = opened.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => FileError::Missing { path: path.into() },
        _ => FileError::Read { path: path.into(), source },
    })?;
    let failed = |source| FileError::Read { path: path.into(), source };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile { path: path.into() });
    }
    let bytes =
        read_bounded(file).map_err(failed)?.ok_or_else(|| FileError::TooLong { path: path.into() })?;
    let text = String::from_utf8(bytes).map_err(|_| FileError::NotText { path: path.into() })?;
    Ok(Written { text, metadata })
}

/// Returns where a file's relative paths start.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn read_bounded(file: File) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    file.take(limits::CONFIG_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limits::CONFIG_BYTES_MAX).then_some(bytes))
}

fn listed(problems: &ConfigProblems) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

/// Finds the entry that a person named in a command.
pub(super) fn find_entry<'a>(config: &'a AgentConfig, wanted: &str) -> anyhow::Result<&'a Entry> {
    let entry = config
        .entries()
        .map(|(_, entry)| entry)
        .find(|entry| entry.name.as_str() == wanted || entry.id.to_string() == wanted);
    if let Some(entry) = entry {
        Ok(entry)
    } else {
        let names: Vec<_> = config.entries().map(|(_, entry)| entry.name.as_str()).collect();
        bail!("no connection `{wanted}` in the agent's file; it has: {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn written(content: impl AsRef<[u8]>, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("agent.toml");
        fs::write(&path, content).expect("writes");
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("sets");
        (folder, path)
    }

    #[test]
    fn relative_paths_start_beside_the_file() {
        let (folder, path) = written("state = \"state\"", 0o644);
        assert_eq!(read_agent(&path).expect("reads").state, folder.path().join("state"));
    }

    #[test]
    fn a_file_that_holds_a_secret_must_be_closed_to_others() {
        let example = include_str!("../../../config/agent.toml");
        let of_entry = example.replace("#~ secret", "secret");
        let of_proxy = example.replace(
            "#~ proxy = \"http://proxy.example.org:3128\"",
            "proxy = \"http://mirth:hunter2@proxy:3128\"",
        );
        for text in [of_entry, of_proxy] {
            assert_ne!(text, example);
            let (_folder, path) = written(&text, 0o640);
            let error = read_agent(&path).expect_err("refused").to_string();
            assert!(error.contains("mode 0640") && error.contains("chmod 600"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
            fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("sets");
            assert!(read_agent(&path).expect("reads").holds_secret());
        }
    }

    #[test]
    fn a_gateways_file_with_the_password_of_its_database_must_be_closed_to_others() {
        let example = include_str!("../../../config/gateway.toml");
        let with = |database: &str| example.replace("#~ database = \"/etc/adit/database-url\"", database);
        let text = with("database = \"postgres://adit:hunter2@db.example.org/adit\"");
        assert_ne!(text, example);
        let (_folder, path) = written(&text, 0o640);
        let error = read_gateway(&path).expect_err("refused").to_string();
        assert!(error.contains("mode 0640") && error.contains("chmod 600"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("sets");
        assert!(read_gateway(&path).expect("reads").holds_secret());
        let (_folder, path) = written(with("database = \"postgres://adit@db.example.org/adit\""), 0o644);
        assert!(!read_gateway(&path).expect("reads").holds_secret());
    }

    #[test]
    fn a_connector_file_with_a_token_must_be_closed_to_others() {
        let (_folder, path) = written(include_str!("../../../config/connector.toml"), 0o644);
        let error = check_connector(&path).expect_err("refused").to_string();
        assert!(error.contains("mode 0644") && error.contains("chmod 600"), "{error}");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("sets");
        check_connector(&path).expect("is closed");
        let (_folder, path) = written("no connector", 0o644);
        check_connector(&path).expect("holds no token");
    }

    #[test]
    fn a_file_is_read_exactly_up_to_the_bound() {
        let bytes_max = usize::try_from(limits::CONFIG_BYTES_MAX).expect("fits");
        let (_folder, path) = written("#".repeat(bytes_max), 0o600);
        read_agent(&path).expect("reads");
        let (_folder, path) = written("#".repeat(bytes_max + 1), 0o600);
        assert!(matches!(read_agent(&path), Err(FileError::TooLong { .. })));
    }

    #[test]
    fn what_is_no_text_file_is_refused_by_name() {
        let (folder, path) = written([0xff, 0xfe], 0o600);
        for path in [path, folder.path().into(), folder.path().join("none"), "/dev/null".into()] {
            let error = read_agent(&path).expect_err("refused").to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }

    #[test]
    fn every_problem_stands_on_a_line_of_its_own() {
        let (_folder, path) = written("a = 1\nb = 2\n", 0o600);
        assert_eq!(read_agent(&path).expect_err("refused").to_string().lines().count(), 3);
    }
}
