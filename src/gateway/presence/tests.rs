use super::*;

const SERVER: ServerId = ServerId::from_bytes([1; 16]);
const PEER: ServerId = ServerId::from_bytes([2; 16]);
const OTHER: ServerId = ServerId::from_bytes([3; 16]);

fn address(port: u16) -> Vec<SocketAddr> {
    vec![([127, 0, 0, 1], port).into()]
}

/// A link, and what it is told.
struct Link {
    guard: PresenceGuard,
    inbox: Arc<LinkInbox>,
}

impl Link {
    fn new(presence: &Arc<AgentPresence>, server: ServerId, watches: &[ServerId]) -> Self {
        let inbox = Arc::new(LinkInbox::default());
        let guard = presence.join(server, Arc::clone(&inbox));
        guard.watch(watches.iter().copied().collect());
        Self { guard, inbox }
    }

    /// Takes whose presence it was told of.
    fn told(&self) -> Vec<ServerId> {
        self.inbox.take().peers.into_iter().collect()
    }
}

#[tokio::test]
async fn a_newer_link_replaces_the_older_whose_end_then_changes_nothing() {
    let presence = Arc::new(AgentPresence::default());
    let mut older = Link::new(&presence, SERVER, &[PEER]);
    older.guard.set_addresses(address(1));
    let newer = Link::new(&presence, SERVER, &[]);
    older.guard.replaced().await;
    assert_eq!(presence.addresses(SERVER, PEER), []);

    newer.guard.set_addresses(address(2));
    older.guard.set_addresses(address(1));
    older.guard.watch([PEER].into());
    assert!(!older.guard.leave());
    assert_eq!(presence.addresses(SERVER, PEER), address(2));
    assert!(newer.guard.leave());
    assert!(!presence.is_present(SERVER));
    assert!(presence.links.lock().watchers.is_empty(), "nobody watches any more");
}

#[test]
fn who_a_server_hides_from_is_not_told_where_it_is() {
    let presence = Arc::new(AgentPresence::default());
    let [peer, other] = [PEER, OTHER].map(|server| Link::new(&presence, server, &[SERVER]));
    let Link { guard, .. } = Link::new(&presence, SERVER, &[]);
    guard.hide_from([PEER].into());
    guard.set_addresses(address(1));
    assert_eq!(presence.addresses(SERVER, PEER), []);
    assert_eq!(presence.addresses(SERVER, OTHER), address(1));
    let _ = (peer.told(), other.told());
    guard.hide_from(BTreeSet::new());
    assert_eq!((peer.told(), other.told()), (vec![SERVER], vec![]), "only whom it concerns");
    assert_eq!(presence.addresses(SERVER, PEER), address(1));
}

#[test]
fn what_an_owner_allows_is_told_to_whom_it_concerns_while_its_agent_is_there() {
    let presence = Arc::new(AgentPresence::default());
    let [peer, other] = [PEER, OTHER].map(|server| Link::new(&presence, server, &[SERVER]));
    assert_eq!(presence.allowed(SERVER, PEER), None);
    let Link { guard, .. } = Link::new(&presence, SERVER, &[]);
    assert_eq!(presence.allowed(SERVER, PEER), Some(vec![]));
    let _ = (peer.told(), other.told());
    let tcp = vec![Word::Known(PathKind::Tcp)];
    for told in [vec![SERVER], vec![]] {
        guard.allow([(PEER, tcp.clone())].into());
        assert_eq!((peer.told(), other.told()), (told, vec![]));
    }
    assert_eq!(presence.allowed(SERVER, PEER), Some(tcp));
    assert_eq!(presence.allowed(SERVER, OTHER), Some(vec![]));
    drop(guard);
    assert_eq!(presence.allowed(SERVER, PEER), None);
}

#[test]
fn whatever_a_server_says_wakes_those_who_watch_it() {
    let presence = Arc::new(AgentPresence::default());
    let peer = Link::new(&presence, PEER, &[SERVER]);
    let other = Link::new(&presence, OTHER, &[PEER]);
    other.told();
    let server = Link::new(&presence, SERVER, &[]);
    assert_eq!(peer.told(), [SERVER], "it comes");
    for (port, told) in [(1, vec![SERVER]), (1, vec![]), (2, vec![SERVER])] {
        server.guard.set_addresses(address(port));
        assert_eq!(peer.told(), told, "port {port}");
    }
    drop(server);
    assert_eq!(peer.told(), [SERVER], "it goes");
    assert_eq!(other.told(), [], "nothing of it is its business");
}

#[test]
fn who_has_other_peers_is_told_of_those_from_then_on() {
    let presence = Arc::new(AgentPresence::default());
    let link = Link::new(&presence, SERVER, &[PEER]);
    let [peer, other] = [PEER, OTHER].map(|server| Link::new(&presence, server, &[]));
    assert_eq!(link.told(), [PEER]);
    link.guard.watch([OTHER].into());
    peer.guard.set_addresses(address(1));
    other.guard.set_addresses(address(2));
    assert_eq!(link.told(), [OTHER]);
    let watchers: Vec<_> = presence.links.lock().watchers.keys().copied().collect();
    assert_eq!(watchers, [OTHER]);
}

#[tokio::test]
async fn one_of_ten_thousand_wakes_its_peers_alone() {
    let presence = Arc::new(AgentPresence::default());
    let id = |number: usize| ServerId::from_random((number as u128).to_be_bytes());
    // A ring: each has two peers.
    let count = CONTROL_LINKS_MAX;
    let links: Vec<_> = (0..count)
        .map(|number| {
            Link::new(&presence, id(number), &[id((number + 1) % count), id((number + count - 1) % count)])
        })
        .collect();
    assert!(!presence.has_room_for(id(count)));
    for link in &links {
        link.told();
    }
    links[7].guard.set_addresses(address(1));
    let told: Vec<_> =
        links.iter().map(Link::told).enumerate().filter(|(_, told)| !told.is_empty()).collect();
    assert_eq!(told, [(6, vec![id(7)]), (8, vec![id(7)])]);
}
