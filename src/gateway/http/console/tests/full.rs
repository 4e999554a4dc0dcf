//! Pages with as many rows as they show, each with the longest names and figures of a whole hour.

use std::time::Duration;

use super::browser::{Browser, Pages};
use crate::platform::{ConnectionCommand, Initiator, NewChannel, Platform, ServerText, TokenLife};
use adit_core::domain::connection::{Protocol, Side};
use adit_core::domain::id::{ConnectionId, GatewayId, ServerId};
use adit_core::domain::measurement::{Figure, Span, Sums};
use adit_core::domain::path::PathKind;
use adit_core::domain::role::UserRole;
use adit_core::protocol::control::Report;

/// Connections of which most are connected.
pub(super) struct Full {
    pub(super) connections: Vec<ConnectionId>,
    /// Their source and target.
    pub(super) servers: [ServerId; 2],
}

/// Makes `count` connections between two organizations, of which the first `connected` are connected.
pub(super) async fn fill(pages: &Pages, count: usize, connected: usize) -> Full {
    let platform = pages.platform();
    let (one, other) = pages.parties();
    let peering = platform.request_peering(&one, organization(&other)).await.unwrap();
    platform.accept_peering(&other, peering).await.unwrap();
    let (source, target) = (server(platform, &one, "source").await, server(platform, &other, "target").await);
    let gateway = GatewayId::from_bytes([7; 8]);
    platform.renew_lease(gateway).await.unwrap();
    for server in [source, target] {
        platform.linked_by(gateway, server, "0.1.0".into());
    }
    platform.flush_reports().await.unwrap();
    let mut connections = Vec::with_capacity(count);
    for number in 0..count {
        let id = connect(platform, (&one, source), (&other, target), number).await;
        if number < connected {
            tell(platform, (source, target), id, number).await;
        }
        connections.push(id);
    }
    platform.flush_reports().await.unwrap();
    platform.keep_measurements().await.unwrap();
    Full { connections, servers: [source, target] }
}

pub(super) fn organization(member: &Initiator) -> adit_core::domain::id::OrganizationId {
    let Initiator::Member { organization, .. } = member else { panic!("a member") };
    *organization
}

/// Returns a name of as many characters as one may have.
fn long(what: &str, number: usize) -> String {
    let name = format!("{what} {number} ");
    format!("{name}{}", "of the department of radiology and nuclear medicine, main building, second floor")
        .chars()
        .take(80)
        .collect::<String>()
        .trim_end()
        .to_owned()
}

pub(super) async fn server(platform: &Platform, by: &Initiator, name: &str) -> ServerId {
    let text = ServerText {
        name: long(name, 1).parse().unwrap(),
        description: "".parse().unwrap(),
        version: "4.5.2".parse().unwrap(),
    };
    platform.add_server(by, &text).await.unwrap()
}

async fn connect(
    platform: &Platform,
    (one, source): (&Initiator, ServerId),
    (other, target): (&Initiator, ServerId),
    number: usize,
) -> ConnectionId {
    let new = NewChannel {
        server: target,
        name: long("channel", number).parse().unwrap(),
        description: long("orders and results", number).parse().unwrap(),
        protocol: Protocol::Mllp,
        published: true,
    };
    let channel = platform.add_channel(other, &new).await.unwrap();
    let grant = platform.request_grant(one, channel, source).await.unwrap();
    let id = platform.approve_grant(other, grant, None).await.unwrap();
    platform.command(one, id, ConnectionCommand::Activate).await.unwrap();
    id
}

/// Tells that a connection is up, and of messages in each minute of the last hour.
async fn tell(platform: &Platform, (source, target): (ServerId, ServerId), id: ConnectionId, number: usize) {
    let now = platform.now();
    for (server, mirth) in [(source, None), (target, Some(true))] {
        let report = Report { tunnel: Some(PathKind::Relay.into()), mirth, last_ack: Some(now), fault: None };
        platform.report(server, id, &report, now).await.unwrap();
    }
    for minute in 1..=60_u64 {
        let at = Span::Minute.begin(now).saturating_sub(Duration::from_mins(minute));
        let mut sums = Sums::default();
        sums.add(Figure::Messages, (minute * minute * 7 + number as u64) % 101);
        platform.take_measured(source, (id, Side::Source), at, sums).unwrap();
    }
}

impl Pages {
    /// Returns the two organizations by an owner each.
    pub(super) fn parties(&self) -> (Initiator, Initiator) {
        let [one, other] = self.organizations().map(|organization| Initiator::Member {
            organization,
            role: UserRole::Owner,
            name: "owner".into(),
            proof: None,
        });
        (one, other)
    }
}

/// What a full page may weigh, and with all that a first visit brings.
pub(super) const FULL_PAGE_BYTES_MAX: usize = 22 * 1024;
const FULL_FIRST_LOAD_BYTES_MAX: usize = 60 * 1024;

