use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use adit_agent::state::AgentState;
use adit_net::host::folder::Folder;

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.path(name), text).expect("writes");
        fs::set_permissions(self.path(name), PermissionsExt::from_mode(mode)).expect("sets");
    }

    /// Returns the lines that `adit check` prints for this text, the folder's path taken out.
    fn check(&self, config: &str) -> Vec<String> {
        self.check_at(config, false)
    }

    /// Does as [`Self::check`], in a time that passes as soon as nothing else happens.
    fn check_in_no_time(&self, config: &str) -> Vec<String> {
        self.check_at(config, true)
    }

    fn check_at(&self, config: &str, paused: bool) -> Vec<String> {
        self.write("file.toml", config, 0o600);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(paused).build().expect("runtime");
        let mut findings = Findings::default();
        let config = read(&self.path("file.toml"), false, &mut findings);
        runtime.block_on(check(config, &mut findings));
        let findings = findings.to_string();
        let folder = self.folder.path().display().to_string();
        findings.lines().map(|line| line.replace(&folder, "HERE")).collect()
    }
}

#[track_caller]
fn assert_has(lines: &[String], wanted: &str) {
    assert!(lines.iter().any(|line| line.contains(wanted)), "{wanted} is not in {lines:#?}");
}

fn connector(token: &str) -> String {
    include_str!("../../../../config/connector.toml")
        .replace("gateway.example.org:443", "127.0.0.1:1")
        .replace(&"0".repeat(64), token)
}

const SOURCE: &str = r#"
[[p2p_source]]
name     = "adt"
id       = "0d5c2a7e-93c1-4b6f-8d15-6a1e2f3b4c5d"
peer     = "6f1c0b52-41de-4c3a-9a72-0e6a8d1b7f42"
protocol = "mllp"
"#;

#[test]
fn the_check_of_a_new_agent_foretells_its_first_start() {
    let world = World::new();
    world.write("connector.toml", &connector(&"1".repeat(64)), 0o600);
    let lines = world.check("connector = \"connector.toml\"\nstate = \"state\"\n");
    assert_has(&lines, "warning  configuration: no connection is listed");
    assert_has(&lines, "ok       state: `HERE/state` will be made at the first start");
    assert_has(
        &lines,
        "ok       identity: server 6f1c0b52-41de-4c3a-9a72-0e6a8d1b7f42 enrols at the first start",
    );
    assert_has(&lines, "PROBLEM  gateway: 127.0.0.1:1 cannot be reached: Connection refused");
    assert_eq!(lines.last().map(String::as_str), Some("1 problem, 1 warning"));
    assert!(!world.path("state").exists(), "checking made the state");
}

#[test]
fn every_problem_of_a_file_is_a_line_of_its_own() {
    let world = World::new();
    let lines = world.check("listen = 1\nmetrics = \"0.0.0.0:1\"\n");
    assert!(lines[0].starts_with("PROBLEM  HERE/file.toml: line 1: listen is 1: expected"), "{lines:#?}");
    assert!(lines[1].starts_with("PROBLEM  HERE/file.toml: line 2: metrics is"), "{lines:#?}");
    assert_eq!(lines[2], "2 problems, 0 warnings");
}

#[test]
fn an_open_or_used_up_token_is_a_problem() {
    let world = World::new();
    let config = "connector = \"connector.toml\"\nstate = \"state\"\n";
    assert_has(&world.check(config), "`HERE/connector.toml` cannot be used; put the connector file there");
    world.write("connector.toml", &connector(&"1".repeat(64)), 0o644);
    assert_has(
        &world.check(config),
        "others may read it, so the agent does not enrol with it; run `chmod 600 HERE/connector.toml`",
    );
    world.write("connector.toml", &connector(""), 0o600);
    assert_has(&world.check(config), "the token in `HERE/connector.toml` is used up");
    assert_has(&world.check("state = \"state\"\n"), "name it with `connector`");
}

#[test]
fn a_taken_port_or_a_silent_mirth_is_a_problem_where_an_open_port_is_a_warning() {
    let world = World::new();
    let taken = TcpListener::bind("0.0.0.0:0").expect("binds");
    let port = taken.local_addr().expect("has an address").port();
    let target = SOURCE.replace("p2p_source", "p2p_target").replace("adt", "ct").replace("0d5c", "1d5c");
    let config = format!(
        "{SOURCE}listen = \"0.0.0.0:{port}\"\nstall_limit_seconds = 9\n{target}forward_to = \"127.0.0.1:1\"\n"
    );
    let lines = world.check(&config);
    assert_has(&lines, &format!("PROBLEM  adt: cannot listen on TCP 0.0.0.0:{port}: another program has it"));
    assert_has(&lines, "warning  adt: whoever reaches 0.0.0.0:");
    assert_has(&lines, "warning  adt: stall_limit_seconds is 9; above 4");
    assert_has(&lines, "PROBLEM  ct: 127.0.0.1:1 cannot be reached: Connection refused");
    drop(taken);
    let lines = world.check(&format!("{config}probe = false\n"));
    assert_has(&lines, &format!("ok       adt: TCP 0.0.0.0:{port} is free"));
    assert_has(&lines, "ok       ct: 127.0.0.1:1 is not asked, because `probe` is false");
}

