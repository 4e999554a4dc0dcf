//! The second factor: set up, asked for, lost.

use adit_core::domain::limits::USER_SESSIONS_MAX;
use adit_core::domain::secret::Code;

use super::people::{PASSWORD, password, visit};
use super::*;
use crate::platform::second_factor::tests::code_of;

/// A user with a second factor.
struct Ada {
    world: World,
    party: Party,
    session: NewSession,
    link: adit_core::domain::secret::SecretLink,
    codes: Vec<Code>,
}

const STEP: Duration = Duration::from_secs(30);

impl Ada {
    async fn new() -> Self {
        let world = World::new().await;
        let party = world.party("Lakeside", Tier::Free).await;
        let first = world.user(&party, "a@x.example", UserRole::Owner).await;
        let link =
            world.platform.begin_second_factor(&first.signed, &password(PASSWORD), &visit()).await.unwrap();
        let code = code_of(&link, world.platform.now());
        let (session, codes) =
            world.platform.confirm_second_factor(&first.signed, &code, &visit()).await.unwrap();
        assert_eq!(world.stage(&first).await, None, "rights were raised: the session is another");
        Self { world, party, session, link, codes: codes.0 }
    }

    async fn half(&self) -> NewSession {
        self.world.sign_in("Lakeside", "a@x.example", PASSWORD, &visit()).await.unwrap()
    }

    fn code(&self) -> Code {
        code_of(&self.link, self.world.platform.now())
    }

    async fn show(&self, half: &NewSession, code: &Code) -> Result<NewSession, PlatformError> {
        self.world.platform.show_second_factor(&half.signed, code, &visit()).await
    }
}

#[tokio::test]
async fn a_code_is_asked_for_after_the_password_and_counts_once() {
    let ada = Ada::new().await;
    let link = ada.link.expose();
    assert!(link.starts_with("otpauth://totp/") && link.contains("Lakeside:a%40x"), "{link}");
    let half = ada.half().await;
    assert_eq!((half.signed.stage, half.device.is_none()), (SignInStage::SecondFactor, true));
    let replayed = ada.show(&half, &ada.code()).await;
    assert!(refused(replayed).contains("was used before"), "the code of the set-up counts no more");
    ada.world.pass(STEP);
    let code = ada.code();
    let whole = ada.show(&half, &code).await.unwrap();
    assert_eq!(ada.world.stage(&whole).await, Some(SignInStage::Whole));
    assert_eq!(ada.world.stage(&half).await, None, "the half session's token is not taken over");
    let again = ada.half().await;
    assert!(refused(ada.show(&again, &code).await).contains("was used before"));
    let log = ada.world.platform.audit(&ada.party.initiator, 20).await.unwrap();
    let refusals: Vec<_> = log.iter().filter(|entry| entry.outcome == "refused").collect();
    assert_eq!((refusals.len(), refusals[0].times), (1, 2), "one row that counts");
}

#[tokio::test]
async fn whoever_knows_only_the_password_ends_no_session() {
    let ada = Ada::new().await;
    for _ in 0..=USER_SESSIONS_MAX {
        ada.half().await;
    }
    assert_eq!(ada.world.stage(&ada.session).await, Some(SignInStage::Whole));
}

#[tokio::test]
async fn a_half_session_changes_nothing_of_the_account() {
    let ada = Ada::new().await;
    let half = ada.half().await;
    ada.world.pass(STEP);
    let platform = &ada.world.platform;
    assert!(platform.begin_second_factor(&half.signed, &password(PASSWORD), &visit()).await.is_err());
    assert!(platform.remove_second_factor(&half.signed, &ada.code(), &visit()).await.is_err());
    assert!(platform.confirm_second_factor(&half.signed, &ada.code(), &visit()).await.is_err());
    ada.world.pass(Duration::from_mins(10));
    assert_eq!(ada.world.stage(&half).await, None, "it lives shortly");
}

#[tokio::test]
async fn each_recovery_code_counts_once() {
    let ada = Ada::new().await;
    let half = ada.half().await;
    let whole = ada.show(&half, &ada.codes[0]).await.unwrap();
    assert_eq!(ada.world.platform.recovery_codes_left(&whole.signed).await.unwrap(), 9);
    let half = ada.half().await;
    assert!(refused(ada.show(&half, &ada.codes[0]).await).contains("was used before"));
    let renewed =
        ada.world.platform.renew_recovery_codes(&whole.signed, &ada.codes[1], &visit()).await.unwrap();
    assert!(ada.show(&half, &ada.codes[2]).await.is_err(), "the old ones are void");
    ada.show(&half, &renewed.0[0]).await.unwrap();
}

