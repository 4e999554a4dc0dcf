//! Lists, page by page: against the slow way to the same answer, with what comes and goes between two pages,
//! and how much a page costs.

mod cost;
mod overview;
mod slowly;

use std::collections::BTreeSet;

use super::*;
use crate::store::fixture::Crowd;
use adit_core::domain::connection::ConnectionType;
use adit_core::domain::page::{Cursor, Page, Paging};
use adit_core::domain::status::Status;

/// Reads a list to its end, a few rows at a time.
async fn to_the_end<T>(
    count: u32,
    page: impl AsyncFn(Paging) -> Result<Page<T>, PlatformError>,
) -> Result<Vec<T>, PlatformError> {
    let mut rows = Vec::new();
    let mut paging = Paging::first(count);
    loop {
        let read = page(paging.clone()).await?;
        rows.extend(read.rows);
        // As a caller outside would send it back.
        let Some(next) = read.next.map(|next| next.to_string()) else { return Ok(rows) };
        paging = paging.after(Some(next.parse::<Cursor>().unwrap()));
    }
}

/// What most tests ask for: everything, over several pages.
impl Platform {
    pub(super) async fn connections(
        &self,
        initiator: &Initiator,
    ) -> Result<Vec<ConnectionView>, PlatformError> {
        let every = ConnectionFilter::default();
        to_the_end(2, async |paging| self.list_connections(initiator, &every, &paging).await).await
    }

    pub(super) async fn grants(&self, initiator: &Initiator) -> Result<Vec<GrantView>, PlatformError> {
        let every = GrantFilter::default();
        to_the_end(2, async |paging| self.list_grants(initiator, &every, &paging).await).await
    }

    pub(super) async fn channels(&self, initiator: &Initiator) -> Result<Vec<ChannelView>, PlatformError> {
        let every = ChannelFilter::default();
        to_the_end(2, async |paging| self.list_channels(initiator, &every, &paging).await).await
    }

    pub(super) async fn servers(&self, initiator: &Initiator) -> Result<Vec<ServerView>, PlatformError> {
        let every = ServerFilter::default();
        to_the_end(2, async |paging| self.list_servers(initiator, &every, &paging).await).await
    }

    pub(super) async fn peerings(&self, initiator: &Initiator) -> Result<Vec<PeeringView>, PlatformError> {
        let every = PeeringFilter::default();
        to_the_end(2, async |paging| self.list_peerings(initiator, &every, &paging).await).await
    }

    pub(super) async fn organizations(
        &self,
        initiator: &Initiator,
    ) -> Result<Vec<OrganizationView>, PlatformError> {
        to_the_end(2, async |paging| self.list_organizations(initiator, &paging).await).await
    }
}

impl World {
    /// A platform with ten connections for each of so many servers.
    async fn crowded(servers: u64) -> (Self, Crowd) {
        let world = Self::new().await;
        let crowd = Crowd::new(&world.platform.store, servers).await;
        (world, crowd)
    }
}