#[test]
fn a_state_that_others_may_look_into_is_a_problem() {
    let world = World::new();
    drop(AgentState::open(&world.path("state")).expect("makes a state"));
    world.write("state/secrets.json", "{}", 0o640);
    let lines = world.check("state = \"state\"\n");
    assert_has(
        &lines,
        "`HERE/state/secrets.json` is open to other users (mode 0640); run `chmod 600 HERE/state/secrets.json`",
    );
    fs::set_permissions(world.path("state"), PermissionsExt::from_mode(0o755)).expect("sets");
    assert_has(&world.check("state = \"state\"\n"), "run `chmod 700 HERE/state`");
    assert_has(&world.check("state = \"none/state\"\n"), "run `mkdir -p HERE/none`");
}

#[test]
fn a_damaged_state_is_a_problem() {
    let world = World::new();
    drop(AgentState::open(&world.path("state")).expect("makes a state"));
    world.write("state/enrolment.json", "{", 0o600);
    assert_has(&world.check("state = \"state\"\n"), "PROBLEM  `HERE/state/enrolment.json` is damaged");
}

#[test]
fn a_state_in_use_whose_agent_does_not_answer_is_a_problem() {
    let world = World::new();
    let _state = AgentState::open(&world.path("state")).expect("makes a state");
    let lines = world.check_in_no_time("state = \"state\"\n");
    assert_has(&lines, &format!("is private and in use by process {}", std::process::id()));
    assert_has(&lines, "PROBLEM  agent: it runs and is not enrolled yet");
    assert_has(&lines, "PROBLEM  identity: none yet");
}

#[test]
fn a_gateways_file_is_checked_as_one() {
    let world = World::new();
    let config = "name = \"localhost:444\"\ntrust_domain = \"example.org\"\nlisten = \"127.0.0.1:4443\"\nstate = \"state\"\n";
    let lines = world.check(config);
    assert_has(&lines, "warning  configuration: agents are told port 444, the gateway listens on 4443");
    assert_has(&lines, "ok       state: `HERE/state` will be made at the first start");
    assert_has(&lines, "listen: UDP 127.0.0.1:4443");

    let folder = Folder::open(&world.path("state")).expect("makes a state");
    folder.write("authority.json", b"{").expect("writes");
    assert_has(&world.check(config), "PROBLEM  `HERE/state/authority.json` is damaged");
}

#[test]
fn a_missing_file_is_a_problem_with_its_name() {
    let mut findings = Findings::default();
    assert!(read(Path::new("/none/agent.toml"), false, &mut findings).is_none());
    assert!(findings.has_problem());
    assert_eq!(
        findings.to_string(),
        "PROBLEM  there is no file `/none/agent.toml`; name the right one with --config\n1 problem, 0 warnings\n"
    );
}

#[test]
fn the_gateways_own_host_needs_not_be_told_which_file_is_meant() {
    let world = World::new();
    let folder = world.folder.path();
    assert_eq!(usual(folder), world.path("agent.toml"));
    world.write("gateway.toml", "", 0o600);
    assert_eq!(usual(folder), world.path("gateway.toml"));
    world.write("agent.toml", "", 0o600);
    assert_eq!(usual(folder), world.path("agent.toml"));
}

#[test]
fn a_certificate_for_browsers_that_is_of_no_use_is_named() {
    let world = World::new();
    let gateway = "name = \"gateway.example.org:443\"\ntrust_domain = \"example.org\"\nstate = \"state\"\n\
                   listen = \"127.0.0.1:4433\"\n[console]\nname = \"console.example.org\"\n\
                   certificate = \"console.pem\"\nkey = \"console.key\"\n";
    assert_has(&world.check(gateway), "PROBLEM  console: cannot read `HERE/console.pem`");
    world.write("console.pem", "nothing", 0o644);
    world.write("console.key", "nothing", 0o644);
    assert_has(
        &world.check(gateway),
        "HERE/console.key` holds the console's key and others may read it (mode 0644)",
    );
    world.write("console.key", "nothing", 0o600);
    assert_has(&world.check(gateway), "holds none in PEM");
    let proxied = gateway
        .replace("certificate = \"console.pem\"\nkey = \"console.key\"", "listen = \"127.0.0.1:4434\"");
    assert_has(&world.check(&proxied), "warning  console: no `trusted_proxies` are named");
}

const GATEWAY: &str = "name = \"gateway.example.org:4433\"\ntrust_domain = \"example.org\"\nstate = \"state\"\n\
                       listen = \"127.0.0.1:4433\"\n";

fn on_database(world: &World, work: impl AsyncFnOnce(&adit_gateway::platform::Platform)) {
    use std::sync::Arc;

    use adit_gateway::platform::Platform;
    use adit_net::identity::time::HostClock;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let platform = Platform::open(&world.path("state"), Arc::new(HostClock)).await.expect("opens");
        work(&platform).await;
        platform.close().await.expect("closes");
    });
}

