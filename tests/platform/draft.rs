//! Sequences as proptest draws them: numbers without meaning, which become steps by what the model has at that moment.
//! Most steps are made to fit (the right party, an object that waits for it), or nothing would ever come about.

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};

use crate::model::{Connection, Kind, Model};
use crate::outcome::Status;
use crate::step::{Asker, Decision, Event, GrantEnd, NOBODY, Order, Report, Step, Wish};
use adit_core::domain::connection::Side;
use adit_core::domain::role::UserRole;
use adit_core::domain::tier::Tier;

/// Organizations that there may be.
const ORGANIZATIONS: std::ops::RangeInclusive<usize> = 2..=5;
const EVENTS: std::ops::RangeInclusive<usize> = 8..=26;
const HOUR: u32 = 3_600;
const DAY: u32 = 24 * HOUR;

/// A sequence.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) tiers: Vec<Tier>,
    /// How much is there before the drawn events begin.
    pub(crate) foundation: u8,
    pub(crate) events: Vec<Drawn>,
}

/// An event that means nothing yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drawn {
    kind: Drawing,
    after_seconds: u32,
    who: u8,
    pub(crate) one: u16,
    other: u16,
    third: u16,
}

#[derive(Debug, Clone, Copy)]
enum Drawing {
    Order,
    Peering,
    DecidePeering,
    OfferGrant,
    RequestGrant,
    ApproveGrant,
    EndGrant,
    OfferAdmin,
    AcceptOffer,
    EndOffer,
    ViewSecret,
    RotateSecret,
    Token,
    Redeem,
    Judge,
    Authorize,
    Linked,
    Tunnel,
    Fetch,
    Stored,
    Mismatch,
    RefusedPeer,
    Session,
    Tier,
    AddServer,
    DescribeServer,
    RevokeServer,
    AddChannel,
    Publish,
    AddOrganization,
    Sweep,
}

impl Drawing {
    const fn needs_connection(self) -> bool {
        matches!(
            self,
            Self::Order
                | Self::AcceptOffer
                | Self::EndOffer
                | Self::ViewSecret
                | Self::RotateSecret
                | Self::Tunnel
                | Self::Fetch
                | Self::Stored
                | Self::Mismatch
                | Self::RefusedPeer
                | Self::Session
        )
    }

    const fn needs_server(self) -> bool {
        matches!(
            self,
            Self::AddChannel
                | Self::OfferAdmin
                | Self::Token
                | Self::DescribeServer
                | Self::RevokeServer
                | Self::Authorize
                | Self::Linked
        )
    }
}

/// How often each is drawn where nothing is preferred.
const WEIGHTS: [(u32, Drawing); 31] = [
    (20, Drawing::Order),
    (5, Drawing::Peering),
    (5, Drawing::DecidePeering),
    (6, Drawing::OfferGrant),
    (7, Drawing::RequestGrant),
    (9, Drawing::ApproveGrant),
    (4, Drawing::EndGrant),
    (8, Drawing::OfferAdmin),
    (8, Drawing::AcceptOffer),
    (3, Drawing::EndOffer),
    (10, Drawing::ViewSecret),
    (3, Drawing::RotateSecret),
    (6, Drawing::Token),
    (7, Drawing::Redeem),
    (2, Drawing::Judge),
    (3, Drawing::Authorize),
    (5, Drawing::Linked),
    (6, Drawing::Tunnel),
    (7, Drawing::Fetch),
    (7, Drawing::Stored),
    (3, Drawing::Mismatch),
    (2, Drawing::RefusedPeer),
    (2, Drawing::Session),
    (6, Drawing::Tier),
    (5, Drawing::AddServer),
    (2, Drawing::DescribeServer),
    (2, Drawing::RevokeServer),
    (7, Drawing::AddChannel),
    (3, Drawing::Publish),
    (1, Drawing::AddOrganization),
    (2, Drawing::Sweep),
];