#[tokio::test]
async fn what_is_there_throughout_is_on_exactly_one_page_whatever_else_comes_or_ends() {
    let (world, _) = World::crowded(440).await;
    let platform = &world.platform;
    let party = member(Crowd::organization(3), UserRole::Owner);
    let peer = member(Crowd::organization(4), UserRole::Owner);
    let living = ConnectionFilter::living();
    for viewer in [&host(), &party] {
        let before =
            to_the_end(500, async |paging| platform.list_connections(viewer, &living, &paging).await).await;
        let before: BTreeSet<_> = before.unwrap().into_iter().map(|view| view.id).collect();
        let mut seen = Vec::new();
        let mut ended = BTreeSet::new();
        let mut paging = Paging::first(37);
        let mut turn = 0;
        loop {
            let page = platform.list_connections(viewer, &living, &paging).await.unwrap();
            seen.extend(page.rows.iter().map(|view| view.id));
            // One that this page had and one that a later page would have come to.
            let later = before.iter().find(|id| !seen.contains(id) && !ended.contains(*id)).copied();
            for id in page.rows.first().map(|view| view.id).into_iter().chain(later) {
                let mut tx = platform.store.write().await.unwrap();
                let found = tx.connection(id).await.unwrap().unwrap();
                tx.set_status(&found, Status::Terminated, None, platform.now()).await.unwrap();
                tx.commit().await.unwrap();
                ended.insert(id);
            }
            if turn < 3 {
                offer_one_more(platform, &party, &peer, turn).await;
                turn += 1;
            }
            let Some(next) = page.next else { break };
            paging = paging.after(Some(next));
        }
        let once: BTreeSet<_> = seen.iter().copied().collect();
        assert_eq!(once.len(), seen.len(), "none is there twice");
        let lost: Vec<_> = before.difference(&once).filter(|id| !ended.contains(*id)).collect();
        assert!(lost.is_empty(), "{lost:?}");
        assert!(before.len() > if viewer == &party { 200 } else { 3_000 }, "{}", before.len());
    }
}

/// Makes a channel, a grant on it, and of that a connection.
async fn offer_one_more(platform: &Platform, owner: &Initiator, holder: &Initiator, turn: u32) {
    let (server, source) = (Crowd::server(3 * 20), Crowd::server(4 * 20 + 7));
    let name = format!("new {turn} {}", platform.newest_change().await.unwrap());
    let tier = platform.set_tier(&host(), Crowd::organization(3), Tier::Enterprise).await;
    tier.unwrap();
    let channel = platform.add_channel(owner, &channel(server, &name)).await.unwrap();
    let grant = platform.request_grant(holder, channel, source).await.unwrap();
    platform.approve_grant(owner, grant, None).await.unwrap();
}

/// Says which of all a filter leaves.
type Keeps<'a> = Box<dyn Fn(&ConnectionView) -> bool + 'a>;

#[tokio::test]
async fn filters_leave_what_they_say() {
    let (world, _) = World::crowded(440).await;
    let platform = &world.platform;
    let party = member(Crowd::organization(3), UserRole::Owner);
    for (viewer, own) in [(host(), None), (party, Some(Crowd::organization(3)))] {
        let all = to_the_end(500, async |paging| {
            platform.list_connections(&viewer, &ConnectionFilter::default(), &paging).await
        })
        .await;
        let all = all.unwrap();
        let server = Crowd::server(3 * 20 + 4);
        let other = Crowd::organization(5);
        let at_end =
            |view: &ConnectionView, is: &dyn Fn(&EndView) -> bool| is(&view.source) || is(&view.target);
        let cases: Vec<(ConnectionFilter, Keeps<'_>)> = vec![
            (ConnectionFilter::living(), Box::new(|view| !view.status.is_terminal())),
            (ConnectionFilter::ended(), Box::new(|view| view.status.is_terminal())),
            (
                ConnectionFilter { server: Some(server), ..ConnectionFilter::default() },
                Box::new(move |view| at_end(view, &|end| end.server == Some(server))),
            ),
            (
                ConnectionFilter { organization: Some(other), ..ConnectionFilter::living() },
                Box::new(move |view| {
                    !view.status.is_terminal() && at_end(view, &|end| end.organization_id == other)
                }),
            ),
            (
                ConnectionFilter { kinds: vec![ConnectionType::AdminRo], ..ConnectionFilter::default() },
                Box::new(|view| view.kind == ConnectionType::AdminRo),
            ),
            (
                ConnectionFilter { search: Some("oLd 6".parse().unwrap()), ..ConnectionFilter::default() },
                Box::new(move |view| contains(view, own, "old 6")),
            ),
            (
                ConnectionFilter { search: Some("MIRTH 8".parse().unwrap()), ..ConnectionFilter::default() },
                Box::new(move |view| contains(view, own, "mirth 8")),
            ),
            (
                ConnectionFilter { search: Some("nel 12".parse().unwrap()), ..ConnectionFilter::default() },
                Box::new(move |view| contains(view, own, "nel 12")),
            ),
            (
                ConnectionFilter {
                    search: Some("ospital 1".parse().unwrap()),
                    ..ConnectionFilter::default()
                },
                Box::new(move |view| contains(view, own, "ospital 1")),
            ),
            (
                ConnectionFilter { search: Some("_".parse().unwrap()), ..ConnectionFilter::default() },
                Box::new(|_| false),
            ),
        ];
        for (filter, keeps) in cases {
            let found =
                to_the_end(53, async |paging| platform.list_connections(&viewer, &filter, &paging).await)
                    .await;
            let expected: Vec<_> = all.iter().filter(|view| keeps(view)).cloned().collect();
            assert_eq!(found.unwrap(), expected, "{filter:?}");
            let count = platform.count_connections(&viewer, &filter).await.unwrap();
            assert_eq!(usize::try_from(count).unwrap(), expected.len(), "{filter:?}");
        }
    }
}

