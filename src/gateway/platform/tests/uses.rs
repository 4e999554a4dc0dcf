//! When sessions and API tokens were used last: nobody waits for it to be written, and nobody is shown or judged
//! otherwise for it.

use adit_core::domain::id::ApiTokenId;
use adit_core::domain::limits::{SESSION_USE_WRITTEN_WITHIN, USER_SESSION_IDLE, USES_WAITING_MAX};
use adit_core::domain::page::Paging;
use adit_core::domain::secret::ApiToken;

use super::faults::CommitFault::LostCommit;
use super::people::{PASSWORD, api_token, visit};
use super::*;
use crate::store::Turn;

const MOMENT: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// One who is signed in and has an API token, and another gateway on the same database.
struct Used {
    world: World,
    other: Platform,
    session: NewSession,
    token: ApiToken,
}

impl Used {
    async fn new() -> Self {
        let world = World::new().await;
        let party = world.party("Lakeside", Tier::Standard).await;
        let session = world.user(&party, "a@x.example", UserRole::Owner).await;
        let issued = world.platform.issue_api_token(&session.signed, &api_token()).await.unwrap();
        let other = world.again().await;
        Self { world, other, session, token: issued.token }
    }

    /// Shows the session and the API token.
    async fn shows(&self) {
        assert!(self.is_signed_in(&self.world.platform).await);
        assert!(self.world.platform.bearer(&self.token).await.unwrap().is_some());
    }

    async fn is_signed_in(&self, platform: &Platform) -> bool {
        platform.signed(&self.session.token).await.unwrap().is_some()
    }

    /// Returns when the session and the API token were used last, as they are listed, and the token as it is shown.
    async fn listed(&self, platform: &Platform) -> (Timestamp, Option<Timestamp>) {
        let signed = &self.session.signed;
        let sessions = platform.list_user_sessions(signed, &Paging::default()).await.unwrap().rows;
        let tokens = platform.list_api_tokens(signed, &Paging::default()).await.unwrap().rows;
        let shown = platform.api_token(signed, tokens[0].id).await.unwrap();
        assert_eq!(shown, tokens[0]);
        (sessions[0].seen_at, shown.used_at)
    }
}

#[tokio::test]
async fn no_request_writes_who_it_is_from() {
    let used = Used::new().await;
    used.world.pass(SESSION_USE_WRITTEN_WITHIN.saturating_sub(MOMENT));
    used.world.platform.faults.fail_commits([LostCommit]);
    used.shows().await;
    assert_eq!(used.world.platform.faults.next_commit(), Some(LostCommit), "nothing was committed");
}

#[tokio::test]
async fn who_asks_is_known_while_another_process_writes() {
    let used = Used::new().await;
    used.world.pass(SECOND * 61);
    let writing = used.other.begin_write(Turn::Beside).await.unwrap();
    used.shows().await;
    drop(writing);
}

#[tokio::test]
async fn the_last_use_is_shown_at_once_here_and_once_it_is_written_elsewhere() {
    let used = Used::new().await;
    let platform = &used.world.platform;
    let signed_in = platform.now();
    used.world.pass(SECOND);
    used.shows().await;
    let now = platform.now();
    assert_eq!(used.listed(platform).await, (now, Some(now)));
    assert_eq!(used.listed(&used.other).await, (signed_in, None));
    platform.flush_uses().await.unwrap();
    assert_eq!(used.listed(&used.other).await, (now, Some(now)));
    used.world.pass(SECOND);
    used.shows().await;
    let later = platform.now();
    assert_eq!(used.listed(platform).await, (later, Some(later)), "each use, and not one a minute");
}

#[tokio::test]
async fn an_orderly_stop_loses_no_use() {
    let used = Used::new().await;
    used.world.pass(SECOND);
    used.shows().await;
    let last = used.world.platform.now();
    used.world.platform.close().await.unwrap();
    assert_eq!(used.listed(&used.other).await, (last, Some(last)));
}

#[tokio::test]
async fn what_cannot_be_written_waits_for_the_database() {
    let used = Used::new().await;
    let mut platform = used.world.again().await;
    platform.act_wait = Duration::ZERO;
    used.world.pass(SECOND);
    platform.bearer(&used.token).await.unwrap().unwrap();
    assert!(used.is_signed_in(&platform).await);
    let last = platform.now();
    platform.faults.set_away(true);
    platform.flush_uses().await.unwrap_err();
    platform.faults.set_away(false);
    assert_eq!(used.listed(&platform).await, (last, Some(last)));
    platform.flush_uses().await.unwrap();
    assert_eq!(used.listed(&used.other).await, (last, Some(last)));
}