/// What most events of a sequence are about; then they are about few objects too.
const THEMES: [&[(u32, Drawing)]; 6] = [
    &[],
    &[
        (60, Drawing::Order),
        (10, Drawing::Mismatch),
        (20, Drawing::AcceptOffer),
        (15, Drawing::EndOffer),
        (15, Drawing::OfferAdmin),
    ],
    &[
        (90, Drawing::ViewSecret),
        (15, Drawing::RotateSecret),
        (20, Drawing::Fetch),
        (50, Drawing::Stored),
        (10, Drawing::Sweep),
    ],
    &[
        (50, Drawing::Token),
        (70, Drawing::Redeem),
        (20, Drawing::RevokeServer),
        (15, Drawing::Authorize),
        (10, Drawing::Judge),
    ],
    &[(60, Drawing::Tier), (60, Drawing::Order), (20, Drawing::AcceptOffer), (20, Drawing::OfferAdmin)],
    &[
        (50, Drawing::Peering),
        (60, Drawing::DecidePeering),
        (90, Drawing::AddChannel),
        (20, Drawing::AddServer),
    ],
];

const GROWTH: usize = THEMES.len() - 1;

fn kinds(theme: usize) -> Vec<Drawing> {
    let weights = WEIGHTS.iter().chain(THEMES[theme]);
    weights.flat_map(|(weight, kind)| (0..*weight).map(|_| *kind)).collect()
}

pub(crate) fn drafts() -> impl Strategy<Value = Draft> {
    let foundation = prop_oneof![1 => Just(0_u8), 2 => Just(1), 2 => Just(2), 2 => Just(3), 3 => Just(4)];
    let themed =
        (0..THEMES.len()).prop_flat_map(|theme| (tiers(theme), prop::collection::vec(event(theme), EVENTS)));
    (themed, foundation).prop_map(|((tiers, events), foundation)| {
        let events =
            events.into_iter().flat_map(|(drawn, times)| (0..times).map(move |time| drawn.again(time)));
        Draft { tiers, foundation, events: events.collect() }
    })
}

/// Draws organizations; where the theme is growth, as many as one of the lowest tier may not have for peers.
fn tiers(theme: usize) -> impl Strategy<Value = Vec<Tier>> {
    let tier = prop_oneof![5 => Just(Tier::Standard), 3 => Just(Tier::Free), 2 => Just(Tier::Enterprise)];
    let grows = theme == GROWTH;
    let count = if grows { *ORGANIZATIONS.end()..=*ORGANIZATIONS.end() } else { ORGANIZATIONS };
    prop::collection::vec(tier, count).prop_map(move |mut tiers| {
        if grows {
            tiers[0] = Tier::Free;
        }
        tiers
    })
}

/// Draws an event, and how often it comes in a row.
fn event(theme: usize) -> impl Strategy<Value = (Drawn, u16)> {
    let after_seconds = prop_oneof![
        60 => Just(1_u32),
        8 => 2_u32..60,
        6 => 60_u32..1_800,
        5 => 1_800_u32..2 * HOUR,
        3 => 2 * HOUR..DAY,
        2 => DAY..4 * DAY,
        1 => 4 * DAY..9 * DAY,
    ];
    let numbers = (any::<u8>(), any::<u16>(), any::<u16>(), any::<u16>());
    let drawn = (prop::sample::select(kinds(theme)), after_seconds, numbers).prop_map(
        move |(kind, after_seconds, (who, one, other, third))| {
            // Where there is a theme, the first two of what fits are chosen alone.
            let one = if theme == 0 { one } else { one % 64 };
            Drawn { kind, after_seconds, who, one, other, third }
        },
    );
    (drawn, prop_oneof![24 => Just(1_u16), 1 => 2_u16..9])
}

/// Returns the steps that everything drawn stands upon.
pub(crate) fn foundation(draft: &Draft) -> Vec<Step> {
    let count = draft.tiers.len();
    let [home, peer] = [owner(0), owner(1)];
    let mut steps: Vec<Step> = (draft.tiers.iter().enumerate())
        .map(|(name, tier)| wish(Asker::Host, Wish::AddOrganization { name, tier: *tier }))
        .collect();
    if draft.foundation >= 1 {
        steps.extend((0..count.min(3)).map(|number| wish(owner(number), Wish::AddServer { name: 0 })));
        steps.push(wish(home, Wish::RequestPeering { with: 1 }));
        steps.push(wish(peer, Wish::DecidePeering { peering: 0, decision: Decision::Accept }));
        steps.push(wish(home, Wish::AddChannel { server: 0, name: 0, published: true }));
    }
    if draft.foundation >= 2 {
        steps.push(wish(peer, Wish::RequestGrant { channel: 0, source: 1 }));
        steps.push(wish(home, Wish::ApproveGrant { grant: 0, source: None }));
    }
    if draft.foundation >= 3 {
        let writes = draft.tiers[0] != Tier::Free;
        steps.push(wish(home, Wish::OfferAdmin { server: 0, to: 1, writes, hours: 7 * 24 }));
    }
    if draft.foundation >= 4 {
        steps.push(wish(peer, Wish::AcceptOffer { connection: 1, source: 1 }));
        steps.push(wish(home, Wish::IssueToken { server: 0, hours: 1 }));
        steps.push(step(Event::Agent { server: 0, report: Report::Redeem { token: 0, key: 0 } }));
    }
    steps
}