/// Returns whether a text is in a name of an end, of the channel, or of a party that is another than who looks.
fn contains(view: &ConnectionView, own: Option<OrganizationId>, text: &str) -> bool {
    let channel = match &view.carried {
        CarriedView::Channel { channel, .. } => channel.to_string(),
        CarriedView::Admin { .. } => String::new(),
    };
    let ends = [&view.source, &view.target];
    let others = ends.into_iter().filter(|end| own != Some(end.organization_id));
    let names = ends.into_iter().map(|end| &end.name).chain(others.map(|end| &end.organization));
    let mut names = names.map(ToString::to_string).chain([channel]);
    names.any(|name| name.to_ascii_lowercase().contains(text))
}

#[tokio::test]
async fn a_cursor_of_another_list_is_an_error_that_says_what_to_do() {
    let pair = Pair::new().await;
    pair.world.channel(&pair.target, pair.target_server, "Lab").await;
    let platform = &pair.world.platform;
    let page = platform.list_channels(&host(), &ChannelFilter::default(), &Paging::first(1)).await.unwrap();
    let paging = Paging::first(1).after(page.next);
    let error = platform.list_connections(&host(), &ConnectionFilter::default(), &paging).await.unwrap_err();
    assert!(matches!(error, PlatformError::Cursor(_)));
    assert!(error.to_string().contains("take the `next` of an earlier page"), "{error}");
}

#[tokio::test]
async fn an_offer_whose_time_is_over_counts_as_expired_before_anybody_wrote_so() {
    let managed = Managed::offered(Access::ReadOnly).await;
    let platform = &managed.world.platform;
    let ended = ConnectionFilter::ended();
    let (living, owner) = (ConnectionFilter::living(), &managed.owner.initiator);
    assert_eq!(platform.count_connections(owner, &ended).await.unwrap(), 0);
    managed.world.pass(Duration::from_hours(24 * 7));
    assert_eq!(platform.count_connections(owner, &living).await.unwrap(), 0);
    assert_eq!(platform.count_connections(owner, &ended).await.unwrap(), 1);
    assert!(platform.list_connections(owner, &living, &Paging::default()).await.unwrap().rows.is_empty());
    let shown = platform.list_connections(owner, &ended, &Paging::default()).await.unwrap();
    assert_eq!(shown.rows[0].status.to_string(), "Expired");
    assert_eq!(managed.world.last_entry(&managed.owner).await.1, "expire offer");
}

