//! Signing in at a hospital's own provider, with a real one: `oidc-provider-mock` of `PyPI` (Authlib), where
//! `ADIT_TEST_OIDC` names a Python that has it. The browser walks through the provider's own page.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;
use url::Url;

use super::driver::Browser;
use super::processes::{eventually, free_port};
use super::stage::{LAKESIDE, Stage};

const VARIABLE: &str = "ADIT_TEST_OIDC";
/// The program as it is, behind TLS: a gateway asks nothing in the clear.
const PROGRAM: &str = "
import json, os, sys
import uvicorn
from oidc_provider_mock import User, app
port, certificate, key = int(sys.argv[1]), sys.argv[2], sys.argv[3]
users = [User(sub=user.pop('sub'), claims=user) for user in json.loads(sys.argv[4])]
uvicorn.run(app(require_nonce=True, user_claims=users), interface='wsgi', host='127.0.0.1', port=port,
            ssl_certfile=certificate, ssl_keyfile=key)
";

struct Provider {
    python: String,
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Provider {
    fn new(python: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        fs::write(folder.path().join("ca.pem"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
        let leaf = CertificateParams::new(vec!["localhost".into()]).unwrap();
        let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
        fs::write(folder.path().join("leaf.pem"), leaf.pem()).unwrap();
        fs::write(folder.path().join("leaf.key"), key.serialize_pem()).unwrap();
        Self { python, folder, port: free_port(), process: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn issuer(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The lines by which a gateway may ask it.
    fn lines(&self) -> String {
        format!(
            "identity_providers = [\"{}\"]\nidentity_provider_ca = \"{}\"\n",
            self.issuer(),
            self.path("ca.pem").display()
        )
    }

    async fn start(&mut self) {
        let user = |name: &str, role: &str| {
            json!({
                "sub": name, "name": name, "email": format!("{name}@lakeside.example"), "email_verified": true,
                "realm_access": { "roles": [role] },
            })
        };
        let users = json!([user("Grace", "adit-operator"), user("Mallory", "porter")]);
        let process = Command::new(&self.python)
            .args(["-c", PROGRAM, &self.port.to_string()])
            .args([self.path("leaf.pem"), self.path("leaf.key")])
            .arg(users.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(process);
        let address = (Ipv4Addr::LOCALHOST, self.port);
        eventually("the provider listens", async || TcpStream::connect(address).await.ok()).await;
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A provider, and Lakeside, whose owner has named it on the page of the organization.
async fn lakeside_with_a_provider() -> (Stage, Provider) {
    let python = std::env::var(VARIABLE).expect(
        "ADIT_TEST_OIDC names the python that has oidc-provider-mock; tests/run.sh installs it and says so",
    );
    let mut provider = Provider::new(python);
    provider.start().await;
    let stage = Stage::start_with("free", &provider.lines()).await;
    let ada = stage.invited(&stage.first_token, "Ada").await;
    ada.open("/organization").await;
    for (label, text) in [
        ("Issuer", &*provider.issuer()),
        ("Client ID", "adit"),
        ("Client secret", "any"),
        ("Claim that gives roles", "realm_access.roles"),
        ("Its value for operators", "adit-operator"),
    ] {
        ada.fill(label, text).await;
    }
    ada.press_beside("Claim that gives roles", "Save").await;
    ada.says("Register this redirect URI at your provider").await;
    ada.close().await;
    (stage, provider)
}

async fn go_there(browser: &Browser, path: &str) {
    browser.open(path).await;
    browser.fill("Organization", LAKESIDE).await;
    browser.press("Single sign-on").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_walks_through_the_providers_page_and_comes_back_signed_in() {
    let (stage, _provider) = lakeside_with_a_provider().await;
    for scripts in [true, false] {
        let grace = stage.browser().await;
        grace.scripts(scripts).await;
        go_there(&grace, "/servers?after=").await;
        grace.says("Authorize Client").await;
        grace.press("Grace").await;
        grace.is_at("/servers?after=").await;
        grace.says("Grace").await;
        grace.says("operator").await;
        grace.press("Sign out").await;
        grace.says("You are signed out.").await;
        grace.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_signed_in_there_reads_why() {
    let (stage, mut provider) = lakeside_with_a_provider().await;
    let mut asked = Vec::new();
    for scripts in [true, false] {
        let person = stage.browser().await;
        person.scripts(scripts).await;
        go_there(&person, "/servers").await;
        person.press("Mallory").await;
        person.says("the identity provider gives you no role here").await;
        go_there(&person, "/servers").await;
        person.says("Authorize Client").await;
        let url = person.url().await;
        // This provider's own refusal says not which sign-in it is of, as it must (RFC 6749 §4.1.2.1).
        person.press("Deny").await;
        person.says("begin anew unless you are signed in").await;
        person.open(&returning(&url, "error=access_denied")).await;
        person.says("the identity provider has signed nobody in").await;
        go_there(&person, "/servers").await;
        person.says("Authorize Client").await;
        asked.push((person.url().await, person));
    }
    // It goes away while its page is open.
    provider.stop();
    for (url, person) in asked {
        person.open(&returning(&url, "code=0")).await;
        person
            .says("the identity provider is away; try again, or sign in with a password if you have one")
            .await;
    }
}

/// Where the provider would send the browser back to, with this answer.
fn returning(asked: &Url, answer: &str) -> String {
    let part = |name: &str| asked.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    let back = Url::parse(&part("redirect_uri")).unwrap();
    format!("{}?state={}&{answer}", back.path(), part("state"))
}