fn step(event: Event) -> Step {
    Step { after_seconds: 1, event }
}

fn wish(who: Asker, wish: Wish) -> Step {
    step(Event::Member { who, wish })
}

fn owner(organization: usize) -> Asker {
    Asker::Member { organization, role: UserRole::Owner }
}

impl Drawn {
    /// Returns the same once more, under another name.
    const fn again(self, time: u16) -> Self {
        Self { other: self.other.wrapping_add(2 * time), ..self }
    }

    /// Returns what it means now.
    pub(crate) fn resolve(&self, model: &Model) -> Step {
        let ripe = Self { kind: self.ripe(model), ..*self };
        let event = ripe.user_event(model).unwrap_or_else(|| ripe.agent_event(model));
        let after_seconds = match event {
            // What has a long life is over in the end.
            Event::Sweep => [self.after_seconds, HOUR, 73 * HOUR, 7 * DAY][usize::from(self.third / 16 % 4)],
            Event::Member { .. } | Event::Agent { .. } => self.after_seconds,
        };
        Step { after_seconds, event }
    }

    /// Returns what was drawn, or what has to come before it.
    fn ripe(&self, model: &Model) -> Drawing {
        let mut kind = self.kind;
        if self.third.is_multiple_of(16) {
            return kind;
        }
        if kind.needs_connection() && model.connections.is_empty() {
            kind = if self.third.is_multiple_of(2) { Drawing::ApproveGrant } else { Drawing::OfferAdmin };
        }
        if matches!(kind, Drawing::ApproveGrant | Drawing::EndGrant) && model.grants.is_empty() {
            kind = if self.third.is_multiple_of(4) { Drawing::OfferGrant } else { Drawing::RequestGrant };
        }
        if matches!(kind, Drawing::OfferGrant | Drawing::RequestGrant | Drawing::Publish)
            && model.channels.is_empty()
        {
            kind = Drawing::AddChannel;
        }
        if matches!(kind, Drawing::OfferAdmin | Drawing::DecidePeering) && model.peerings.is_empty() {
            kind = Drawing::Peering;
        }
        if matches!(kind, Drawing::Redeem | Drawing::Judge) && model.tokens.is_empty() {
            kind = Drawing::Token;
        }
        if kind.needs_server() && model.servers.is_empty() { Drawing::AddServer } else { kind }
    }

    fn user_event(&self, model: &Model) -> Option<Event> {
        let (entitled, wish) = match self.kind {
            Drawing::Order => self.order(model),
            Drawing::Peering => (self.any(self.one, model.organizations.len()), self.peering(model)),
            Drawing::DecidePeering => self.decide_peering(model),
            Drawing::OfferGrant => self.offer_grant(model),
            Drawing::RequestGrant => self.request_grant(model),
            Drawing::ApproveGrant => self.approve_grant(model),
            Drawing::EndGrant => self.end_grant(model),
            Drawing::OfferAdmin => self.offer_admin(model),
            Drawing::AcceptOffer => self.accept_offer(model),
            Drawing::EndOffer => self.end_offer(model),
            Drawing::ViewSecret => {
                let (party, connection) = self.connection_and_owner(model);
                (party, Wish::ViewSecret { connection })
            }
            Drawing::RotateSecret => {
                let (party, connection) = self.connection_and_owner(model);
                (party, Wish::RotateSecret { connection })
            }
            Drawing::Token | Drawing::DescribeServer | Drawing::RevokeServer | Drawing::AddChannel => {
                self.of_server(model)
            }
            Drawing::Tier => self.tier(model),
            Drawing::AddServer => {
                (self.any(self.one, model.organizations.len()), Wish::AddServer { name: small(self.other) })
            }
            Drawing::Publish => {
                let channel = self.any(self.one, model.channels.len());
                let owner = if channel == NOBODY { 0 } else { model.owner_of(channel) };
                (owner, Wish::SetPublished { channel, published: !self.other.is_multiple_of(3) })
            }
            Drawing::AddOrganization => {
                let name = usize::from(self.one % 8);
                (0, Wish::AddOrganization { name, tier: Tier::Free })
            }
            _ => return None,
        };
        Some(Event::Member { who: self.asker(model, entitled), wish })
    }