#[tokio::test]
async fn the_log_is_looked_through_by_action_outcome_and_time() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let start = platform.now();
    pair.world.pass(Duration::from_secs(60));
    pair.command(&pair.source, ConnectionCommand::Activate).await.unwrap();
    pair.command(&pair.source, ConnectionCommand::Activate).await.unwrap_err();
    let check = async |filter: AuditFilter, expected: &[(&str, &str)]| {
        let found =
            to_the_end(1, async |paging| platform.list_audit(&pair.source.initiator, &filter, &paging).await)
                .await;
        let found = found.unwrap();
        let found: Vec<_> = found.iter().map(|it| (it.action.as_str(), it.outcome.as_str())).collect();
        assert_eq!(found, expected, "{filter:?}");
    };
    let every = AuditFilter::default;
    let activate = "activate connection";
    check(
        AuditFilter { action: Some(activate.into()), ..every() },
        &[(activate, "refused"), (activate, "done")],
    )
    .await;
    check(AuditFilter { outcome: Some(AuditOutcome::Refused), ..every() }, &[(activate, "refused")]).await;
    let from = Some(start.saturating_add(Duration::from_secs(1)));
    check(AuditFilter { from, ..every() }, &[(activate, "refused"), (activate, "done")]).await;
    check(AuditFilter { until: from, action: Some(activate.into()), ..every() }, &[]).await;
    check(AuditFilter { organization: Some(pair.target.id), ..every() }, &[]).await;
}

#[tokio::test]
async fn no_page_or_cursor_tells_a_peer_of_a_channel_that_is_not_published() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let peer = pair.world.party("Hillside", Tier::Enterprise).await;
    pair.world.peers(&peer, &pair.target).await;
    for name in ["Aaa hidden", "Zzz hidden"] {
        let hidden = pair.world.channel(&pair.target, pair.target_server, name).await;
        platform.set_published(&pair.target.initiator, hidden, false).await.unwrap();
    }
    let every = ChannelFilter::default();
    let mut paging = Paging::first(1);
    let mut shown = 0;
    loop {
        let page = platform.list_channels(&peer.initiator, &every, &paging).await.unwrap();
        assert_eq!(page.rows.len(), 1, "an empty page tells that something is hidden");
        shown += 1;
        let Some(next) = page.next else { break };
        let text = String::from_utf8(hex::decode(next.to_string()).unwrap()).unwrap();
        assert!(!text.contains("hidden"), "{text}");
        paging = paging.after(Some(next));
    }
    assert_eq!(shown, 1);
}

#[tokio::test]
async fn the_channels_of_others_are_listed_without_ones_own() {
    let (world, _) = World::crowded(440).await;
    let own = Crowd::organization(3);
    let viewer = member(own, UserRole::Owner);
    let listed = async |others| {
        let filter = ChannelFilter { others, ..ChannelFilter::default() };
        to_the_end(7, async |paging| world.platform.list_channels(&viewer, &filter, &paging).await)
            .await
            .unwrap()
    };
    let (all, others) = (listed(false).await, listed(true).await);
    let expected: Vec<_> = all.iter().filter(|view| view.organization_id != own).cloned().collect();
    assert!(!expected.is_empty() && expected.len() < all.len(), "{} of {}", expected.len(), all.len());
    assert_eq!(others, expected);
}

#[tokio::test]
async fn nothing_tells_whether_anything_is_on_a_server_that_one_may_not_know() {
    let pair = Pair::new().await;
    let peer = pair.world.party("Peer", Tier::Standard).await;
    pair.world.peers(&peer, &pair.target).await;
    for number in 0..3 {
        pair.world.channel(&pair.target, pair.target_server, &format!("C{number}")).await;
    }
    let on = |server| ChannelFilter { server: Some(server), ..ChannelFilter::default() };
    let platform = &pair.world.platform;
    for count in [1, 2, 4] {
        for server in [pair.target_server, ServerId::from_random([9; 16])] {
            let page =
                platform.list_channels(&peer.initiator, &on(server), &Paging::first(count)).await.unwrap();
            assert_eq!((page.rows.len(), page.next), (0, None), "{count} of {server}");
        }
    }
    let page =
        platform.list_channels(&pair.source.initiator, &on(pair.target_server), &Paging::first(3)).await;
    let page = page.unwrap();
    assert!(page.rows.len() == 3 && page.next.is_some(), "a party knows the server");
}
