//! Signing in at an identity provider that none of us wrote, `oidc-provider-mock` of `PyPI` (Authlib), where
//! `ADIT_TEST_OIDC` names a Python that has it: as it is, with a new key, and killed.

use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hyper::Request;
use hyper::header::{CONTENT_TYPE, LOCATION};
use serde_json::json;
use url::Url;
use zeroize::Zeroizing;

use adit_core::domain::limits::{PROVIDER_KEYS_EVERY, PROVIDER_KNOWN_LIFE};
use adit_core::domain::secret::SignInToken;

use super::single_sign_on::plain;
use super::*;

const VARIABLE: &str = "ADIT_TEST_OIDC";
const CALLBACKS: &str = "https://console.example.org/api/v1/session/single-sign-on/callback";
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The provider's process, which ends with it.
struct RealProvider {
    process: Child,
    port: u16,
}

impl RealProvider {
    fn start(python: &str, port: u16) -> Self {
        let user = json!({
            "sub": "ada", "name": "Ada", "email": "ada@st-mary.example", "email_verified": true,
            "realm_access": { "roles": ["adit-operator"] },
        });
        let process = Command::new(python)
            .args(["-m", "oidc_provider_mock", "--require-nonce", "--port", &port.to_string()])
            .args(["--user-claims", &user.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let provider = Self { process, port };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < READY_WITHIN, "the provider does not listen");
            std::thread::yield_now();
        }
        provider
    }

    fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for RealProvider {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Visit {
    world: World,
    organization: OrganizationId,
    browser: SignInToken,
}

impl Visit {
    async fn begin(&self) -> Result<String, SingleSignOnError> {
        let begin = BeginSingleSignOn {
            organization: "St Mary",
            browser: &self.browser,
            go_to: "/",
            address: FROM,
            callbacks: CALLBACKS,
        };
        self.world.platform.begin_single_sign_on(&begin).await
    }

    /// Signs Ada in on the provider's own page; returns state and code, as the browser is sent back with them.
    async fn sign_in_there(&self, url: &str) -> (SignInToken, Zeroizing<String>) {
        let form = Request::post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = plain().ask(form.body(b"sub=ada".to_vec()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 302, "{}", String::from_utf8_lossy(answer.body()));
        let back = Url::parse(answer.headers()[LOCATION].to_str().unwrap()).unwrap();
        assert!(back.as_str().starts_with(&callback_of(CALLBACKS, self.organization)), "{back}");
        let part = |name: &str| back.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        (SignInToken::from_hex(&part("state")).unwrap(), Zeroizing::new(part("code")))
    }

    async fn finish(
        &self,
        (state, code): &(SignInToken, Zeroizing<String>),
    ) -> Result<(), SingleSignOnError> {
        let finish = FinishSingleSignOn {
            state,
            browser: Some(&self.browser),
            at: Some(self.organization),
            code: Some(code),
            error: None,
            issuer: None,
            address: FROM,
            agent: "a browser",
            callbacks: CALLBACKS,
        };
        self.world.platform.finish_single_sign_on(&finish).await.map(drop)
    }

    async fn whole(&self) -> Result<(), SingleSignOnError> {
        let back = self.sign_in_there(&self.begin().await?).await;
        self.finish(&back).await
    }
}

#[tokio::test]
async fn a_real_providers_user_signs_in_before_and_after_its_key_changes_and_not_while_it_is_away() {
    let Ok(python) = std::env::var(VARIABLE) else { return };
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let mut provider = RealProvider::start(&python, port);
    let mut world = World::new().await;
    world.platform = world.platform.asking_providers_by(plain());
    let truth = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap();
    world.clock.0.store(truth, Ordering::SeqCst);
    let party = world.party("St Mary", Tier::Standard).await;
    let values = RoleValues { operator: Some("adit-operator".into()), ..RoleValues::default() };
    let claim = "realm_access.roles".into();
    let secret = Some(Zeroizing::new("any".to_owned()));
    let settings = ProviderSettings::new(provider.issuer(), "adit".into(), secret, claim, values).unwrap();
    world.platform.set_identity_provider(&party.initiator, &settings).await.unwrap();
    let visit = Visit { world, organization: party.id, browser: SignInToken::from_bytes([1; 32]) };
    visit.whole().await.unwrap();
    let (actor, .., detail) = visit.world.last_entry(&party).await;
    assert_eq!((actor.as_str(), &detail[..27]), ("Ada (ada@st-mary.example)", "by single sign-on, as opera"));

    let back = visit.sign_in_there(&visit.begin().await.unwrap()).await;
    provider.kill();
    assert!(matches!(visit.finish(&back).await, Err(SingleSignOnError::Away)));
    // Its key is made at each start; ours are a minute old by then, which is when it is asked again.
    let again = RealProvider::start(&python, port);
    visit.world.pass(PROVIDER_KEYS_EVERY.saturating_sub(Duration::from_secs(5)));
    assert!(matches!(visit.whole().await, Err(SingleSignOnError::Refused(_))), "asked a moment ago");
    visit.world.pass(Duration::from_secs(5));
    visit.whole().await.unwrap();
    drop(again);
    visit.world.pass(PROVIDER_KNOWN_LIFE);
    assert!(matches!(visit.begin().await, Err(SingleSignOnError::Away)));
}
