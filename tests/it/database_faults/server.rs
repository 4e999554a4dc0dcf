//! A `PostgreSQL` of one test, to be killed, stopped, filled and followed. Its data outlives its processes.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;

use crate::databases::cluster::script;
use crate::lab::{eventually, free_address};

/// As `tests/postgres.sh` runs it for root, which it refuses to be served by.
const NOBODY: u32 = 65_534;

pub(super) struct Server {
    folder: PathBuf,
    port: u16,
    /// Removed last.
    temporary: Option<TempDir>,
}

impl Server {
    /// A new cluster in a folder of its own.
    pub(super) fn start() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut server = Self::start_in(temporary.path().to_owned());
        server.temporary = Some(temporary);
        server
    }

    pub(super) fn start_in(folder: PathBuf) -> Self {
        let output = script("start", &folder).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let hint = "run `tests/run.sh`, or: apt-get install postgresql";
        assert!(output.status.success(), "PostgreSQL does not start ({hint}): {said}");
        let url = String::from_utf8(output.stdout).unwrap();
        let port = url.trim().rsplit([':', '/']).nth(1).unwrap().parse().unwrap();
        Self { folder, port, temporary: None }
    }

    /// One that follows `first` from now on, on a port of its own. What `first` commits waits for it.
    pub(super) async fn following(first: &Self) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let (folder, port) = (temporary.path().to_owned(), free_address().port());
        let server = Self { folder, port, temporary: Some(temporary) };
        let (data, socket) = (server.data(), server.folder.join("socket"));
        for folder in [&data, &socket] {
            fs::create_dir(folder).unwrap();
            fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
            own(folder);
        }
        fs::set_permissions(&server.folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let from = format!("host=127.0.0.1 port={} user=adit application_name=second", first.port);
        succeeded(
            tool("pg_basebackup")
                .args(["--checkpoint=fast", "--write-recovery-conf", "-d"])
                .arg(from)
                .arg("-D")
                .arg(&data),
        );
        let settings = data.join("postgresql.conf");
        let (port, socket) = (server.port, socket.display());
        let own = format!("port = {port}\nunix_socket_directories = '{socket}'\n");
        fs::write(&settings, fs::read_to_string(&settings).unwrap() + &own).unwrap();
        server.start_again();
        first.run("ALTER SYSTEM SET synchronous_standby_names = 'second'").await;
        first.run("SELECT pg_reload_conf()").await;
        eventually("the second server follows synchronously", async || {
            let states = first.rows("SELECT sync_state FROM pg_stat_replication").await;
            let state = states.first().map(|row| sqlx::Row::get::<String, _>(row, 0));
            (state.as_deref() == Some("sync")).then_some(())
        })
        .await;
        server
    }

    /// Makes one that follows another the first.
    pub(super) async fn promote(&self) {
        // Nobody follows this one.
        self.run("ALTER SYSTEM SET synchronous_standby_names = ''").await;
        succeeded(tool("pg_ctl").arg("-D").arg(self.data()).args(["-w", "-t", "60", "promote"]));
        self.run("SELECT pg_reload_conf()").await;
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres://adit@127.0.0.1:{}/{database}", self.port)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(super) fn is_running(&self) -> bool {
        succeeds(tool("pg_ctl").arg("-D").arg(self.data()).arg("status"))
    }

    /// kill -9 of the postmaster; its backends end when they notice.
    pub(super) async fn kill(&self) {
        let (postmaster, backends) = self.processes();
        kill_process(postmaster, Signal::KILL).unwrap();
        for process in [postmaster].into_iter().chain(backends) {
            eventually("a process of PostgreSQL has ended", async || {
                test_kill_process(process).is_err().then_some(())
            })
            .await;
        }
    }

    /// Stops every process where it stands: what is connected stays so, and nobody answers.
    pub(super) fn pause(&self) {
        let (postmaster, _) = self.processes();
        kill_process(postmaster, Signal::STOP).unwrap();
        // Nobody is born any more.
        let (_, backends) = self.processes();
        for backend in backends {
            let _ = kill_process(backend, Signal::STOP);
        }
    }

    pub(super) fn resume(&self) {
        let (postmaster, backends) = self.processes();
        for process in backends.into_iter().chain([postmaster]) {
            let _ = kill_process(process, Signal::CONT);
        }
    }

    /// `pg_ctl stop`: `fast` tells everybody, `immediate` nobody.
    pub(super) fn stop(&self, mode: &str) {
        succeeded(tool("pg_ctl").arg("-D").arg(self.data()).args(["-m", mode, "-w", "-t", "60", "stop"]));
    }

    pub(super) fn start_again(&self) {
        let data = self.data();
        let log = data.join("server.log");
        succeeded(tool("pg_ctl").arg("-D").arg(&data).arg("-l").arg(log).args(["-w", "-t", "60", "start"]));
    }

    pub(super) async fn database(&self, name: &str) -> String {
        self.run(&format!("CREATE DATABASE {name}")).await;
        self.url(name)
    }

    pub(super) async fn run(&self, statement: &str) {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        connection.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
        connection.close().await.unwrap();
    }

    async fn rows(&self, query: &str) -> Vec<PgRow> {
        rows(&self.url("postgres"), query).await
    }

    fn processes(&self) -> (Pid, Vec<Pid>) {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let postmaster = file.lines().next().unwrap().parse().unwrap();
        let pid = |number: i32| Pid::from_raw(number).unwrap();
        (pid(postmaster), children(postmaster).into_iter().map(pid).collect())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            self.resume();
        }
        // Already gone is as good.
        let _ = script("stop", &self.folder).output();
    }
}

pub(super) async fn rows(url: &str, query: &str) -> Vec<PgRow> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let rows = connection.fetch_all(AssertSqlSafe(query.to_owned())).await.unwrap();
    connection.close().await.unwrap();
    rows
}

fn children(parent: i32) -> Vec<i32> {
    let tasks = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    tasks.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// One of `PostgreSQL`'s own, which Debian keeps out of PATH, as the user that serves.
fn tool(name: &str) -> Command {
    let mut places: Vec<_> = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().collect();
    places.sort_by_key(std::fs::DirEntry::file_name);
    let found = places.last().map(|place| place.path().join("bin").join(name)).filter(|path| path.exists());
    let mut command = Command::new(found.unwrap_or_else(|| name.into()));
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.current_dir("/").stdin(Stdio::null());
    command
}

fn own(path: &Path) {
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

/// Its output goes nowhere: what it starts would keep a pipe open.
fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

fn succeeded(command: &mut Command) {
    assert!(succeeds(command), "{command:?}");
}
