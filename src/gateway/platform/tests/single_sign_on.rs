//! Signing in at a provider that is a stand-in: what it may say, what it must not, and whose account that gives.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};
use zeroize::Zeroizing;

use adit_core::domain::limits::{
    PROVIDER_CLOCK_SKEW, PROVIDER_KEYS_EVERY, PROVIDER_KNOWN_LIFE, PROVIDER_REQUESTS_MAX, SIGN_IN_FLOW_LIFE,
    SIGN_IN_FLOWS_OF_ADDRESS_MAX,
};
use adit_core::domain::secret::SignInToken;
use adit_core::domain::word::Word;
use adit_net::transport::https_client::HttpsClient;

use super::people::{PASSWORD, visit};
use super::*;
use crate::openid::stand_in::{Back, CLIENT, CLIENT_SECRET, Signing, StandInProvider};
use crate::platform::single_sign_on::SignedInElsewhere;
use crate::store::{ChangeKind, ChangesAfter, SingleSignOnAccount};

const CALLBACKS: &str = "https://console.example.org/api/v1/session/single-sign-on/callback";
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// St Mary, whose users sign in at a stand-in.
struct SignOn {
    world: World,
    party: Party,
    provider: StandInProvider,
    browser: SignInToken,
}

pub(super) fn plain() -> HttpsClient {
    HttpsClient::new(None).unwrap().plain_on_loopback()
}

/// Sets an organization's provider, and removes it.
pub(super) async fn set_and_remove(world: &World, party: &Party) {
    let provider = StandInProvider::start(world.platform.now()).await;
    let settings = settings(&provider.issuer);
    world.platform.set_identity_provider(&party.initiator, &settings).await.unwrap();
    world.platform.remove_identity_provider(&party.initiator).await.unwrap();
}

fn settings(issuer: &str) -> ProviderSettings {
    let values = RoleValues {
        owner: Some("adit-owner".into()),
        operator: Some("adit-operator".into()),
        auditor: Some("adit-auditor".into()),
    };
    let secret = Some(Zeroizing::new(CLIENT_SECRET.to_owned()));
    ProviderSettings::new(issuer.into(), CLIENT.into(), secret, "roles".into(), values).unwrap()
}

fn ada(roles: &[&str]) -> Value {
    json!({
        "sub": "248289761001", "name": "Ada", "email": "Ada@St-Mary.example", "email_verified": true,
        "roles": roles,
    })
}

impl SignOn {
    async fn new() -> Self {
        let mut world = World::new().await;
        world.platform = world.platform.asking_providers_by(plain());
        let party = world.party("St Mary", Tier::Standard).await;
        let provider = StandInProvider::start(world.platform.now()).await;
        world.platform.set_identity_provider(&party.initiator, &settings(&provider.issuer)).await.unwrap();
        Self { world, party, provider, browser: SignInToken::from_bytes([1; 32]) }
    }

    fn pass(&self, span: Duration) {
        self.world.pass(span);
        self.provider.set_now(self.world.platform.now());
    }

    async fn begin(&self) -> Result<String, SingleSignOnError> {
        let begin = BeginSingleSignOn {
            organization: "st mary",
            browser: &self.browser,
            go_to: "/servers",
            address: FROM,
            callbacks: CALLBACKS,
        };
        self.world.platform.begin_single_sign_on(&begin).await
    }

    async fn finish(&self, back: &Back) -> Result<SignedInElsewhere, SingleSignOnError> {
        self.finish_as(back, Some(&self.browser), Some(&self.provider.issuer)).await
    }

    async fn finish_as(
        &self,
        back: &Back,
        browser: Option<&SignInToken>,
        issuer: Option<&str>,
    ) -> Result<SignedInElsewhere, SingleSignOnError> {
        self.finish_at(Some(self.party.id), back, browser, issuer).await
    }

    async fn finish_at(
        &self,
        at: Option<OrganizationId>,
        back: &Back,
        browser: Option<&SignInToken>,
        issuer: Option<&str>,
    ) -> Result<SignedInElsewhere, SingleSignOnError> {
        let state = SignInToken::from_hex(&back.state).unwrap();
        let code = Zeroizing::new(back.code.clone());
        let finish = FinishSingleSignOn {
            state: &state,
            browser,
            at,
            code: Some(&code),
            error: None,
            issuer,
            address: FROM,
            agent: "a browser",
            callbacks: CALLBACKS,
        };
        self.world.platform.finish_single_sign_on(&finish).await
    }

    /// Signs in from begin to end.
    async fn sign_in(&self, claims: Value) -> Result<SignedInElsewhere, SingleSignOnError> {
        let url = self.begin().await?;
        self.finish(&self.provider.sign_in(&url, claims)).await
    }

    async fn is_signed(&self, user: &SignedInElsewhere) -> bool {
        self.world.platform.signed(&user.session.token).await.unwrap().is_some()
    }

    async fn account(&self, subject: &str) -> Option<SingleSignOnAccount> {
        let (id, subject) = (self.party.id, subject.to_owned());
        let found = self
            .world
            .platform
            .look(async move |tx| Ok::<_, PlatformError>(tx.account_by_subject(id, &subject).await?));
        found.await.unwrap()
    }

    async fn log(&self) -> (String, String, String, String) {
        self.world.last_entry(&self.party).await
    }
}

