//! The platform on `PostgreSQL` as on `SQLite`: a real gateway on either, a database of an earlier build moved from
//! one to the other and back, and a server elsewhere that has to prove its name.

pub(crate) mod cluster;
mod dump;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Instant;

use adit_core::domain::connection::Protocol;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

use self::cluster::Cluster;
use self::dump::Dump;
use super::lab::{HANG_LIMIT, Lab, Part, TARGET_OWNER, adit, edit, mirth, run};

/// In every URL; `PostgreSQL` trusts whoever connects, so nothing but a log could show it.
const PASSWORD: &str = "hunter2";

fn written(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// Writes a URL, with a password, where it may stand.
fn url_file(folder: &Path, url: &str) -> PathBuf {
    let path = folder.join("database-url");
    written(&path, url.replace("adit@", &format!("adit:{PASSWORD}@")));
    path
}

async fn migrate(from: &str, to: &str) -> Output {
    let mut command = adit();
    command.args(["gateway", "migrate", "--from", from, "--to", to]);
    run(command).await
}

async fn migrated(from: &str, to: &str) -> String {
    let output = migrate(from, to).await;
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{out}{err}");
    out
}

async fn refused(from: &str, to: &str, why: &str) {
    let output = migrate(from, to).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(why), "{said}");
    assert!(!said.contains(PASSWORD), "{said}");
}

fn sqlite(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

/// A state folder with a database that an earlier build wrote.
async fn state_of(golden: &str) -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let state = parent.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, Permissions::from_mode(0o700)).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(golden);
    for name in ["authority.json", "ca.p8", "sealing.key"] {
        written(&state.join(name), fs::read(golden.join(name)).unwrap());
    }
    let database = state.join("platform.db");
    written(&database, "");
    let script = fs::read_to_string(golden.join("platform.sql")).unwrap();
    let mut connection =
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&database)).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    (parent, state)
}

/// What `adit admin` shows of a platform.
async fn shown(state: &Path, database: &str) -> Vec<String> {
    let config = config(state, database);
    let mut all = Vec::new();
    let lists: [&[&str]; 6] = [
        &["org", "list"],
        &["server", "list"],
        &["channel", "list"],
        &["peering", "list"],
        &["grant", "list"],
        &["connection", "list"],
    ];
    for list in lists {
        let mut command = adit();
        command.arg("admin").arg("--json").arg("--config").arg(&config).args(list);
        let output = run(command).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains(PASSWORD), "{list:?}: {said}");
        all.push(String::from_utf8(output.stdout).unwrap());
    }
    all
}

/// Moves a database that an earlier build wrote to `PostgreSQL` and back; gives what it held.
async fn goes_there_and_back(golden: &str) -> Dump {
    let cluster = Cluster::start();
    let (parent, state) = state_of(golden).await;
    let database = state.join("platform.db");
    let before = Dump::of(&database).await;
    let url = url_file(parent.path(), &cluster.database("platform").await).display().to_string();
    let began = Instant::now();
    println!("{}", migrated(&sqlite(&state), &url).await);
    println!("{golden}: moved within {:?}", began.elapsed());
    // This build has brought it up to date, and noted that it is not served here any more.
    let opened = Dump::of(&database).await.without("fence");
    let moved_elsewhere = [
        ("server", "link_up"),
        ("server", "link_since"),
        // What the schemas before had there is the path's word.
        ("sqlite_sequence", "seq"),
        ("build", "schema"),
    ];
    before.is_still_in(&opened, &moved_elsewhere);

    let back = parent.path().join("back");
    migrated(&url, &sqlite(&back)).await;
    Dump::of(&back.join("platform.db")).await.without("fence").is(&opened);
    for (database, elsewhere) in [("", "postgres://"), ("database = \"database-url\"", "/back/platform.db")] {
        is_fenced(&state, database, elsewhere).await;
    }
    taken_back(&sqlite(&state)).await;
    taken_back(&url).await;
    let on_sqlite = shown(&state, "").await;
    let on_postgres = shown(&state, "database = \"database-url\"").await;
    assert_eq!(on_postgres, on_sqlite);
    // What was shown may have ended offers whose time is over: they are seen anew, in both.
    refused(&sqlite(&state), &url, "the target holds something already").await;
    opened
}