#[tokio::test]
async fn a_use_that_is_written_late_replaces_no_later_one() {
    let used = Used::new().await;
    used.world.pass(SECOND);
    used.shows().await;
    used.world.pass(SECOND);
    let last = used.world.platform.now();
    used.other.bearer(&used.token).await.unwrap().unwrap();
    assert!(used.is_signed_in(&used.other).await);
    used.other.flush_uses().await.unwrap();
    used.world.platform.flush_uses().await.unwrap();
    let third = used.world.again().await;
    assert_eq!(used.listed(&third).await, (last, Some(last)));
    assert_eq!(used.listed(&used.world.platform).await, (last, Some(last)));
}

#[tokio::test]
async fn a_session_is_over_exactly_when_nobody_has_used_it_for_so_long() {
    for is_elsewhere in [false, true] {
        let used = Used::new().await;
        for _ in 0..3 {
            used.world.pass(SECOND * 59);
            used.shows().await;
        }
        used.world.platform.flush_uses().await.unwrap();
        let judge = if is_elsewhere { &used.other } else { &used.world.platform };
        let by = used.session.signed.initiator();
        used.world.pass(USER_SESSION_IDLE.saturating_sub(MOMENT));
        assert!(judge.proven_until(&by).await.unwrap().is_some(), "elsewhere: {is_elsewhere}");
        assert_eq!(used.other.sweep_people().await.unwrap(), 0);
        used.world.pass(MOMENT);
        assert_eq!(judge.proven_until(&by).await.unwrap(), None);
        assert!(!used.is_signed_in(judge).await, "elsewhere: {is_elsewhere}");
        assert_eq!(used.other.sweep_people().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_session_that_was_long_unused_is_judged_alike_by_a_gateway_that_died_meanwhile() {
    let used = Used::new().await;
    used.world.pass(USER_SESSION_IDLE.saturating_sub(MOMENT));
    used.shows().await;
    // The gateway is not heard of any more, and has written nothing of what waited.
    used.world.pass(USER_SESSION_IDLE.saturating_sub(MOMENT));
    let by = used.session.signed.initiator();
    assert!(used.other.proven_until(&by).await.unwrap().is_some());
    assert_eq!(used.other.sweep_people().await.unwrap(), 0, "and no gateway deletes it");
    used.world.pass(MOMENT);
    assert_eq!(used.other.proven_until(&by).await.unwrap(), None);
}

#[tokio::test]
async fn a_use_that_waits_brings_no_session_back() {
    let used = Used::new().await;
    let elsewhere = used.world.sign_in("Lakeside", "a@x.example", PASSWORD, &visit()).await.unwrap();
    used.world.pass(SECOND);
    used.shows().await;
    used.other.revoke_user_session(&elsewhere.signed, used.session.signed.session).await.unwrap();
    used.other.revoke_api_token(&elsewhere.signed, used.only_token().await).await.unwrap();
    used.world.platform.flush_uses().await.unwrap();
    for platform in [&used.world.platform, &used.other] {
        assert!(!used.is_signed_in(platform).await);
        assert_eq!(platform.bearer(&used.token).await.unwrap(), None);
        let left = platform.list_user_sessions(&elsewhere.signed, &Paging::default()).await.unwrap().rows;
        assert_eq!(left.iter().map(|it| it.id).collect::<Vec<_>>(), [elsewhere.signed.session]);
    }
}

#[tokio::test]
async fn a_session_that_is_over_is_used_no_more() {
    let used = Used::new().await;
    used.world.pass(USER_SESSION_IDLE);
    assert!(!used.is_signed_in(&used.world.platform).await);
    used.world.platform.flush_uses().await.unwrap();
    assert!(!used.is_signed_in(&used.other).await, "being refused is no use");
    assert_eq!(used.other.sweep_people().await.unwrap(), 1);
}

#[tokio::test]
async fn where_too_much_waits_a_use_is_written_at_once() {
    let used = Used::new().await;
    let platform = &used.world.platform;
    used.world.pass(SECOND);
    for number in 0..USES_WAITING_MAX {
        let mut id = [7; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        platform.note_token_use(ApiTokenId::from_random(id), platform.now()).await.unwrap();
    }
    used.shows().await;
    let now = platform.now();
    assert_eq!(used.listed(&used.other).await, (now, Some(now)));
    platform.flush_uses().await.unwrap();
    used.world.pass(SECOND);
    used.shows().await;
    assert_eq!(used.listed(&used.other).await, (now, Some(now)), "there is room again");
}

impl Used {
    async fn only_token(&self) -> ApiTokenId {
        let tokens = self.other.list_api_tokens(&self.session.signed, &Paging::default()).await.unwrap();
        tokens.rows[0].id
    }
}