    /// Most of the time the one who is entitled.
    fn asker(&self, model: &Model, entitled: usize) -> Asker {
        let entitled = if entitled == NOBODY { 0 } else { entitled };
        let role = |organization, role| Asker::Member { organization, role };
        let other = usize::from(self.who / 16) % model.organizations.len();
        match self.who % 16 {
            0..=8 => role(entitled, UserRole::Owner),
            9..=10 => role(entitled, UserRole::Operator),
            11 => role(entitled, UserRole::Auditor),
            12..=13 => role(other, UserRole::Owner),
            14 => role(other, UserRole::Operator),
            _ => Asker::Host,
        }
    }

    /// Picks one of so many; now and then what nobody ever made.
    fn any(&self, drawn: u16, count: usize) -> usize {
        if count == 0 || drawn % 32 == 31 { NOBODY } else { usize::from(drawn / 32) % count }
    }

    /// Picks one, most of the time among those that wait for it.
    fn fit<T>(&self, drawn: u16, all: &[T], fits: impl Fn(&T) -> bool) -> usize {
        let fitting: Vec<_> = (0..all.len()).filter(|number| fits(&all[*number])).collect();
        if fitting.is_empty() || drawn % 32 >= 26 {
            return self.any(drawn, all.len());
        }
        fitting[usize::from(drawn / 32) % fitting.len()]
    }

    /// Picks a connection, most of the time one that lives, and a party of it.
    fn connection_and_party(&self, model: &Model) -> (usize, usize) {
        let number = self.fit(self.one, &model.connections, |it| !it.status.is_over());
        let party =
            model.connections.get(number).map_or(0, |it| it.organizations[usize::from(self.other % 2)]);
        (party, number)
    }

    /// Does the same; most of the time one that owns the secret and has not viewed it.
    fn connection_and_owner(&self, model: &Model) -> (usize, usize) {
        let (party, number) = self.connection_and_party(model);
        let Some(found) = model.connections.get(number).filter(|_| self.third % 8 != 7) else {
            return (party, number);
        };
        let views_at_source = found.kind == Kind::P2p && found.secret.is_viewed(Side::Target);
        let owner = if found.kind != Kind::P2p || self.third.is_multiple_of(2) {
            found.organizations[usize::from(!views_at_source)]
        } else {
            party
        };
        (owner, number)
    }

    fn order(&self, model: &Model) -> (usize, Wish) {
        let (party, connection) = self.connection_and_party(model);
        let any = Order::ALL[usize::from(self.third / 8) % Order::ALL.len()];
        let order = match (model.connections.get(connection).map(|it| it.status), self.third % 8) {
            (Some(Status::Ready), 0..=3) => Order::Activate,
            (Some(Status::Active), 0..=3) => Order::Pause,
            (Some(Status::Paused { .. }), 0..=2) => Order::Resume,
            (Some(Status::Paused { .. }), 3..=4) => Order::Pause,
            (Some(Status::Failed), 0..=4) => Order::Retry,
            (_, 5) if any == Order::Terminate => Order::Disconnect,
            _ => any,
        };
        (party, Wish::Order { connection, order })
    }

    fn peering(&self, model: &Model) -> Wish {
        Wish::RequestPeering { with: self.any(self.other, model.organizations.len()) }
    }

    fn decide_peering(&self, model: &Model) -> (usize, Wish) {
        let peering = self.fit(self.one, &model.peerings, |it| it.status == "requested");
        let decision = match self.other % 8 {
            0..=4 => Decision::Accept,
            5..=6 => Decision::Decline,
            _ => Decision::Withdraw,
        };
        let entitled = model.peerings.get(peering).map_or(0, |it| match decision {
            Decision::Withdraw => it.requester,
            Decision::Accept | Decision::Decline => it.recipient,
        });
        (entitled, Wish::DecidePeering { peering, decision })
    }