/// Nobody uses a platform where it was moved away from, and all are told where it is.
async fn is_fenced(state: &Path, database: &str, elsewhere: &str) {
    let config = config(state, database);
    for words in [&["admin", "org", "list"][..], &["gateway"], &["check", "--gateway"]] {
        let mut command = adit();
        command.args(words).arg("--config").arg(&config);
        let output = run(command).await;
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let told = said.contains("was moved from this database to") && said.contains(elsewhere);
        assert!(!output.status.success() && told && !said.contains(PASSWORD), "{words:?}: {said}");
        assert!(!said.contains("gateway serves"), "{said}");
    }
}

async fn taken_back(place: &str) {
    let mut command = adit();
    command.args(["gateway", "migrate", "--take-back", place]);
    let output = run(command).await;
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(
        output.status.success() && said.contains("is served here again") && !said.contains(PASSWORD),
        "{said}"
    );
}

fn config(state: &Path, database: &str) -> PathBuf {
    let config = state.with_file_name("gateway.toml");
    let listen = super::lab::free_address();
    let rest = format!("name = \"127.0.0.1:443\"\ntrust_domain = \"lab.adit.test\"\nlisten = \"{listen}\"");
    fs::write(&config, format!("{rest}\nstate = \"{}\"\n{database}\n", state.display())).unwrap();
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_builds_database_goes_to_postgresql_and_back_without_a_change() {
    let held = goes_there_and_back("0.1.0").await;
    assert_eq!((held.rows("organization"), held.rows("connection")), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_rows_in_every_table_goes_to_postgresql_and_back_without_a_change() {
    let held = goes_there_and_back("schema-4").await;
    // Nobody wrote these before this build.
    let filled = held.filled();
    for table in [
        "agreement",
        "audit",
        "build",
        "channel",
        "channel_grant",
        "connection",
        "connection_fact",
        "connection_secret",
        "feed",
        "organization",
        "registration_token",
        "revoked_key",
        "secret_view",
        "server",
        "server_link",
    ] {
        assert!(filled.contains(&table), "{table} is empty");
    }
    assert_eq!((held.rows("audit"), held.rows("connection")), (113, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_moved_while_a_gateway_runs_on_it() {
    let cluster = Cluster::start();
    let url = cluster.database("platform").await;
    let mut lab = Lab::written(&[(Protocol::Mllp, super::lab::free_address())]);
    lab.start(Part::Gateway);
    lab.gateway_serves().await;
    let state = sqlite(&lab.state(Part::Gateway));
    let holder = format!("in use by process {}", lab.pid(Part::Gateway));
    refused(&state, &url, &holder).await;
    refused(&url, &state, &holder).await;
    lab.kill(Part::Gateway);
    migrated(&state, &url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_no_platform_is_named_by_what_is_wrong_with_it() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let url = cluster.database("platform").await;
    refused(&sqlite(&folder.path().join("none")), &url, "there is no database `").await;
    refused(&url, &url, "--from and --to name the same database").await;
    refused(&url, &sqlite(&folder.path().join("new")), "there is nothing to move").await;
    let open = url_file(folder.path(), &url);
    fs::set_permissions(&open, Permissions::from_mode(0o644)).unwrap();
    refused(&open.display().to_string(), &sqlite(folder.path()), "chmod 600").await;
    refused(&format!("mysql://adit:{PASSWORD}@db/adit"), &url, "expected a PostgreSQL URL").await;
}

/// Pauses, resumes and ends a connection in another process, and prints how long each agent's word took.
async fn hears_of_what_another_process_does(lab: &Lab, engine: &str) {
    let id = lab.entry(Part::A, 0).await.unwrap().id.to_string();
    for (verb, status) in [("pause", "Paused"), ("resume", "Active"), ("terminate", "Terminated")] {
        lab.admin(&["connection", verb, "--as", TARGET_OWNER, &id]).await;
        let done = Instant::now();
        for part in [Part::A, Part::B] {
            while lab.entry(part, 0).await.is_none_or(|entry| entry.status != status) {
                assert!(done.elapsed() < HANG_LIMIT, "{part:?} is not told: {verb}");
            }
            println!("{engine}: {verb} is at {part:?} {:?} after the command's end", done.elapsed());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_hear_what_another_process_does_on_sqlite() {
    let mirth = mirth().await;
    let lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    lab.linked().await;
    hears_of_what_another_process_does(&lab, "SQLite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_enrol_or_hear_what_another_process_does_on_postgresql() {
    let cluster = Cluster::start();
    let mirth = mirth().await;
    let mut lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    let file = url_file(&lab.dir(), &cluster.database("platform").await);
    migrated(&sqlite(&lab.state(Part::Gateway)), &file.display().to_string()).await;
    fs::remove_file(lab.state(Part::Gateway).join("platform.db")).unwrap();
    edit(&lab.config(Part::Gateway), |text| text + "database = \"database-url\"\n");
    lab.start_traced(Part::Gateway);
    lab.gateway_serves().await;
    lab.start(Part::A);
    lab.start(Part::B);
    lab.port_open(0).await;
    lab.linked().await;
    hears_of_what_another_process_does(&lab, "PostgreSQL").await;
    assert!(!lab.state(Part::Gateway).join("platform.db").exists(), "nothing is kept beside");
    assert!(!lab.log(Part::Gateway).contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_platform_was_moved_meanwhile_ends_and_says_where_it_is() {
    let cluster = Cluster::start();
    let url = cluster.database("platform").await;
    let mut lab = Lab::written(&[(Protocol::Mllp, super::lab::free_address())]);
    let file = url_file(&lab.dir(), &url);
    migrated(&sqlite(&lab.state(Part::Gateway)), &file.display().to_string()).await;
    edit(&lab.config(Part::Gateway), |text| text + "database = \"database-url\"\n");
    lab.start(Part::Gateway);
    lab.gateway_serves().await;
    // As where it had been stopped for longer than its lease lasts.
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let fence = "INSERT INTO fence (one, id, state, place, at)
        VALUES (1, '00000000-0000-4000-8000-000000000000', 'moved', 'postgres://elsewhere/adit', 1)";
    sqlx::query(fence).execute(&mut connection).await.unwrap();
    assert_eq!(lab.ended(Part::Gateway).await.code(), Some(1));
    let log = lab.log(Part::Gateway);
    assert!(log.contains("is in another database now") && log.contains("postgres://elsewhere/adit"), "{log}");
}

/// `adit check` with this database.
async fn checked(state: &Path, url: &str) -> String {
    let config = state.with_file_name("gateway.toml");
    let rest = "name = \"127.0.0.1:443\"\ntrust_domain = \"lab.adit.test\"";
    fs::write(&config, format!("{rest}\nstate = \"{}\"\ndatabase = \"{url}\"\n", state.display())).unwrap();
    let mut command = adit();
    command.args(["check", "--gateway", "--config"]).arg(&config);
    let output = run(command).await;
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_elsewhere_must_prove_its_name() {
    let cluster = Cluster::start_with_tls();
    cluster.run("CREATE ROLE certified LOGIN").await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let url = cluster.database("platform").await;
    // Resolvers and TLS do not care how it is written; the gateway takes only "localhost" for this host.
    let elsewhere = url.replace("127.0.0.1", "LOCALHOST");
    let ca = format!("sslrootcert={}", cluster.file("ca.pem").display());
    let other_ca = format!("sslrootcert={}", cluster.file("other-ca.pem").display());
    let (cert, key) = (cluster.file("client.pem"), cluster.file("client.key"));
    let own = format!("sslcert={}&sslkey={}", cert.display(), key.display());
    let certified = elsewhere.replace("adit@", "certified@");
    let unproven = "does not prove that it is the one named";
    for (url, expected) in [
        (format!("{elsewhere}?{ca}"), "answers"),
        (format!("{elsewhere}?sslmode=verify-full&{ca}"), "answers"),
        (format!("{certified}?{ca}&{own}"), "answers"),
        (format!("{certified}?{ca}"), "certificate"),
        (elsewhere.clone(), unproven),
        (format!("{elsewhere}?{other_ca}"), unproven),
        // For another name than the certificate's.
        (format!("{url}?sslmode=verify-full&{ca}"), unproven),
        (format!("{elsewhere}?sslmode=verify-ca&{ca}"), "sslmode=verify-full"),
        (format!("{elsewhere}?sslmode=require&{ca}"), "sslmode=verify-full"),
        (format!("{elsewhere}?sslmode=disable"), "sslmode=verify-full"),
        (url.clone(), "answers"),
        (url.replace("/platform", "/none"), "does not let this user in"),
    ] {
        let said = checked(&state, &url).await;
        let line = said.lines().find(|line| line.contains("database")).unwrap_or_default();
        assert!(line.contains(expected), "{url}: {said}");
        assert_eq!(line.starts_with("ok"), expected == "answers", "{url}: {said}");
        assert!(!line.contains("adit@") && !line.contains("certified@"), "{line}");
    }
}
