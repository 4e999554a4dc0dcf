//! What a drawn event means at its moment: numbers become the objects there are, and most of the time the party that is
//! entitled.

use super::{DAY, Drawing, Drawn, HOUR};
use crate::model::{Connection, Kind, Model};
use crate::outcome::Status;
use crate::step::{Asker, Decision, Event, GrantEnd, NOBODY, Order, Report, Step, Wish};
use adit_core::domain::connection::Side;
use adit_core::domain::role::UserRole;
use adit_core::domain::tier::Tier;

impl Drawn {
    /// Returns the same once more, under another name.
    pub(super) const fn again(self, time: u16) -> Self {
        Self { other: self.other.wrapping_add(2 * time), ..self }
    }

    /// Comes right after the last.
    pub(crate) const fn hurry(&mut self) {
        self.after_seconds = 1;
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
        if kind.needs_channel() && model.channels.is_empty() {
            kind = Drawing::AddChannel;
        }
        if matches!(kind, Drawing::OfferAdmin | Drawing::DecidePeering | Drawing::EndPeering)
            && model.peerings.is_empty()
        {
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
            Drawing::Peering => self.peering(model),
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
            Drawing::Token
            | Drawing::DescribeServer
            | Drawing::RevokeServer
            | Drawing::DeleteServer
            | Drawing::AddChannel => self.of_server(model),
            Drawing::EndPeering => self.end_peering(model),
            Drawing::DescribeChannel | Drawing::DeleteChannel => self.of_channel(model),
            Drawing::Rename => {
                let organization = Self::any(self.one, model.organizations.len());
                let name = usize::from(self.other % 12);
                (organization, Wish::RenameOrganization { organization, name })
            }
            Drawing::Tier => self.tier(model),
            Drawing::AddServer => {
                (Self::any(self.one, model.organizations.len()), Wish::AddServer { name: small(self.other) })
            }
            Drawing::Publish => {
                let channel = Self::any(self.one, model.channels.len());
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

    /// Returns the one who is entitled, now and then the other party.
    const fn party(&self, entitled: usize, other: usize) -> usize {
        if self.third % 8 == 1 { other } else { entitled }
    }

    /// Picks one of so many; now and then what nobody ever made.
    fn any(drawn: u16, count: usize) -> usize {
        if count == 0 || drawn % 32 == 31 { NOBODY } else { usize::from(drawn / 32) % count }
    }

    /// Picks one, most of the time among those that wait for it.
    fn fit<T>(drawn: u16, all: &[T], fits: impl Fn(&T) -> bool) -> usize {
        let fitting: Vec<_> = (0..all.len()).filter(|number| fits(&all[*number])).collect();
        if fitting.is_empty() || drawn % 32 >= 26 {
            return Self::any(drawn, all.len());
        }
        fitting[usize::from(drawn / 32) % fitting.len()]
    }

    /// Picks a connection, most of the time one that lives, and a party of it.
    fn connection_and_party(&self, model: &Model) -> (usize, usize) {
        let number = Self::fit(self.one, &model.connections, |it| !it.status.is_over());
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
        let (party, connection) = match model.connections.iter().position(|it| it.status == Status::Declined)
        {
            // Few have been, and each cell of the table is asked for.
            Some(declined) if self.one % 8 == 5 => {
                (model.connections[declined].organizations[usize::from(self.other % 2)], declined)
            }
            _ => self.connection_and_party(model),
        };
        let drawn = if self.one % 8 == 5 { self.other / 2 } else { self.third / 8 };
        let any = Order::ALL[usize::from(drawn) % Order::ALL.len()];
        let order = match (model.connections.get(connection).map(|it| it.status), self.third % 8) {
            (Some(Status::Ready), 0..=3) => Order::Activate,
            (Some(Status::Paused { .. }), 0..=2) => Order::Resume,
            (Some(Status::Active), 0..=2) | (Some(Status::Active | Status::Paused { .. }), 3..=4) => {
                Order::Pause
            }
            (Some(Status::Failed), 0..=4) => Order::Retry,
            (_, 5) if any == Order::Terminate => Order::Disconnect,
            _ => any,
        };
        let party = match model.connections.get(connection) {
            // The second hold is the other party's.
            Some(it) if order == Order::Pause && self.third % 8 == 3 => match it.status {
                Status::Paused { source, target: false } => it.organizations[usize::from(source)],
                Status::Paused { .. } => it.organizations[0],
                _ => party,
            },
            _ => party,
        };
        (party, Wish::Order { connection, order })
    }

    fn peering(&self, model: &Model) -> (usize, Wish) {
        // Now and then one that crosses.
        let open = model.peerings.iter().find(|it| it.status == "requested");
        if let Some(open) = open.filter(|_| self.third.is_multiple_of(4)) {
            return (open.recipient, Wish::RequestPeering { with: open.requester });
        }
        let own = Self::any(self.one, model.organizations.len());
        (own, Wish::RequestPeering { with: Self::any(self.other, model.organizations.len()) })
    }

    fn decide_peering(&self, model: &Model) -> (usize, Wish) {
        let peering = Self::fit(self.one, &model.peerings, |it| it.status == "requested");
        let decision = match self.other % 8 {
            0..=4 => Decision::Accept,
            5..=6 => Decision::Decline,
            _ => Decision::Withdraw,
        };
        let entitled = model.peerings.get(peering).map_or(0, |it| match decision {
            Decision::Withdraw => self.party(it.requester, it.recipient),
            Decision::Accept | Decision::Decline => self.party(it.recipient, it.requester),
        });
        (entitled, Wish::DecidePeering { peering, decision })
    }

    /// Picks an organization, most of the time one with an agreement.
    fn peer_of(model: &Model, own: usize, drawn: u16) -> usize {
        let all: Vec<_> = (0..model.organizations.len()).collect();
        Self::fit(drawn, &all, |peer| model.is_live(own, *peer))
    }

    fn offer_grant(&self, model: &Model) -> (usize, Wish) {
        let channel = Self::fit(self.one, &model.channels, |it| it.published);
        let owner = if channel == NOBODY { 0 } else { model.owner_of(channel) };
        (owner, Wish::OfferGrant { channel, to: Self::peer_of(model, owner, self.other) })
    }

    fn request_grant(&self, model: &Model) -> (usize, Wish) {
        let source = Self::any(self.one, model.servers.len());
        let own = model.servers.get(source).map_or(0, |it| it.organization);
        let all: Vec<_> = (0..model.channels.len()).collect();
        let channel = Self::fit(self.other, &all, |channel| {
            !model.channels[*channel].is_deleted && model.is_live(own, model.owner_of(*channel))
        });
        (own, Wish::RequestGrant { channel, source })
    }

    fn approve_grant(&self, model: &Model) -> (usize, Wish) {
        let grant = Self::fit(self.one, &model.grants, |it| it.status == "pending");
        let Some(found) = model.grants.get(grant) else {
            return (0, Wish::ApproveGrant { grant, source: None });
        };
        let own =
            Self::fit(self.other, &model.servers, |it| it.organization == found.holder && !it.is_deleted);
        let source = (found.is_offer != self.third.is_multiple_of(8)).then_some(own);
        (found.decider(), Wish::ApproveGrant { grant, source })
    }

    fn end_grant(&self, model: &Model) -> (usize, Wish) {
        let how = [GrantEnd::Deny, GrantEnd::Revoke, GrantEnd::Relinquish][usize::from(self.other % 3)];
        let grant = Self::fit(self.one, &model.grants, |it| match how {
            GrantEnd::Deny => it.status == "pending",
            GrantEnd::Revoke | GrantEnd::Relinquish => it.status == "approved",
        });
        let entitled = model.grants.get(grant).map_or(0, |it| match how {
            GrantEnd::Deny => it.decider(),
            GrantEnd::Revoke => self.party(it.owner, it.holder),
            GrantEnd::Relinquish => self.party(it.holder, it.owner),
        });
        (entitled, Wish::EndGrant { grant, how })
    }

    fn offer_admin(&self, model: &Model) -> (usize, Wish) {
        let server = Self::any(self.one, model.servers.len());
        let own = model.servers.get(server).map_or(0, |it| it.organization);
        let to = Self::peer_of(model, own, self.other);
        let hours = [7 * 24, 1, 24, 30 * 24][usize::from(self.third / 2 % 4)];
        (own, Wish::OfferAdmin { server, to, writes: self.third.is_multiple_of(2), hours })
    }

    /// Picks an offer, most of the time one that is open.
    fn offer(&self, model: &Model) -> usize {
        if self.third.is_multiple_of(4) {
            return Self::any(self.one, model.connections.len());
        }
        Self::fit(self.one, &model.connections, |it| it.status == Status::Offered)
    }

    fn accept_offer(&self, model: &Model) -> (usize, Wish) {
        let connection = self.offer(model);
        let own = model.connections.get(connection).map_or(0, |it| it.organizations[0]);
        let source = Self::fit(self.other, &model.servers, |it| it.organization == own && !it.is_deleted);
        (own, Wish::AcceptOffer { connection, source })
    }

    fn end_offer(&self, model: &Model) -> (usize, Wish) {
        let connection = self.offer(model);
        let parties = model.connections.get(connection).map_or([0; 2], |it| it.organizations);
        if self.other.is_multiple_of(2) {
            (self.party(parties[0], parties[1]), Wish::DeclineOffer { connection })
        } else {
            (self.party(parties[1], parties[0]), Wish::WithdrawOffer { connection })
        }
    }

    fn of_server(&self, model: &Model) -> (usize, Wish) {
        let server = Self::any(self.one, model.servers.len());
        let own = model.servers.get(server).map_or(0, |it| it.organization);
        let name = small(self.other);
        let wish = match self.kind {
            Drawing::Token => {
                Wish::IssueToken { server, hours: [1, 24, 7 * 24][usize::from(self.other % 3)] }
            }
            Drawing::DescribeServer => Wish::DescribeServer { server, name },
            Drawing::RevokeServer => Wish::RevokeServer { server },
            Drawing::DeleteServer => Wish::DeleteServer { server },
            _ => Wish::AddChannel { server, name, published: !self.third.is_multiple_of(4) },
        };
        (own, wish)
    }

    fn of_channel(&self, model: &Model) -> (usize, Wish) {
        let channel = Self::fit(self.one, &model.channels, |it| !it.is_deleted);
        let owner = if channel == NOBODY { 0 } else { model.owner_of(channel) };
        let name = small(self.other);
        let describes = self.kind == Drawing::DescribeChannel;
        (
            owner,
            if describes { Wish::DescribeChannel { channel, name } } else { Wish::DeleteChannel { channel } },
        )
    }

    fn end_peering(&self, model: &Model) -> (usize, Wish) {
        let peering = Self::fit(self.one, &model.peerings, |it| it.status == "live");
        let party = model
            .peerings
            .get(peering)
            .map_or(0, |it| if self.other.is_multiple_of(2) { it.requester } else { it.recipient });
        (party, Wish::EndPeering { peering })
    }

    fn tier(&self, model: &Model) -> (usize, Wish) {
        let organization = Self::any(self.one, model.organizations.len());
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
                (Self::any(self.one, model.servers.len()), Report::Authorize { key: self.key(model) })
            }
            Drawing::Linked => {
                let known = Self::any(self.one, model.servers.len());
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
        let on_file = model.servers.get(Self::any(self.one, model.servers.len())).and_then(|it| it.key);
        on_file.filter(|_| !self.third.is_multiple_of(4)).unwrap_or((self.third / 4 % 6) as u8)
    }

    /// Most of the time the newest token of a server, presented for that server.
    fn redeem(&self, model: &Model) -> (usize, Report) {
        let all: Vec<_> = (0..model.tokens.len()).collect();
        let is_newest = |token: &usize| {
            model.servers[model.tokens[*token]].token.as_ref().is_some_and(|it| it.number == *token)
        };
        let token = Self::fit(self.one, &all, is_newest);
        let server = match model.tokens.get(token) {
            Some(server) if self.other % 16 < 14 => *server,
            _ => Self::any(self.other, model.servers.len()),
        };
        (server, Report::Redeem { token, key: self.key_for(model, server) })
    }

    fn key_for(&self, model: &Model, server: usize) -> u8 {
        let bound = model.servers.get(server).and_then(|it| it.token.as_ref()).and_then(|it| it.bound);
        let on_file = bound.or_else(|| model.servers.get(server).and_then(|it| it.key));
        on_file.filter(|_| self.third.is_multiple_of(2)).unwrap_or((self.third / 2 % 6) as u8)
    }

    fn of_connection(&self, model: &Model) -> (usize, Report) {
        let connection = Self::fit(self.one, &model.connections, |it| !it.status.is_over());
        let found = model.connections.get(connection);
        let mut side = if self.other.is_multiple_of(2) { Side::Source } else { Side::Target };
        if matches!(self.kind, Drawing::Stored) && found.is_some_and(|it| it.secret.is_stored(side)) {
            side = side.other();
        }
        let at_end = found.and_then(|it| it.server_at(side));
        let server = match at_end {
            Some(server) if self.other % 16 < 14 => server,
            _ => Self::any(self.other / 16, model.servers.len()),
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
