//! Admin sessions as both parties' browsers show them.

use std::time::Duration;

use super::browser::Pages;
use super::full::{FULL_PAGE_BYTES_MAX, organization, server};
use crate::platform::{AdminOffer, OfferLife};
use adit_core::domain::access::Access;
use adit_core::domain::id::{ConnectionId, ServerId};
use adit_core::protocol::control::{SessionReport, SessionStage};

/// An admin connection of which both agents tell.
struct Held {
    pages: Pages,
    connection: ConnectionId,
    managing: ServerId,
    managed: ServerId,
}

impl Held {
    async fn new() -> Self {
        let pages = Pages::new().await;
        let (platform, (one, other)) = (pages.platform(), pages.parties());
        let peering = platform.request_peering(&one, organization(&other)).await.unwrap();
        platform.accept_peering(&other, peering).await.unwrap();
        let (managing, managed) =
            (server(platform, &one, "source").await, server(platform, &other, "target").await);
        let (to, life) = (organization(&one), OfferLife::default());
        let offer = AdminOffer { server: managed, to, access: Access::ReadOnly, life };
        let connection = platform.offer_admin(&other, &offer).await.unwrap();
        platform.accept_offer(&one, connection, managing).await.unwrap();
        Self { pages, connection, managing, managed }
    }

    /// Tells of the session of this number, of as many requests.
    async fn tell(&self, server: ServerId, (number, stage): (u8, SessionStage), requests: u64, judged: u64) {
        let session = SessionReport {
            number: number.into(),
            stage: stage.into(),
            local_peer: std::net::Ipv4Addr::new(10, 0, 0, number).into(),
            requests,
            refused: judged,
            changes: judged / 2,
            audits: judged / 4,
        };
        self.pages.platform().admin_session(server, self.connection, &session).await.unwrap();
    }

    async fn both_see(&self, path: &str) -> String {
        let page = self.pages.get(&self.pages.owner(), path).await;
        page.assert_is_ours(path);
        let other = self.pages.get(&self.pages.other_owner(), path).await;
        for page in [&page, &other] {
            assert_eq!(page.status, 200, "{path}: {}", page.text);
        }
        assert_eq!(table(&page.text), table(&other.text), "{path}");
        page.text
    }
}

/// Returns the rows of a page.
fn table(page: &str) -> &str {
    page.split_once("<tbody>")
        .and_then(|(_, rest)| rest.split_once("</tbody>"))
        .map_or("", |(table, _)| table)
}

/// Returns where the last list of a page goes on.
fn next(page: &str) -> String {
    let (before, _) = page.rsplit_once("rel=\"next\"").unwrap();
    let (address, _) = before.rsplit_once("href=\"").unwrap().1.split_once('"').unwrap();
    address.replace("&amp;", "&").replace("&#38;", "&")
}

#[track_caller]
fn assert_says(page: &str, said: &[&str]) {
    for said in said {
        assert!(page.contains(said), "{said}: {page}");
    }
}

#[tokio::test]
async fn a_session_is_a_row_that_says_who_since_when_and_what_became_of_it() {
    let held = Held::new().await;
    let own = format!("/connections/{}", held.connection);
    assert_says(&held.both_see("/admin-sessions").await, &["No session is on file.", "id=\"may-list\""]);
    assert_says(&held.both_see(&own).await, &["No session is on file."]);
    held.tell(held.managing, (1, SessionStage::Started), 0, 0).await;
    held.tell(held.managed, (1, SessionStage::Started), 0, 0).await;
    held.tell(held.managed, (1, SessionStage::Running), 1_240, 12).await;
    let page = held.both_see("/admin-sessions").await;
    assert_eq!(table(&page).matches("<tr>").count(), 1, "{page}");
    assert_says(
        &page,
        &[
            "running</span>",
            "heard <time",
            ">Admin RO<",
            "by <bdi>Lakeside</bdi>",
            "10.0.0.1",
            "data-label=Requests>1\u{202f}240<",
            "data-label=Refused>12<",
            "data-label=Changed>6",
            "3 in Mirth's own audit",
            "data-label=Began>",
            "Times are when the gateway was told.",
            &format!("href=\"{own}\""),
        ],
    );
    held.tell(held.managed, (1, SessionStage::Ended), 1_250, 12).await;
    let page = held.both_see(&own).await;
    assert_says(
        &page,
        &["Latest sessions", ">ended</span>", "1\u{202f}250", "All sessions of this connection"],
    );
}