#[track_caller]
fn word<T: std::fmt::Debug>(outcome: Result<T, SingleSignOnError>) -> String {
    match outcome {
        Err(SingleSignOnError::Refused(refusal)) => refusal.as_str().into(),
        Err(SingleSignOnError::Away) => "away".into(),
        other => panic!("not refused: {other:?}"),
    }
}

/// Requires that a token with these lies is not taken, and that the log says why.
async fn not_taken(lie: impl FnOnce(&mut crate::openid::stand_in::Lies), why: &str) {
    let sign_on = SignOn::new().await;
    sign_on.provider.lie(lie);
    assert_eq!(word(sign_on.sign_in(ada(&["adit-owner"])).await), "not-proven", "{why}");
    let (actor, action, outcome, detail) = sign_on.log().await;
    assert_eq!(
        (actor.as_str(), action.as_str(), outcome.as_str()),
        ("a host at 192.0.2.7", "sign in", "refused")
    );
    assert!(detail.contains(why), "{detail:?} says nothing of {why:?}");
    assert!(sign_on.account("248289761001").await.is_none());
}

#[tokio::test]
async fn a_user_of_the_provider_signs_in_with_the_role_that_its_claim_gives() {
    for signing in [Signing::Es256, Signing::Rs256] {
        let sign_on = SignOn::new().await;
        sign_on.provider.lie(|lies| lies.signing = signing);
        let user = sign_on.sign_in(ada(&["other", "adit-operator", "adit-auditor"])).await.unwrap();
        assert_eq!(user.go_to, "/servers");
        let account = sign_on.account("248289761001").await.unwrap();
        assert_eq!((account.id, account.role), (user.session.signed.id(), UserRole::Operator));
        assert_eq!(account.email.as_str(), "ada@st-mary.example");
        let (actor, action, outcome, detail) = sign_on.log().await;
        assert_eq!((actor.as_str(), action.as_str()), ("Ada (ada@st-mary.example)", "sign in"));
        assert_eq!(
            (outcome.as_str(), detail.as_str()),
            ("done", "by single sign-on, as operator, from 192.0.2.7")
        );
    }
}

#[tokio::test]
async fn the_same_subject_is_the_same_user_whatever_its_name_and_address() {
    let sign_on = SignOn::new().await;
    let first = sign_on.sign_in(ada(&["adit-operator"])).await.unwrap();
    let mut renamed = ada(&["adit-auditor"]);
    renamed["email"] = "lovelace@st-mary.example".into();
    renamed["name"] = "Ada Lovelace".into();
    let second = sign_on.sign_in(renamed).await.unwrap();
    assert_eq!(first.session.signed.id(), second.session.signed.id());
    let account = sign_on.account("248289761001").await.unwrap();
    assert_eq!((account.name.as_str(), account.role), ("Ada Lovelace", UserRole::Auditor));
    assert_eq!(account.email.as_str(), "lovelace@st-mary.example");
}

#[tokio::test]
async fn a_user_whose_claim_is_gone_is_refused_and_loses_what_is_open() {
    let sign_on = SignOn::new().await;
    sign_on.sign_in(ada(&["adit-owner"])).await.unwrap();
    assert_eq!(word(sign_on.sign_in(ada(&["other"])).await), "no-role");
    let log = sign_on.world.platform.audit(&sign_on.party.initiator, 2).await.unwrap();
    assert_eq!((log[0].action.as_str(), log[0].outcome.as_str()), ("revoke session", "done"));
    assert!(log[0].detail.contains("sessions and API tokens ended: 1"), "{}", log[0].detail);
    assert_eq!((log[1].action.as_str(), log[1].outcome.as_str()), ("sign in", "refused"));
    sign_on.sign_in(ada(&["adit-auditor"])).await.unwrap();
}

#[tokio::test]
async fn one_without_any_of_the_roles_becomes_no_user() {
    let sign_on = SignOn::new().await;
    assert_eq!(word(sign_on.sign_in(ada(&[])).await), "no-role");
    assert!(sign_on.account("248289761001").await.is_none());
}

#[tokio::test]
async fn a_token_is_taken_only_by_an_algorithm_and_key_of_the_provider() {
    const ALG: &str = "not signed by an algorithm that is taken (`alg`)";
    not_taken(|lies| lies.signing = Signing::None, ALG).await;
    not_taken(|lies| lies.signing = Signing::Hs256WithPublicKey, ALG).await;
    not_taken(|lies| lies.signing = Signing::Hs256WithSecret, ALG).await;
    not_taken(|lies| lies.signing = Signing::Es256OfAnother, "its signature is not the provider's").await;
}

#[tokio::test]
async fn a_token_is_taken_only_for_this_client_in_answer_to_this_sign_in_in_its_time() {
    let (early, late) = (1_795_510_800 - 700, 1_795_510_800 + 3_600);
    for (claims, why) in [
        (json!({ "nonce": "another" }), "`nonce`"),
        (json!({ "nonce": null }), "`nonce`"),
        (json!({ "aud": "another" }), "`aud`"),
        (json!({ "aud": [CLIENT, "another"] }), "`aud`"),
        (json!({ "azp": "another" }), "`azp`"),
        (json!({ "iss": "https://another.example" }), "`iss`"),
        (json!({ "exp": early }), "`exp`"),
        (json!({ "iat": late }), "`iat`"),
        (json!({ "iat": early }), "`iat`"),
        (json!({ "nbf": late }), "`nbf`"),
        (json!({ "at_hash": "AAAAAAAAAAAAAAAAAAAAAA" }), "`at_hash`"),
    ] {
        not_taken(|lies| lies.claims = claims, why).await;
    }
}