    /// Picks an organization, most of the time one with an agreement.
    fn peer_of(&self, model: &Model, own: usize, drawn: u16) -> usize {
        let all: Vec<_> = (0..model.organizations.len()).collect();
        self.fit(drawn, &all, |peer| model.is_live(own, *peer))
    }

    fn offer_grant(&self, model: &Model) -> (usize, Wish) {
        let channel = self.fit(self.one, &model.channels, |it| it.published);
        let owner = if channel == NOBODY { 0 } else { model.owner_of(channel) };
        (owner, Wish::OfferGrant { channel, to: self.peer_of(model, owner, self.other) })
    }

    fn request_grant(&self, model: &Model) -> (usize, Wish) {
        let source = self.any(self.one, model.servers.len());
        let own = model.servers.get(source).map_or(0, |it| it.organization);
        let all: Vec<_> = (0..model.channels.len()).collect();
        let channel = self.fit(self.other, &all, |channel| model.is_live(own, model.owner_of(*channel)));
        (own, Wish::RequestGrant { channel, source })
    }

    fn approve_grant(&self, model: &Model) -> (usize, Wish) {
        let grant = self.fit(self.one, &model.grants, |it| it.status == "pending");
        let Some(found) = model.grants.get(grant) else {
            return (0, Wish::ApproveGrant { grant, source: None });
        };
        let own = self.fit(self.other, &model.servers, |it| it.organization == found.holder);
        let source = (found.is_offer != self.third.is_multiple_of(8)).then_some(own);
        (found.decider(), Wish::ApproveGrant { grant, source })
    }

    fn end_grant(&self, model: &Model) -> (usize, Wish) {
        let how = [GrantEnd::Deny, GrantEnd::Revoke, GrantEnd::Relinquish][usize::from(self.other % 3)];
        let grant = self.fit(self.one, &model.grants, |it| match how {
            GrantEnd::Deny => it.status == "pending",
            GrantEnd::Revoke | GrantEnd::Relinquish => it.status == "approved",
        });
        let entitled = model.grants.get(grant).map_or(0, |it| match how {
            GrantEnd::Deny => it.decider(),
            GrantEnd::Revoke => it.owner,
            GrantEnd::Relinquish => it.holder,
        });
        (entitled, Wish::EndGrant { grant, how })
    }

    fn offer_admin(&self, model: &Model) -> (usize, Wish) {
        let server = self.any(self.one, model.servers.len());
        let own = model.servers.get(server).map_or(0, |it| it.organization);
        let to = self.peer_of(model, own, self.other);
        let hours = [7 * 24, 1, 24, 30 * 24][usize::from(self.third / 2 % 4)];
        (own, Wish::OfferAdmin { server, to, writes: self.third.is_multiple_of(2), hours })
    }

    fn offer(&self, model: &Model) -> usize {
        self.fit(self.one, &model.connections, |it| it.status == Status::Offered)
    }

    fn accept_offer(&self, model: &Model) -> (usize, Wish) {
        let connection = self.offer(model);
        let own = model.connections.get(connection).map_or(0, |it| it.organizations[0]);
        let source = self.fit(self.other, &model.servers, |it| it.organization == own);
        (own, Wish::AcceptOffer { connection, source })
    }

    fn end_offer(&self, model: &Model) -> (usize, Wish) {
        let connection = self.offer(model);
        let parties = model.connections.get(connection).map_or([0; 2], |it| it.organizations);
        if self.other.is_multiple_of(2) {
            (parties[0], Wish::DeclineOffer { connection })
        } else {
            (parties[1], Wish::WithdrawOffer { connection })
        }
    }

    fn of_server(&self, model: &Model) -> (usize, Wish) {
        let server = self.any(self.one, model.servers.len());
        let own = model.servers.get(server).map_or(0, |it| it.organization);
        let name = small(self.other);
        let wish = match self.kind {
            Drawing::Token => {
                Wish::IssueToken { server, hours: [1, 24, 7 * 24][usize::from(self.other % 3)] }
            }
            Drawing::DescribeServer => Wish::DescribeServer { server, name },
            Drawing::RevokeServer => Wish::RevokeServer { server },
            _ => Wish::AddChannel { server, name, published: !self.third.is_multiple_of(4) },
        };
        (own, wish)
    }