#[tokio::test]
async fn what_the_managing_side_alone_tells_is_no_row() {
    let held = Held::new().await;
    held.tell(held.managing, (1, SessionStage::Ended), 7, 0).await;
    assert_says(&held.both_see("/admin-sessions").await, &["No session is on file."]);
}

#[tokio::test]
async fn each_list_of_the_page_goes_on_by_itself() {
    let held = Held::new().await;
    for number in 1..=25 {
        held.tell(held.managed, (number, SessionStage::Started), 0, 0).await;
    }
    let first = held.both_see("/admin-sessions?running=true").await;
    let after = next(&first).split_once("&after=").unwrap().1.to_owned();
    // After the last admin connection there is none, and a way back to the first.
    let may_after = hex::encode(format!("connections:made:0:{}", held.connection));
    let page =
        held.both_see(&format!("/admin-sessions?running=true&after={after}&may_after={may_after}")).await;
    let links = page.replace("&amp;", "&").replace("&#38;", "&");
    for kept in [
        format!("href=\"/admin-sessions?running=true&after={after}\""),
        format!("href=\"/admin-sessions?running=true&may_after={may_after}\""),
        format!("href=\"/admin-sessions?may_after={may_after}\""),
    ] {
        assert!(links.contains(&kept), "{kept}: {links}");
    }
}

#[tokio::test]
async fn the_newest_come_first_and_those_that_run_are_looked_at_alone() {
    let held = Held::new().await;
    for number in 1..=2 {
        held.tell(held.managed, (number, SessionStage::Started), 0, 0).await;
        held.pages.pass(Duration::from_secs(61));
    }
    held.tell(held.managed, (2, SessionStage::Ended), 0, 0).await;
    let page = held.both_see("/admin-sessions").await;
    let (running, ended) = (page.find("10.0.0.1").unwrap(), page.find("10.0.0.2").unwrap());
    assert!(ended < running, "{page}");
    let page = held.both_see("/admin-sessions?running=true").await;
    assert!(page.contains("10.0.0.1") && !page.contains("10.0.0.2"), "{page}");
    let page = held.both_see("/admin-sessions?running=false").await;
    assert!(!page.contains("10.0.0.1") && page.contains("10.0.0.2"), "{page}");
    held.pages.pass(Duration::from_mins(15));
    let page = held.both_see("/admin-sessions").await;
    assert_says(&page, &["no word</span>", "last heard <time"]);
}

#[tokio::test]
async fn more_sessions_than_a_page_shows_are_on_the_next_one() {
    let held = Held::new().await;
    for number in 1..=25 {
        held.tell(held.managed, (number, SessionStage::Ended), 1_000_000, 400_000).await;
    }
    let page = held.both_see("/admin-sessions").await;
    assert_eq!(table(&page).matches("<tr>").count(), 20);
    assert!(page.len() <= FULL_PAGE_BYTES_MAX, "{} bytes", page.len());
    let page = held.both_see(&next(&page)).await;
    assert_eq!(table(&page).matches("<tr>").count(), 5, "{page}");
    let of_one = format!("/admin-sessions?connection={}", held.connection);
    let page = held.both_see(&of_one).await;
    assert!(!page.contains("may-list") && page.contains("Sessions of all connections"), "{page}");
    let card = held.both_see(&format!("/connections/{}", held.connection)).await;
    assert_eq!(table(&card).matches("<tr>").count(), 5);
}
