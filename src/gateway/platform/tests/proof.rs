//! What was true of who asks when a request's head was read, and is not any more when it is done.

use adit_core::domain::limits::USER_SESSION_IDLE;

use super::people::{PASSWORD, password_change, visit};
use super::*;

const ENDED: &str = "what you have shown has ended meanwhile; sign in again, or show another API token";

/// An owner with a browser and a program, and another owner.
struct Asking {
    world: World,
    party: Party,
    session: NewSession,
    bearer: Bearer,
    other: NewSession,
}

impl Asking {
    async fn new() -> Self {
        let world = World::new().await;
        let party = world.party("Lakeside", Tier::Enterprise).await;
        let session = world.user(&party, "a@x.example", UserRole::Owner).await;
        let other = world.user(&party, "b@x.example", UserRole::Owner).await;
        let new = NewApiToken { role: UserRole::Owner, ..people::api_token() };
        let issued = world.platform.issue_api_token(&session.signed, &new).await.unwrap();
        let bearer = world.platform.bearer(&issued.token).await.unwrap().unwrap();
        Self { world, party, session, bearer, other }
    }

    /// Has both do what they were let in for; returns what became of it.
    async fn act(&self) -> [String; 2] {
        let mut ends = Vec::new();
        for by in [self.session.signed.initiator(), self.bearer.initiator.clone()] {
            let done = self.world.platform.add_server(&by, &text("one")).await;
            ends.push(done.map_or_else(|error| error.to_string(), |_| "done".to_owned()));
        }
        let servers = self.world.platform.servers(&self.party.initiator).await.unwrap().len();
        assert_eq!(servers, ends.iter().filter(|end| *end == "done").count());
        ends.try_into().unwrap()
    }
}

#[tokio::test]
async fn an_act_is_done_in_the_role_that_its_user_has_now() {
    let asking = Asking::new().await;
    let (platform, user) = (&asking.world.platform, asking.session.signed.id());
    platform.set_user_role(&asking.other.signed.initiator(), user, UserRole::Auditor).await.unwrap();
    assert_eq!(asking.act().await, ["the role auditor may not change anything"; 2]);
    let (actor, _, outcome, _) = asking.world.last_entry(&asking.party).await;
    assert_eq!([actor.as_str(), &outcome], ["Ada Lovelace <a@x.example> by API token nightly", "refused"]);
}

#[tokio::test]
async fn a_disabled_user_ends_nothing_that_was_begun() {
    let asking = Asking::new().await;
    let (platform, user) = (&asking.world.platform, asking.session.signed.id());
    platform.disable_user(&asking.other.signed.initiator(), user).await.unwrap();
    assert_eq!(asking.act().await, [ENDED; 2]);
}

#[tokio::test]
async fn whoever_signed_out_ends_nothing_that_was_begun() {
    let asking = Asking::new().await;
    asking.world.platform.sign_out(&asking.session.signed).await.unwrap();
    assert_eq!(asking.act().await, [ENDED, "done"]);
}

#[tokio::test]
async fn a_session_that_another_ended_ends_nothing_that_was_begun() {
    let asking = Asking::new().await;
    let elsewhere = asking.world.sign_in("Lakeside", "a@x.example", PASSWORD, &visit()).await.unwrap();
    let change = password_change(PASSWORD, "a good new password");
    asking.world.platform.change_password(&elsewhere.signed, &change, &visit()).await.unwrap();
    assert_eq!(asking.act().await, [ENDED, "done"]);
}

#[tokio::test]
async fn a_revoked_token_ends_nothing_that_was_begun() {
    let asking = Asking::new().await;
    let signed = &asking.session.signed;
    asking.world.platform.revoke_api_token(signed, asking.bearer.token).await.unwrap();
    assert_eq!(asking.act().await, ["done", ENDED]);
}

#[tokio::test]
async fn what_is_over_by_the_clock_ends_nothing_that_was_begun() {
    let asking = Asking::new().await;
    asking.world.pass(USER_SESSION_IDLE);
    assert_eq!(asking.act().await, [ENDED, "done"]);
    asking.world.pass(Duration::from_hours(24));
    let done = asking.world.platform.add_server(&asking.bearer.initiator, &text("two")).await;
    assert_eq!(refused(done), ENDED);
}

#[tokio::test]
async fn one_who_needs_a_second_factor_since_ends_nothing_that_was_begun() {
    let asking = Asking::new().await;
    let (platform, other) = (&asking.world.platform, &asking.other.signed);
    let link = platform.begin_second_factor(other, &people::password(PASSWORD), &visit()).await.unwrap();
    let code = totp_code_of(&link, platform.now());
    let (other, _) = platform.confirm_second_factor(other, &code, &visit()).await.unwrap();
    platform.set_second_factor_rule(&other.signed, true).await.unwrap();
    assert_eq!(asking.act().await, [ENDED; 2]);
}

#[tokio::test]
async fn an_export_goes_no_further_than_its_users_session() {
    let asking = Asking::new().await;
    let (platform, by) = (&asking.world.platform, asking.session.signed.initiator());
    let mut export = platform.export_audit(&by, &AuditFilter::default()).await.unwrap();
    platform.sign_out(&asking.session.signed).await.unwrap();
    assert_eq!(export.next_page(platform).await.unwrap_err().to_string(), ENDED);
}
