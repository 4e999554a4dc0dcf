//! A gateway as its operator starts it, with a console at a name of its own; agents as their hosts start them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use adit_lab::binaries;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::driver::{Browser, Driver};
use super::processes::{Daemon, eventually, free_port, run};

pub(crate) struct Stage {
    folder: TempDir,
    port: u16,
    gateway: Option<Daemon>,
    driver: Driver,
    /// The token of the link for the first organization's owner.
    pub(crate) first_token: String,
}

/// The organizations of most tests, and where their people have their e-mail.
pub(crate) const LAKESIDE: &str = "Lakeside Clinic";
pub(crate) const STMARY: &str = "St Mary Hospital";
pub(crate) const PASSWORD: &str = "a lantern on the stairs";

impl Stage {
    /// With the first organization, of this tier, its gateway running.
    pub(crate) async fn start(tier: &str) -> Self {
        Self::start_with(tier, "").await
    }

    /// With more lines in the gateway's file, before its `[console]`.
    pub(crate) async fn start_with(tier: &str, lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, driver) = (free_port(), Driver::start().await);
        let mut stage = Self { folder, port, gateway: None, driver, first_token: String::new() };
        stage.write(lines).await;
        let words = ["gateway", "init", "--organization", LAKESIDE, "--email", "ada@lakeside.example"];
        let mut command = stage.adit(&words);
        command.args(["--tier", tier]);
        stage.first_token = token_in(&run(command).await);
        stage.start_gateway().await;
        stage
    }

    async fn write(&self, lines: &str) {
        let (port, folder) = (self.port, self.folder.path().display());
        let (certificate, key) = (self.path("console.pem"), self.path("console.key"));
        let mut openssl = Command::new("openssl");
        openssl.args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30".split(' '));
        openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
        run(openssl).await;
        fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        let text = format!(
            "name = \"127.0.0.1:{port}\"\nlisten = \"127.0.0.1:{port}\"\nstate = \"{folder}/gateway\"\n\
             trust_domain = \"browser.adit.test\"\n{lines}\n[console]\nname = \"localhost:{port}\"\n\
             certificate = \"{}\"\nkey = \"{}\"\n",
            certificate.display(),
            key.display()
        );
        fs::write(self.config(), text).unwrap();
        fs::set_permissions(self.config(), PermissionsExt::from_mode(0o600)).unwrap();
    }

    pub(crate) async fn start_gateway(&mut self) {
        self.gateway = Some(Daemon::start("gateway", &self.config()));
        let port = self.port;
        eventually("the gateway listens", async || TcpStream::connect(("127.0.0.1", port)).await.ok()).await;
    }

    pub(crate) fn stop_gateway(&mut self) {
        self.gateway = None;
    }

    /// Where the pages are.
    pub(crate) fn site(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("gateway.toml")
    }

    fn adit(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binaries::adit());
        command.args(words).arg("--config").arg(self.config());
        command
    }

    /// Runs `adit admin WORDS` as the gateway's operator; returns what it printed.
    pub(crate) async fn admin(&self, words: &[&str]) -> String {
        let mut command = self.adit(&["admin"]);
        command.args(words);
        run(command).await
    }

    /// Makes one more organization; returns the token of the link for its owner.
    pub(crate) async fn add_organization(&self, name: &str, email: &str, tier: &str) -> String {
        self.admin(&["org", "add", name, "--tier", tier]).await;
        token_in(&self.admin(&["user", "invite", email, "--as", name, "--role", "owner"]).await)
    }

    /// A browser of somebody who is not signed in.
    pub(crate) async fn browser(&self) -> Browser {
        self.driver.browser(&self.site()).await
    }

    /// Follows the link of an invitation in a browser of its own.
    pub(crate) async fn invited(&self, token: &str, name: &str) -> Browser {
        let browser = self.browser().await;
        browser.open(&format!("/invitation#{token}")).await;
        browser.fill("Your name", name).await;
        browser.fill("Password", PASSWORD).await;
        browser.press("Go on").await;
        browser.says("Overview").await;
        browser
    }

    /// The owners of Lakeside and St Mary, each signed in at a browser.
    pub(crate) async fn owners(&self, tier: &str) -> (Browser, Browser) {
        let other = self.add_organization(STMARY, "bob@stmary.example", tier).await;
        (self.invited(&self.first_token, "Ada").await, self.invited(&other, "Bob").await)
    }

    /// An agent with a folder of its own, from its connector file and the entries of its own file.
    pub(crate) fn agent(&self, name: &str, connector: &str, entries: &str) -> Agent {
        let folder = self.path(name);
        fs::create_dir_all(&folder).unwrap();
        let agent = Agent { config: folder.join("agent.toml"), daemon: None };
        write_private(&folder.join("connector.toml"), connector);
        let (state, connector) = (folder.join("state"), folder.join("connector.toml"));
        let text =
            format!("state = \"{}\"\nconnector = \"{}\"\n{entries}", state.display(), connector.display());
        write_private(&agent.config, &text);
        agent
    }
}