#[test]
fn a_gateway_in_which_nobody_could_sign_in_is_a_problem_with_the_command() {
    let world = World::new();
    let problem = "PROBLEM  platform: there is no organization yet, so nobody could sign in; make the first one and \
                   its owner with `adit gateway init";
    let lines = world.check(GATEWAY);
    assert_has(&lines, "ok       database: HERE/state/platform.db will be made");
    assert_has(&lines, problem);
    assert!(!world.path("state").exists(), "checking made the state");
    on_database(&world, async |_| {});
    assert_has(&world.check(GATEWAY), problem);
    on_database(&world, async |platform| {
        let host = adit_gateway::platform::Initiator::Host { name: "test".into() };
        let name = "Lakeside".parse().expect("a name");
        let tier = adit_core::domain::tier::Tier::Free;
        platform.add_organization(&host, &name, tier).await.expect("adds");
    });
    let lines = world.check(GATEWAY);
    assert_has(&lines, "ok       database: HERE/state/platform.db answers");
    assert!(!lines.iter().any(|line| line.contains("platform: ")), "{lines:#?}");
    let names: Vec<_> =
        fs::read_dir(world.path("state")).expect("reads").flatten().map(|it| it.file_name()).collect();
    assert!(!names.iter().any(|name| name == "platform.db-wal"), "checking made files: {names:?}");
}

#[test]
fn a_database_that_cannot_be_read_is_a_problem() {
    let world = World::new();
    on_database(&world, async |_| {});
    let write = |bytes: &[u8]| fs::write(world.path("state/platform.db"), bytes).expect("writes");
    write(&[7; 8_192]);
    assert_has(&world.check(GATEWAY), "PROBLEM  database: the database is damaged");
    fs::remove_file(world.path("state/platform.db")).expect("removes");
    fs::create_dir(world.path("state/platform.db")).expect("makes");
    assert_has(
        &world.check(GATEWAY),
        "`HERE/state/platform.db` is a link, has other names or is no regular file",
    );
    let elsewhere = format!("{GATEWAY}database = \"database-url\"\n");
    assert_has(
        &world.check(&elsewhere),
        "PROBLEM  database: cannot read `HERE/database-url`, which is to hold the database's URL",
    );
    world.write("database-url", "mysql://adit:hunter2@db/adit", 0o600);
    let lines = world.check(&elsewhere);
    assert_has(&lines, "PROBLEM  database: `HERE/database-url` holds no URL of a database");
    assert!(!lines.iter().any(|line| line.contains("hunter2")), "{lines:#?}");
    world.write("database-url", "postgres://adit:hunter2@127.0.0.1:1/adit", 0o600);
    let lines = world.check(&elsewhere);
    assert_has(&lines, "PROBLEM  database: the database cannot be reached");
    assert!(!lines.iter().any(|line| line.contains("hunter2")), "{lines:#?}");
}

#[test]
fn a_ca_of_identity_providers_that_is_of_no_use_is_named() {
    let world = World::new();
    let config = format!("{GATEWAY}identity_provider_ca = \"ca.pem\"\n");
    assert_has(&world.check(&config), "PROBLEM  identity providers: cannot read `HERE/ca.pem`; point");
    world.write("ca.pem", "nothing", 0o644);
    assert_has(&world.check(&config), "PROBLEM  identity providers: `HERE/ca.pem` cannot be used; let");
}

#[test]
fn a_certificate_that_the_gateway_gets_itself_is_foretold_and_what_hinders_it_named() {
    let world = World::new();
    let gateway = "name = \"gateway.example.org:443\"\ntrust_domain = \"example.org\"\nstate = \"state\"\n\
                   listen = \"127.0.0.1:4433\"\n[console]\nname = \"console.example.org\"\n\
                   acme = \"https://acme.example/directory\"\nacme_terms_of_service_agreed = true\n";
    let lines = world.check(gateway);
    assert_has(&lines, "ok       console: a certificate for console.example.org will be asked for");
    assert_has(
        &lines,
        "warning  console: the ACME authority connects to TCP 443 of console.example.org; forward",
    );
    let with_ca = format!("{gateway}acme_ca = \"ca.pem\"\n");
    assert_has(&world.check(&with_ca), "PROBLEM  console: cannot read `HERE/ca.pem`; point `acme_ca`");
    let state = Folder::open(&world.path("state")).expect("opens");
    let orders = "{\"directory\":\"https://acme.example/directory\",\"name\":\"console.example.org\",\
                  \"failed\":{\"times\":3,\"at\":0,\"retry_at\":1795510800000,\"why\":\"too many\"}}";
    state.write("acme-orders.json", orders.as_bytes()).expect("writes");
    assert_has(
        &world.check(gateway),
        "PROBLEM  console: there is no certificate for console.example.org; the last order failed (3 in a row) and the \
         next is made after 2026-11-24T09:00:00Z: too many",
    );
}