#[tokio::test]
async fn a_clock_that_differs_a_little_keeps_nobody_out() {
    let sign_on = SignOn::new().await;
    let now = sign_on.world.platform.now();
    let off = PROVIDER_CLOCK_SKEW.saturating_sub(Duration::from_secs(1));
    for theirs in [now.saturating_add(off), now.saturating_sub(off)] {
        sign_on.provider.set_now(theirs);
        sign_on.sign_in(ada(&["adit-owner"])).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_counts_once() {
    let sign_on = SignOn::new().await;
    let back = sign_on.provider.sign_in(&sign_on.begin().await.unwrap(), ada(&["adit-owner"]));
    sign_on.finish(&back).await.unwrap();
    assert_eq!(word(sign_on.finish(&back).await), "expired", "state and code again");
    let other = sign_on.provider.sign_in(&sign_on.begin().await.unwrap(), ada(&["adit-owner"]));
    let mixed = Back { state: other.state, code: back.code };
    assert_eq!(word(sign_on.finish(&mixed).await), "not-proven", "the code again, with another state");
    let unknown = Back { state: "00".repeat(32), code: other.code };
    assert_eq!(word(sign_on.finish(&unknown).await), "expired", "a state that nobody began");
}

#[tokio::test]
async fn another_sign_ins_code_proves_nothing() {
    let sign_on = SignOn::new().await;
    let [one, other] = [sign_on.begin().await.unwrap(), sign_on.begin().await.unwrap()];
    let one = sign_on.provider.sign_in(&one, ada(&["adit-owner"]));
    let other = sign_on.provider.sign_in(&other, ada(&["adit-owner"]));
    // Injected into one's own sign-in (RFC 9700 §4.5): the verifier is another's.
    let injected = Back { state: one.state, code: other.code };
    assert_eq!(word(sign_on.finish(&injected).await), "not-proven");
}

#[tokio::test]
async fn an_answer_counts_only_in_the_browser_that_asked() {
    let sign_on = SignOn::new().await;
    for browser in [Some(SignInToken::from_bytes([2; 32])), None] {
        let back = sign_on.provider.sign_in(&sign_on.begin().await.unwrap(), ada(&["adit-owner"]));
        let issuer = sign_on.provider.issuer.clone();
        let answer = sign_on.finish_as(&back, browser.as_ref(), Some(&issuer)).await;
        assert_eq!(word(answer), "other-browser");
        assert_eq!(word(sign_on.finish(&back).await), "expired", "and is used up");
    }
}

#[tokio::test]
async fn an_answer_of_another_issuer_is_refused_before_its_code_goes_anywhere() {
    let sign_on = SignOn::new().await;
    for issuer in [Some("https://attacker.example"), Some(""), None] {
        let back = sign_on.provider.sign_in(&sign_on.begin().await.unwrap(), ada(&["adit-owner"]));
        let answer = sign_on.finish_as(&back, Some(&sign_on.browser), issuer).await;
        assert_eq!(word(answer), "other-issuer", "{issuer:?}");
    }
}

#[tokio::test]
async fn a_provider_that_never_says_who_it_is_may_go_on_so() {
    let sign_on = SignOn::new().await;
    let silent = json!({ "authorization_response_iss_parameter_supported": null });
    sign_on.provider.lie(|lies| lies.configuration = silent);
    sign_on.pass(Duration::from_secs(3601));
    let back = sign_on.provider.sign_in(&sign_on.begin().await.unwrap(), ada(&["adit-owner"]));
    sign_on.finish_as(&back, Some(&sign_on.browser), None).await.unwrap();
}

#[tokio::test]
async fn a_sign_in_lasts_ten_minutes_and_ends_with_its_provider() {
    let sign_on = SignOn::new().await;
    let back = sign_on.provider.sign_in(&sign_on.begin().await.unwrap(), ada(&["adit-owner"]));
    sign_on.pass(SIGN_IN_FLOW_LIFE);
    assert_eq!(word(sign_on.finish(&back).await), "expired");
    let back = sign_on.provider.sign_in(&sign_on.begin().await.unwrap(), ada(&["adit-owner"]));
    let (platform, owner) = (&sign_on.world.platform, &sign_on.party.initiator);
    platform.set_identity_provider(owner, &settings(&sign_on.provider.issuer)).await.unwrap();
    assert_eq!(word(sign_on.finish(&back).await), "expired", "set anew meanwhile");
}

#[tokio::test]
async fn a_new_key_is_fetched_when_it_is_first_met_and_not_at_will() {
    let sign_on = SignOn::new().await;
    sign_on.sign_in(ada(&["adit-owner"])).await.unwrap();
    assert_eq!(sign_on.provider.keys_read(), 1);
    sign_on.pass(PROVIDER_KEYS_EVERY);
    sign_on.provider.rotate("second");
    sign_on.sign_in(ada(&["adit-owner"])).await.unwrap();
    assert_eq!(sign_on.provider.keys_read(), 2);
    sign_on.provider.rotate("third");
    for _ in 0..3 {
        assert_eq!(word(sign_on.sign_in(ada(&["adit-owner"])).await), "not-proven");
    }
    assert_eq!(sign_on.provider.keys_read(), 2, "within a minute");
    sign_on.pass(PROVIDER_KEYS_EVERY);
    sign_on.sign_in(ada(&["adit-owner"])).await.unwrap();
    assert_eq!(sign_on.provider.keys_read(), 3);
}

#[tokio::test]
async fn many_who_meet_a_new_key_at_once_have_it_fetched_once() {
    let sign_on = SignOn::new().await;
    sign_on.pass(PROVIDER_KEYS_EVERY);
    sign_on.provider.rotate("second");
    let all = (0..PROVIDER_REQUESTS_MAX).map(|number| {
        let mut claims = ada(&["adit-operator"]);
        claims["sub"] = number.to_string().into();
        claims["email"] = format!("{number}@st-mary.example").into();
        sign_on.sign_in(claims)
    });
    for signed_in in futures_util::future::join_all(all).await {
        signed_in.unwrap();
    }
    assert_eq!(sign_on.provider.keys_read(), 2);
}

#[tokio::test]
async fn many_who_come_at_once_are_let_in_one_after_another_though_nothing_is_known_of_the_provider() {
    let sign_on = SignOn::new().await;
    sign_on.pass(PROVIDER_KNOWN_LIFE);
    let all = (0..4 * PROVIDER_REQUESTS_MAX).map(|_| sign_on.begin());
    for begun in futures_util::future::join_all(all).await {
        begun.unwrap();
    }
    assert_eq!(sign_on.provider.keys_read(), 2, "and it is read once");
}

#[tokio::test]
async fn a_provider_that_is_away_is_said_to_be_and_no_answer_is_taken_for_a_refusal() {
    let sign_on = SignOn::new().await;
    let back = sign_on.provider.sign_in(&sign_on.begin().await.unwrap(), ada(&["adit-owner"]));
    sign_on.provider.lie(|lies| lies.is_away = true);
    sign_on.begin().await.expect("what is known of it serves for an hour");
    sign_on.pass(Duration::from_secs(3_600));
    assert_eq!(word(sign_on.begin().await), "away");
    drop(back);
    sign_on.provider.lie(|lies| lies.is_away = false);
    sign_on.sign_in(ada(&["adit-owner"])).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_comes_to_another_organizations_callback_is_refused_though_no_issuer_is_said() {
    let sign_on = SignOn::new().await;
    let silent = json!({ "authorization_response_iss_parameter_supported": null });
    sign_on.provider.lie(|lies| lies.configuration = silent);
    sign_on.pass(PROVIDER_KNOWN_LIFE);
    let other = sign_on.world.party("Lakeside", Tier::Standard).await;
    for at in [Some(other.id), None] {
        let url = sign_on.begin().await.unwrap();
        let back = sign_on.provider.sign_in(&url, ada(&["adit-owner"]));
        // The attack of RFC 9700 §4.4.1: what one provider answers is taken for the answer of another.
        let answer = sign_on.finish_at(at, &back, Some(&sign_on.browser), None).await;
        assert_eq!(word(answer), "other-issuer", "{at:?}");
        assert_eq!(sign_on.log().await.2, "refused");
        assert_eq!(word(sign_on.finish(&back).await), "expired", "and is used up");
    }
}

#[tokio::test]
async fn the_last_owner_who_can_sign_in_stays_one_whatever_role_the_provider_gives() {
    let sign_on = SignOn::new().await;
    let first = sign_on.sign_in(ada(&["adit-owner"])).await.unwrap();
    let second = sign_on.sign_in(ada(&["adit-auditor"])).await.unwrap();
    assert_eq!(second.session.signed.user.role, UserRole::Owner);
    let (.., detail) = sign_on.log().await;
    assert!(detail.contains("as owner still") && detail.contains("gives auditor"), "{detail}");
    assert!(sign_on.is_signed(&first).await, "what is kept is kept whole");
    sign_on.insert_password_account("bo@st-mary.example").await;
    let third = sign_on.sign_in(ada(&["adit-auditor"])).await.unwrap();
    assert_eq!(third.session.signed.user.role, UserRole::Auditor, "there is another now");
}

#[tokio::test]
async fn a_lower_role_ends_the_sessions_that_were_begun_with_the_higher() {
    let sign_on = SignOn::new().await;
    let [one, two] = [&["adit-operator"], &["adit-operator"]].map(|roles| ada(roles));
    let [one, two] = [sign_on.sign_in(one).await.unwrap(), sign_on.sign_in(two).await.unwrap()];
    assert!(sign_on.is_signed(&one).await, "the same role ends nothing");
    let lower = sign_on.sign_in(ada(&["adit-auditor"])).await.unwrap();
    for (session, is_signed) in [(&one, false), (&two, false), (&lower, true)] {
        assert_eq!(sign_on.is_signed(session).await, is_signed);
    }
    let (.., detail) = sign_on.log().await;
    assert!(detail.contains("as auditor; was operator, sessions ended: 2"), "{detail}");
    sign_on.sign_in(ada(&["adit-operator"])).await.unwrap();
    assert!(sign_on.is_signed(&lower).await, "a higher role ends nothing");
}

#[tokio::test]
async fn who_gets_no_role_any_more_keeps_none_but_the_lowest() {
    let sign_on = SignOn::new().await;
    let bo = sign_on.insert_password_account("bo@st-mary.example").await;
    let session = sign_on.sign_in(ada(&["adit-owner"])).await.unwrap();
    assert_eq!(word(sign_on.sign_in(ada(&[])).await), "no-role");
    assert!(!sign_on.is_signed(&session).await);
    assert_eq!(sign_on.account("248289761001").await.unwrap().role, UserRole::Auditor);
    let log = sign_on.world.platform.audit(&sign_on.party.initiator, 2).await.unwrap();
    assert!(log[0].detail.ends_with("; owner before, auditor from now on"), "{}", log[0].detail);
    // So she is no owner any more for whom another might go.
    let gone = sign_on.world.platform.disable_user(&sign_on.party.initiator, bo).await;
    assert!(refused(gone).contains("the last owner who can sign in"));
}

#[tokio::test]
async fn a_provider_is_neither_removed_nor_changed_while_it_alone_lets_owners_in() {
    let sign_on = SignOn::new().await;
    sign_on.sign_in(ada(&["adit-owner"])).await.unwrap();
    let (platform, owner) = (&sign_on.world.platform, &sign_on.party.initiator);
    let next = StandInProvider::start(platform.now()).await;
    let issuer = &sign_on.provider.issuer;
    let with = |client: &str, claim: &str, value: Option<&str>| {
        let values = RoleValues {
            owner: value.map(str::to_owned),
            operator: Some("adit-operator".into()),
            ..RoleValues::default()
        };
        ProviderSettings::new(issuer.clone(), client.into(), None, claim.into(), values).unwrap()
    };
    let changes = [
        settings(&next.issuer),
        with("another", "roles", Some("adit-owner")),
        with(CLIENT, "groups", Some("adit-owner")),
        with(CLIENT, "roles", Some("another")),
        with(CLIENT, "roles", None),
    ];
    for change in &changes {
        let said = refused(platform.set_identity_provider(owner, change).await);
        assert!(said.contains("a password first"), "{said}");
    }
    assert!(refused(platform.remove_identity_provider(owner).await).contains("a password first"));
    assert_eq!(sign_on.log().await.2, "refused");
    // What no owner depends on may change.
    platform.set_identity_provider(owner, &with(CLIENT, "roles", Some("adit-owner"))).await.unwrap();
    sign_on.sign_in(ada(&["adit-owner"])).await.expect("all is as it was");
    sign_on.insert_password_account("bo@st-mary.example").await;
    for change in changes.iter().rev() {
        platform.set_identity_provider(owner, change).await.unwrap();
    }
    platform.remove_identity_provider(owner).await.unwrap();
}

#[tokio::test]
async fn an_owner_by_a_provider_that_makes_none_any_more_is_no_owner_to_rely_on() {
    let sign_on = SignOn::new().await;
    let bo = sign_on.insert_password_account("bo@st-mary.example").await;
    sign_on.sign_in(ada(&["adit-owner"])).await.unwrap();
    let (platform, owner) = (&sign_on.world.platform, &sign_on.party.initiator);
    let values = RoleValues { operator: Some("adit-operator".into()), ..RoleValues::default() };
    let issuer = sign_on.provider.issuer.clone();
    let none = ProviderSettings::new(issuer, CLIENT.into(), None, "roles".into(), values).unwrap();
    platform.set_identity_provider(owner, &none).await.unwrap();
    for outcome in
        [platform.disable_user(owner, bo).await, platform.set_user_role(owner, bo, UserRole::Operator).await]
    {
        assert!(refused(outcome).contains("the last owner who can sign in"));
    }
}

#[tokio::test]
async fn what_a_provider_tells_in_place_of_a_code_says_what_helps() {
    let sign_on = SignOn::new().await;
    for (error, expected, what) in [
        ("access_denied", "denied", "begin anew"),
        ("<script>", "denied", "begin anew"),
        ("unauthorized_client", "asked-wrongly", "`unauthorized_client`"),
        ("invalid_scope", "asked-wrongly", "redirect URI"),
        ("temporarily_unavailable", "away", "try again"),
    ] {
        let back = sign_on.provider.sign_in(&sign_on.begin().await.unwrap(), ada(&["adit-owner"]));
        let state = SignInToken::from_hex(&back.state).unwrap();
        let finish = FinishSingleSignOn {
            state: &state,
            browser: Some(&sign_on.browser),
            at: Some(sign_on.party.id),
            code: None,
            error: Some(error),
            issuer: Some(&sign_on.provider.issuer),
            address: FROM,
            agent: "a browser",
            callbacks: CALLBACKS,
        };
        let told = sign_on.world.platform.finish_single_sign_on(&finish).await;
        let said = told.as_ref().unwrap_err().to_string();
        assert!(said.contains(what) && !said.contains("script"), "{said}");
        assert_eq!(word(told), expected);
    }
}

#[tokio::test]
async fn where_passwords_are_for_owners_nobody_else_goes_on_with_an_old_one() {
    let sign_on = SignOn::new().await;
    let (world, party) = (&sign_on.world, &sign_on.party);
    let owner = world.user(party, "owner@st-mary.example", UserRole::Owner).await;
    let operator = world.user(party, "it@st-mary.example", UserRole::Operator).await;
    let by_password = async |address: &str| world.sign_in("St Mary", address, PASSWORD, &visit()).await;
    by_password("it@st-mary.example").await.unwrap();
    let set = settings(&sign_on.provider.issuer).with_passwords_of_owners_only(true);
    let before = world.platform.newest_change().await.unwrap();
    world.platform.set_identity_provider(&party.initiator, &set).await.unwrap();
    let (.., detail) = world.last_entry(party).await;
    assert!(detail.contains("sessions of others with one ended: 2"), "{detail}");
    let ChangesAfter::Rows(changes) = world.platform.changes_after(before, 10).await.unwrap() else {
        panic!("all are kept")
    };
    let is_of_users = changes.iter().any(|change| change.kind == Word::Known(ChangeKind::User));
    assert!(is_of_users, "whoever listens is to be proven again");
    assert_eq!(world.stage(&operator).await, None, "who came in by password is out");
    assert_eq!(world.stage(&owner).await, Some(SignInStage::Whole));
    let told = refused(by_password("it@st-mary.example").await);
    assert!(told.contains("identity provider") && told.contains("single sign-on"), "{told}");
    assert_eq!(world.last_entry(party).await.2, "refused");
    let wrong = world.sign_in("St Mary", "it@st-mary.example", "not the password", &visit()).await;
    assert!(refused(wrong).contains("password is wrong"), "only who knows the password is told");
    by_password("owner@st-mary.example").await.expect("for when the provider is away");
    sign_on.sign_in(ada(&["adit-operator"])).await.unwrap();
    world.platform.remove_identity_provider(&party.initiator).await.unwrap();
    by_password("it@st-mary.example").await.expect("the rule goes with the provider");
}

#[tokio::test]
async fn so_many_sign_ins_are_under_way_from_one_address() {
    let sign_on = SignOn::new().await;
    for _ in 0..SIGN_IN_FLOWS_OF_ADDRESS_MAX {
        sign_on.begin().await.unwrap();
    }
    assert_eq!(word(sign_on.begin().await), "too-many");
    sign_on.pass(SIGN_IN_FLOW_LIFE);
    sign_on.begin().await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_a_password_users_is_not_taken_over() {
    let sign_on = SignOn::new().await;
    sign_on.insert_password_account("ada@st-mary.example").await;
    assert_eq!(word(sign_on.sign_in(ada(&["adit-owner"])).await), "email-taken");
    assert!(sign_on.account("248289761001").await.is_none());
}

#[tokio::test]
async fn an_owners_open_link_for_the_address_lets_it_be_linked_once_verified() {
    let sign_on = SignOn::new().await;
    let account = sign_on.insert_password_account("ada@st-mary.example").await;
    sign_on.insert_invitation("ada@st-mary.example", account).await;
    let mut unverified = ada(&["adit-operator"]);
    unverified["email_verified"] = Value::Null;
    assert_eq!(word(sign_on.sign_in(unverified).await), "email-taken");
    let user = sign_on.sign_in(ada(&["adit-operator"])).await.unwrap();
    assert_eq!(user.session.signed.id(), account);
    let mut other = ada(&["adit-operator"]);
    other["sub"] = "another".into();
    assert_eq!(word(sign_on.sign_in(other).await), "email-taken", "the link is used up");
}

#[tokio::test]
async fn a_link_that_is_used_by_signing_in_at_the_provider_ends_what_it_ends_by_a_password() {
    let sign_on = SignOn::new().await;
    let (world, party) = (&sign_on.world, &sign_on.party);
    let before = world.user(party, "ada@st-mary.example", UserRole::Operator).await;
    let issued = world.platform.issue_api_token(&before.signed, &people::api_token()).await.unwrap();
    sign_on.insert_invitation("ada@st-mary.example", before.signed.id()).await;
    let now = sign_on.sign_in(ada(&["adit-operator"])).await.unwrap();
    assert_eq!(now.session.signed.id(), before.signed.id());
    assert!(sign_on.is_signed(&now).await);
    assert_eq!(world.stage(&before).await, None);
    assert!(world.platform.bearer(&issued.token).await.unwrap().is_none());
}

#[tokio::test]
async fn an_address_that_the_provider_has_not_verified_makes_nobody_a_user() {
    let sign_on = SignOn::new().await;
    let mut unverified = ada(&["adit-owner"]);
    unverified["email_verified"] = false.into();
    assert_eq!(word(sign_on.sign_in(unverified).await), "email-unverified");
    let mut without = ada(&["adit-owner"]);
    without["email"] = Value::Null;
    assert_eq!(word(sign_on.sign_in(without.clone()).await), "no-email");
    without["preferred_username"] = "ada@st-mary.example".into();
    sign_on.sign_in(without).await.unwrap();
}

#[tokio::test]
async fn with_another_issuer_nobody_stays_who_the_old_one_said() {
    let sign_on = SignOn::new().await;
    sign_on.insert_password_account("bo@st-mary.example").await;
    let first = sign_on.sign_in(ada(&["adit-owner"])).await.unwrap();
    let (platform, owner) = (&sign_on.world.platform, &sign_on.party.initiator);
    let next = StandInProvider::start(platform.now()).await;
    platform.set_identity_provider(owner, &settings(&next.issuer)).await.unwrap();
    assert!(sign_on.log().await.3.ends_with("sessions and API tokens ended: 1"));
    assert!(sign_on.account("248289761001").await.is_none());
    let sign_on = SignOn { provider: next, ..sign_on };
    let mut somebody = ada(&["adit-owner"]);
    somebody["email"] = "eve@st-mary.example".into();
    let other = sign_on.sign_in(somebody).await.unwrap();
    assert_ne!(first.session.signed.id(), other.session.signed.id(), "the same subject at another issuer");
    sign_on.world.platform.remove_identity_provider(&sign_on.party.initiator).await.unwrap();
    assert!(sign_on.account("248289761001").await.is_none());
}

#[tokio::test]
async fn a_provider_that_does_not_answer_as_it_must_is_not_set() {
    let sign_on = SignOn::new().await;
    let (platform, owner) = (&sign_on.world.platform, &sign_on.party.initiator);
    let before = platform.identity_provider(owner).await.unwrap();
    for (lie, why) in [
        (json!({ "issuer": "https://another.example" }), "another issuer"),
        (json!({ "token_endpoint": null }), "lacks `token_endpoint`"),
        (json!({ "jwks_uri": null }), "jwks_uri"),
        (json!({ "response_types_supported": ["id_token"] }), "lacks `response_types_supported: code`"),
        (json!({ "id_token_signing_alg_values_supported": ["HS256", "none"] }), "none of the algorithms"),
        (json!({ "code_challenge_methods_supported": ["plain"] }), "PKCE"),
        (
            json!({ "authorization_endpoint": "javascript:alert(1)" }),
            "`authorization_endpoint` is no https address",
        ),
        (json!({ "token_endpoint": "ftp://id.example/token" }), "`token_endpoint` is no https address"),
        (json!({ "jwks_uri": "https://10.0.0.1/keys" }), "identity_providers"),
        (json!({ "jwks_uri": "https://169.254.169.254/latest/meta-data" }), "identity_providers"),
        (json!({ "jwks_uri": "ftp://id.example/keys" }), "expected an https URL"),
        (json!({ "jwks_uri": "file:///etc/passwd" }), "cannot be read"),
    ] {
        sign_on.provider.lie(|lies| lies.configuration = lie);
        let said = refused(platform.set_identity_provider(owner, &settings(&sign_on.provider.issuer)).await);
        assert!(said.contains(why), "{said:?} says nothing of {why:?}");
    }
    let elsewhere = StandInProvider::start(platform.now()).await;
    sign_on.provider.lie(|lies| {
        lies.configuration = json!({});
        lies.moved_to = Some(format!("{}/.well-known/openid-configuration", elsewhere.issuer));
    });
    let said = refused(platform.set_identity_provider(owner, &settings(&sign_on.provider.issuer)).await);
    assert!(said.contains("status 307"), "{said}");
    assert_eq!(elsewhere.keys_read(), 0, "no redirect is followed");
    sign_on.provider.lie(|lies| lies.is_away = true);
    let said = refused(platform.set_identity_provider(owner, &settings(&sign_on.provider.issuer)).await);
    assert!(said.contains("status 502"), "{said}");
    let said = refused(platform.set_identity_provider(owner, &settings("https://10.0.0.1/")).await);
    assert!(said.contains("identity_providers"), "{said}");
    assert_eq!(platform.identity_provider(owner).await.unwrap(), before);
}

#[tokio::test]
async fn only_an_owner_sets_a_provider_and_others_see_it() {
    let sign_on = SignOn::new().await;
    let platform = &sign_on.world.platform;
    let read = sign_on.provider.keys_read();
    for role in [UserRole::Operator, UserRole::Auditor] {
        let by = member(sign_on.party.id, role);
        assert_eq!(platform.identity_provider(&by).await.unwrap().issuer, sign_on.provider.issuer);
        refused(platform.set_identity_provider(&by, &settings(&sign_on.provider.issuer)).await);
        refused(platform.remove_identity_provider(&by).await);
    }
    assert_eq!(sign_on.provider.keys_read(), read, "nobody is asked for one who may not set it");
    let other = sign_on.world.party("Lakeside", Tier::Standard).await;
    assert_eq!(
        refused(platform.identity_provider(&other.initiator).await),
        "there is no such identity provider"
    );
}

#[tokio::test]
async fn a_client_secret_stays_with_its_issuer_and_client() {
    let sign_on = SignOn::new().await;
    let (platform, owner) = (&sign_on.world.platform, &sign_on.party.initiator);
    let without_secret = |issuer: &str, client: &str| {
        let values = RoleValues { owner: Some("adit-owner".into()), ..RoleValues::default() };
        ProviderSettings::new(issuer.into(), client.into(), None, "roles".into(), values).unwrap()
    };
    let issuer = sign_on.provider.issuer.clone();
    let set = platform.set_identity_provider(owner, &without_secret(&issuer, CLIENT)).await.unwrap();
    assert!(set.has_client_secret);
    sign_on.sign_in(ada(&["adit-owner"])).await.expect("it is still the one that the provider knows");
    sign_on.insert_password_account("bo@st-mary.example").await;
    let set = platform.set_identity_provider(owner, &without_secret(&issuer, "another")).await.unwrap();
    assert!(!set.has_client_secret);
}

#[tokio::test]
async fn an_address_that_nobody_vouches_for_uses_up_no_newcomers_invitation() {
    let sign_on = SignOn::new().await;
    let (platform, owner) = (&sign_on.world.platform, &sign_on.party.initiator);
    let address = people::email("ada@st-mary.example");
    let invited = platform.invite(owner, &address, UserRole::Owner, TokenLife::Day).await.unwrap();
    let mut unverified = ada(&["adit-auditor"]);
    unverified["email_verified"] = Value::Null;
    sign_on.sign_in(unverified).await.unwrap();
    assert_eq!(platform.invitation(owner, invited.id).await.unwrap().status, InvitationStatus::Open);
    sign_on.sign_in(ada(&["adit-auditor"])).await.unwrap();
}

#[tokio::test]
async fn a_link_of_one_user_makes_no_other_its_successor() {
    let sign_on = SignOn::new().await;
    let (platform, owner) = (&sign_on.world.platform, &sign_on.party.initiator);
    let ada_has_it = sign_on.insert_password_account("ada@st-mary.example").await;
    let eve = sign_on.world.user(&sign_on.party, "eve@x.example", UserRole::Operator).await.signed.id();
    sign_on.insert_invitation("ada@st-mary.example", eve).await;
    assert_eq!(word(sign_on.sign_in(ada(&["adit-owner"])).await), "email-taken");
    assert!(platform.user(owner, ada_has_it).await.unwrap().has_password);
}

#[tokio::test]
async fn whoever_has_no_role_at_the_provider_any_more_has_no_password_either() {
    let sign_on = SignOn::new().await;
    let (world, party) = (&sign_on.world, &sign_on.party);
    world.user(party, "boss@x.example", UserRole::Owner).await;
    let account = world.user(party, "ada@st-mary.example", UserRole::Operator).await;
    sign_on.insert_invitation("ada@st-mary.example", account.signed.id()).await;
    sign_on.sign_in(ada(&["adit-operator"])).await.unwrap();
    world.sign_in("St Mary", "ada@st-mary.example", people::PASSWORD, &people::visit()).await.unwrap();
    assert_eq!(word(sign_on.sign_in(ada(&[])).await), "no-role");
    let again = world.sign_in("St Mary", "ada@st-mary.example", people::PASSWORD, &people::visit()).await;
    assert!(refused(again).contains("is wrong"));
}

#[tokio::test]
async fn whoever_is_no_owner_for_it_any_more_keeps_no_owners_password() {
    let sign_on = SignOn::new().await;
    let (world, party) = (&sign_on.world, &sign_on.party);
    let account = world.user(party, "ada@st-mary.example", UserRole::Owner).await.signed.id();
    sign_on.insert_invitation("ada@st-mary.example", account).await;
    sign_on.sign_in(ada(&["adit-owner"])).await.unwrap();
    let mut other = ada(&["adit-owner"]);
    (other["sub"], other["email"]) = ("another".into(), "bo@st-mary.example".into());
    sign_on.sign_in(other).await.expect("an owner without a password");
    assert_eq!(word(sign_on.sign_in(ada(&[])).await), "no-role");
    assert_eq!(world.role_of(party, account).await, UserRole::Auditor);
    let again = world.sign_in("St Mary", "ada@st-mary.example", PASSWORD, &visit()).await;
    assert!(refused(again).contains("is wrong"));
}

#[tokio::test]
async fn the_last_owner_with_a_password_keeps_it_whatever_the_provider_says() {
    let sign_on = SignOn::new().await;
    let (world, party) = (&sign_on.world, &sign_on.party);
    let account = world.user(party, "ada@st-mary.example", UserRole::Owner).await;
    sign_on.insert_invitation("ada@st-mary.example", account.signed.id()).await;
    sign_on.sign_in(ada(&["adit-owner"])).await.unwrap();
    assert_eq!(word(sign_on.sign_in(ada(&[])).await), "no-role");
    world.sign_in("St Mary", "ada@st-mary.example", people::PASSWORD, &people::visit()).await.unwrap();
}

impl SignOn {
    async fn insert_password_account(&self, email: &str) -> adit_core::domain::id::UserId {
        let id = adit_core::domain::id::UserId::from_random([3; 16]);
        let (organization, email, at) = (self.party.id, email.to_owned(), self.world.platform.now());
        let inserted = self.world.platform.record(async move |tx| {
            Ok::<_, PlatformError>(tx.insert_password_account_for_test(id, organization, &email, at).await?)
        });
        inserted.await.unwrap();
        id
    }

    async fn insert_invitation(&self, email: &str, account: adit_core::domain::id::UserId) {
        let (organization, email, at) = (self.party.id, email.to_owned(), self.world.platform.now());
        let inserted = self.world.platform.record(async move |tx| {
            Ok::<_, PlatformError>(tx.insert_invitation_for_test(organization, account, &email, at).await?)
        });
        inserted.await.unwrap();
    }
}