/// Types what signs a person in at the page that is shown.
pub(crate) async fn sign_in(browser: &Browser, organization: &str, email: &str, password: &str) {
    browser.fill("Organization", organization).await;
    browser.fill("E-mail address", email).await;
    browser.fill("Password", password).await;
    browser.press("Sign in").await;
}

/// An agent of the real binary.
pub(crate) struct Agent {
    config: PathBuf,
    daemon: Option<Daemon>,
}

impl Agent {
    pub(crate) fn start(&mut self) {
        self.daemon = Some(Daemon::start("agent", &self.config));
    }

    pub(crate) fn stop(&mut self) {
        self.daemon = None;
    }

    /// Changes its file; it reads that at its next start.
    pub(crate) fn edit(&self, change: impl FnOnce(&str) -> String) {
        let text = fs::read_to_string(&self.config).unwrap();
        fs::write(&self.config, change(&text)).unwrap();
    }

    /// Runs a command for its host, such as `adit status`; returns what it printed.
    pub(crate) async fn adit(&self, words: &[&str]) -> String {
        let mut command = Command::new(binaries::adit());
        command.args(words).arg("--config").arg(&self.config);
        run(command).await
    }
}

/// What two organizations have together, made over the API in a moment.
#[derive(Debug, Clone)]
pub(crate) struct Partnership {
    pub(crate) source_server: String,
    pub(crate) target_server: String,
    pub(crate) connection: String,
}

impl Partnership {
    /// Lakeside sends to St Mary's ADT; the connection is Ready.
    pub(crate) async fn make(ada: &Browser, bob: &Browser) -> Self {
        let source_server = id_of(&ada.does("POST", "/servers", &json!({ "name": "Lakeside Mirth" })).await);
        let target_server = id_of(&bob.does("POST", "/servers", &json!({ "name": "St Mary Mirth" })).await);
        let channel =
            json!({ "server": target_server, "name": "ADT", "protocol": "mllp", "published": true });
        let channel = id_of(&bob.does("POST", "/channels", &channel).await);
        let peering = id_of(&ada.does("POST", "/peerings", &json!({ "name": STMARY })).await);
        bob.does("POST", &format!("/peerings/{peering}/accept"), &json!({})).await;
        let asked = json!({ "channel": channel, "source_server": source_server });
        let grant = id_of(&ada.does("POST", "/grants/request", &asked).await);
        let approved = bob.does("POST", &format!("/grants/{grant}/approve"), &json!({})).await;
        let connection = approved["connection"].as_str().unwrap().to_owned();
        Self { source_server, target_server, connection }
    }
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

/// The id of what was made.
pub(crate) fn id_of(made: &serde_json::Value) -> String {
    made["id"].as_str().unwrap().to_owned()
}

/// The token of a link that was printed or is shown.
pub(crate) fn token_in(text: &str) -> String {
    let (_, rest) = text.split_once("/invitation#").expect("a link of an invitation");
    rest.chars().take_while(char::is_ascii_hexdigit).collect()
}