    fn tier(&self, model: &Model) -> (usize, Wish) {
        let organization = self.any(self.one, model.organizations.len());
        let tier =
            [Tier::Free, Tier::Standard, Tier::Enterprise, Tier::Standard][usize::from(self.other % 4)];
        (organization, Wish::SetTier { organization, tier })
    }

    fn agent_event(&self, model: &Model) -> Event {
        let (server, report) = match self.kind {
            Drawing::Redeem => self.redeem(model),
            Drawing::Judge => match self.redeem(model) {
                (server, Report::Redeem { token, key }) => {
                    (server, Report::Judge { token, key: self.third.is_multiple_of(3).then_some(key) })
                }
                other => other,
            },
            Drawing::Authorize => {
                (self.any(self.one, model.servers.len()), Report::Authorize { key: self.key(model) })
            }
            Drawing::Linked => {
                let known = self.any(self.one, model.servers.len());
                let server = if known == NOBODY { 0 } else { known };
                (server, Report::Linked { up: !self.other.is_multiple_of(4) })
            }
            Drawing::Sweep => return Event::Sweep,
            _ => self.of_connection(model),
        };
        Event::Agent { server, report }
    }

    /// Picks a key, most of the time the one on file.
    fn key(&self, model: &Model) -> u8 {
        let on_file = model.servers.get(self.any(self.one, model.servers.len())).and_then(|it| it.key);
        on_file.filter(|_| !self.third.is_multiple_of(4)).unwrap_or((self.third / 4 % 6) as u8)
    }

    /// Most of the time the newest token of a server, presented for that server.
    fn redeem(&self, model: &Model) -> (usize, Report) {
        let all: Vec<_> = (0..model.tokens.len()).collect();
        let is_newest = |token: &usize| {
            model.servers[model.tokens[*token]].token.as_ref().is_some_and(|it| it.number == *token)
        };
        let token = self.fit(self.one, &all, is_newest);
        let server = match model.tokens.get(token) {
            Some(server) if self.other % 16 < 14 => *server,
            _ => self.any(self.other, model.servers.len()),
        };
        (server, Report::Redeem { token, key: self.key_for(model, server) })
    }

    fn key_for(&self, model: &Model, server: usize) -> u8 {
        let bound = model.servers.get(server).and_then(|it| it.token.as_ref()).and_then(|it| it.bound);
        let on_file = bound.or_else(|| model.servers.get(server).and_then(|it| it.key));
        on_file.filter(|_| self.third.is_multiple_of(2)).unwrap_or((self.third / 2 % 6) as u8)
    }

    fn of_connection(&self, model: &Model) -> (usize, Report) {
        let connection = self.fit(self.one, &model.connections, |it| !it.status.is_over());
        let found = model.connections.get(connection);
        let mut side = if self.other.is_multiple_of(2) { Side::Source } else { Side::Target };
        if matches!(self.kind, Drawing::Stored) && found.is_some_and(|it| it.secret.is_stored(side)) {
            side = side.other();
        }
        let at_end = found.and_then(|it| it.server_at(side));
        let server = match at_end {
            Some(server) if self.other % 16 < 14 => server,
            _ => self.any(self.other / 16, model.servers.len()),
        };
        (server, self.told(found, connection, side))
    }

    fn told(&self, found: Option<&Connection>, connection: usize, side: Side) -> Report {
        let small = small(self.third);
        match self.kind {
            Drawing::Tunnel => Report::Tunnel {
                connection,
                path: (!self.third.is_multiple_of(4)).then_some(small % 3),
                mirth: (side == Side::Target).then_some(small.is_multiple_of(2)),
            },
            Drawing::Fetch => Report::Fetch { connection },
            Drawing::Stored => {
                let newest = found.map_or(1, |it| it.secret.epoch);
                Report::Stored {
                    connection,
                    epoch: newest.saturating_sub(u32::from(self.third.is_multiple_of(8))),
                }
            }
            Drawing::Mismatch => Report::Mismatch { connection, reason: small % 3 },
            Drawing::RefusedPeer => {
                Report::RefusedPeer { connection, reason: small % 2, times: 1 + u32::from(self.third % 3) }
            }
            _ => Report::Session { connection, stage: small % 3, number: u64::from(self.third % 40) },
        }
    }
}

fn small(drawn: u16) -> u8 {
    (drawn % 10) as u8
}
