//! A private `PostgreSQL` for one test, ended when it is dropped.

use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;

pub(super) struct Cluster {
    folder: TempDir,
    /// Of a database that nothing is kept in.
    url: String,
}

impl Cluster {
    pub(super) fn start() -> Self {
        Self::start_as("start")
    }

    pub(super) fn start_with_tls() -> Self {
        Self::start_as("start-tls")
    }

    fn start_as(verb: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = script(verb, folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let hint = "run `tests/run.sh`, or: apt-get install postgresql";
        assert!(output.status.success(), "PostgreSQL does not start ({hint}): {said}");
        let url = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Self { folder, url }
    }

    /// A new, empty database.
    pub(super) async fn database(&self, name: &str) -> String {
        self.run(&format!("CREATE DATABASE {name}")).await;
        self.url.replace("/postgres", &format!("/{name}"))
    }

    pub(super) async fn run(&self, statement: &str) {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        connection.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
        connection.close().await.unwrap();
    }

    /// One of the files that stand beside the data.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = script("stop", self.folder.path()).output();
    }
}

/// `tests/postgres.sh VERB FOLDER`.
pub(crate) fn script(verb: &str, folder: &Path) -> Command {
    let mut command = Command::new("bash");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("postgres.sh")).arg(verb).arg(folder);
    command
}