#[tokio::test]
async fn codes_are_guessed_a_few_times_only() {
    let ada = Ada::new().await;
    let half = ada.half().await;
    let mut refusals = Vec::new();
    for number in 0..30 {
        refusals.push(refused(ada.show(&half, &Code::new(format!("{number:06}"))).await));
    }
    assert!(refusals[29].contains("too many attempts"), "{}", refusals[29]);
    assert!(refusals.iter().filter(|it| it.contains("code is wrong")).count() <= 11);
}

#[tokio::test]
async fn an_organization_that_needs_a_second_factor_lets_users_do_nothing_before() {
    let ada = Ada::new().await;
    let platform = &ada.world.platform;
    let eve = ada.world.user(&ada.party, "e@x.example", UserRole::Owner).await;
    let early = platform.set_second_factor_rule(&eve.signed, true).await;
    assert!(refused(early).contains("your own second factor first"));
    platform.set_second_factor_rule(&ada.session.signed, true).await.unwrap();
    assert_eq!(ada.world.stage(&eve).await, Some(SignInStage::SetUp), "within a running session");
    ada.world.pass(STEP);
    let removed = platform.remove_second_factor(&ada.session.signed, &ada.code(), &visit()).await;
    assert!(refused(removed).contains("needs a second factor"));
    let signed = platform.signed(&eve.token).await.unwrap().unwrap();
    let link = platform.begin_second_factor(&signed, &password(PASSWORD), &visit()).await.unwrap();
    let code = code_of(&link, platform.now());
    let (whole, _) = platform.confirm_second_factor(&signed, &code, &visit()).await.unwrap();
    assert_eq!(ada.world.stage(&whole).await, Some(SignInStage::Whole));
    platform.set_second_factor_rule(&ada.session.signed, false).await.unwrap();
    platform.remove_second_factor(&ada.session.signed, &ada.codes[3], &visit()).await.unwrap();
    assert_eq!(ada.half().await.signed.stage, SignInStage::Whole);
}

#[tokio::test]
async fn a_sign_in_link_is_rid_of_a_lost_second_factor() {
    let ada = Ada::new().await;
    let id = ada.session.signed.id();
    let link = ada.world.platform.renew_sign_in(&ada.party.initiator, id, TokenLife::Hour).await.unwrap();
    let accepted = super::people::acceptance(link.token);
    let renewed = ada.world.platform.accept_invitation(&accepted, &visit()).await.unwrap();
    assert!(!renewed.signed.user.has_second_factor);
    assert_eq!(ada.half().await.signed.stage, SignInStage::Whole);
}

#[tokio::test]
async fn neither_seed_nor_codes_are_in_the_database() {
    let ada = Ada::new().await;
    let (_, rest) = ada.link.expose().split_once("secret=").unwrap();
    let base32 = rest.split('&').next().unwrap().to_owned();
    let seed = totp_rs::Secret::try_from_base32(&base32).unwrap();
    let dump = ada.world.place.contents().await;
    let hex = hex::encode(seed.as_ref());
    let mut secrets = vec![base32.as_bytes(), seed.as_ref(), hex.as_bytes()];
    secrets.extend(ada.codes.iter().map(|code| code.expose().as_bytes()));
    for secret in secrets {
        assert!(!dump.windows(secret.len()).any(|window| window == secret));
    }
    assert!(!format!("{:?} {:?} {:?}", ada.link, ada.codes, ada.session).contains(&base32));
}

#[tokio::test]
async fn a_second_factor_is_set_up_by_who_shows_the_password_again() {
    let world = World::new().await;
    let party = world.party("Lakeside", Tier::Free).await;
    let ada = world.user(&party, "a@x.example", UserRole::Owner).await;
    let begin =
        async |text: &str| world.platform.begin_second_factor(&ada.signed, &password(text), &visit()).await;
    assert!(refused(begin("wrong horse battery").await).contains("is wrong"));
    let mut refusals = 0;
    while !refused(begin("wrong horse battery").await).contains("too many attempts") {
        refusals += 1;
    }
    assert!(refusals <= 20, "{refusals}");
    world
        .sign_in("Lakeside", "a@x.example", PASSWORD, &people::visit_from([192, 0, 2, 9].into(), ada.device))
        .await
        .unwrap();
}