#[tokio::test]
async fn a_page_of_full_rows_is_as_light_as_rows_can_be() {
    let pages = Pages::new().await;
    let full = fill(&pages, 100, 100).await;
    let owner = pages.other_owner();
    let assets = pages.assets_bytes(&owner).await;
    let detail = format!("/connections/{}", full.connections[0]);
    for path in ["/", "/connections", "/channels", "/grants", "/audit", &detail] {
        let page = pages.get(&owner, path).await;
        assert_eq!(page.status, 200, "{path}");
        let bytes = page.text.len();
        println!("{path}: {bytes} bytes, {} at a first visit", bytes + assets);
        assert!(bytes <= FULL_PAGE_BYTES_MAX, "{path}: {bytes} bytes");
        assert!(bytes + assets <= FULL_FIRST_LOAD_BYTES_MAX, "{path}: {} bytes", bytes + assets);
    }
    let page = pages.get(&owner, "/connections").await;
    assert_eq!(page.text.matches("<tr>").count(), 16, "{}", page.text);
}

#[tokio::test]
async fn an_overview_tells_what_is_broken_behind_a_hundred_that_are_not() {
    let pages = Pages::new().await;
    let full = fill(&pages, 120, 108).await;
    let owner = pages.owner();
    let page = pages.get(&owner, "/").await.text;
    assert!(page.contains("108 of 120 active connections are connected"), "{page}");
    assert!(page.contains(">8 more<") && page.contains(">All 12<"), "{page}");
    assert_eq!(page.matches(">Broken<").count(), 5, "{page}");
    let diagnosed = |id: &&ConnectionId| page.contains(&format!("/connections/{id}/diagnose"));
    assert_eq!(full.connections[108..].iter().filter(diagnosed).count(), 4, "{page}");
    assert_eq!(full.connections[..108].iter().find(diagnosed), None, "{page}");
    let all = pages.link(&owner, "/", "connectivity=Disconnected%2CNever+connected").await;
    let page = pages.get(&owner, &all.replace("&amp;", "&").replace("&#38;", "&")).await.text;
    for id in &full.connections {
        let is_broken = full.connections[108..].contains(id);
        assert_eq!(page.contains(&format!("\"/connections/{id}\"")), is_broken, "{page}");
    }
    assert!(page.contains("<option value=\"Disconnected,Never connected\" selected>"), "{page}");
    let connected = pages.get(&owner, "/connections?connectivity=Connected").await.text;
    assert_eq!(connected.matches("<tr>").count(), 16);
}

#[tokio::test]
async fn a_server_with_more_connections_than_its_page_shows_leads_to_all_of_them() {
    let pages = Pages::new().await;
    let full = fill(&pages, 30, 0).await;
    let owner = pages.owner();
    let all = pages
        .link(
            &owner,
            &format!("/servers/{}", full.servers[0]),
            &format!("/connections?server={}", full.servers[0]),
        )
        .await;
    let page = pages.get(&owner, &all).await.text;
    assert_eq!(page.matches("<tr>").count(), 16, "{page}");
    let kept = format!("name=\"server\" value=\"{}\"", full.servers[0]);
    assert!(page.contains(&kept) && page.contains(">Clear<"), "{page}");
    let none = pages.get(&owner, "/connections?server=00000000-0000-4000-8000-000000000000").await.text;
    assert!(none.contains("No connection fits."), "{none}");
}

#[tokio::test]
async fn what_ends_soon_needs_its_owner() {
    let pages = Pages::new().await;
    let (one, _) = pages.parties();
    let platform = pages.platform();
    let server = server(platform, &one, "source").await;
    platform.issue_token(&one, server, TokenLife::Hour).await.unwrap();
    let email = "newcomer@lakeside.example".parse().unwrap();
    platform.invite(&one, &email, UserRole::Auditor, TokenLife::Hour).await.unwrap();
    let page = pages.get(&pages.owner(), "/").await.text;
    for said in ["nobody has enrolled by it", "newcomer@lakeside.example", ">Connector<", ">Invitation<"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    let page = pages.get(&pages.other_owner(), "/").await.text;
    assert!(!page.contains(">Connector<") && !page.contains("newcomer@"), "{page}");
    let listed = pages.get(&pages.owner(), "/servers?ending=connector").await.text;
    assert!(listed.contains(&format!("/servers/{server}")), "{listed}");
    let listed = pages.get(&pages.owner(), "/servers?ending=certificate").await.text;
    assert!(!listed.contains(&format!("/servers/{server}")) && listed.contains("There is none."), "{listed}");
}

impl Pages {
    /// Returns what a first visit brings beside the page.
    async fn assets_bytes(&self, browser: &Browser) -> usize {
        let mut bytes = 0;
        for asset in self.get(browser, "/").await.assets() {
            bytes += self.get(&Browser::default(), &asset).await.text.len();
        }
        bytes
    }
}
