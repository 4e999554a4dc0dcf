//! Who sees what in the lists, and what agents are told (DOMAIN §4, §5).

use std::collections::BTreeSet;

use super::{Connection, Kind, Model, Mutation, at};
use crate::outcome::{AgentView, ConnectionLine, GrantLine, Line, List, RuleLine, Status};
use adit_core::domain::connection::Side;
use adit_core::domain::tier::Tier;

const SIDES: [Side; 2] = [Side::Source, Side::Target];
const PATHS: [&str; 3] = ["direct", "relay", "tcp"];

impl Model {
    /// Returns a list as an organization sees it; `None` is the host.
    pub(crate) fn list(&self, list: List, viewer: Option<usize>) -> BTreeSet<Line> {
        let is_party = |one: usize, other: usize| viewer.is_none_or(|own| own == one || own == other);
        match list {
            List::Organizations => self.list_organizations(viewer),
            List::Servers => self.list_servers(viewer),
            List::Channels => self.list_channels(viewer),
            List::Peerings => (self.peerings.iter().enumerate())
                .filter(|(_, it)| is_party(it.requester, it.recipient))
                .map(|(number, _)| self.peering_line(number, viewer))
                .collect(),
            List::Grants => (self.grants.iter().enumerate())
                .filter(|(_, it)| is_party(it.owner, it.holder))
                .map(|(number, _)| Line::Grant(self.grant_line(number, viewer)))
                .collect(),
            List::Connections => (self.connections.iter().enumerate())
                .filter(|(_, it)| is_party(it.organizations[0], it.organizations[1]))
                .map(|(number, _)| Line::Connection(Box::new(self.connection_line(number, viewer))))
                .collect(),
        }
    }

    fn list_organizations(&self, viewer: Option<usize>) -> BTreeSet<Line> {
        let line = |(number, it): (usize, &super::Organization)| {
            let tier = match it.tier {
                Tier::Free => "Free",
                Tier::Standard => "Standard",
                Tier::Enterprise => "Enterprise",
            };
            Line::Organization { number, tier: viewer.is_none_or(|own| own == number).then_some(tier) }
        };
        self.organizations.iter().enumerate().map(line).collect()
    }

    fn list_servers(&self, viewer: Option<usize>) -> BTreeSet<Line> {
        let own = self.servers.iter().enumerate().filter(|(_, it)| !it.is_deleted);
        let own = own.filter(|(_, it)| viewer.is_none_or(|own| own == it.organization));
        own.map(|(number, it)| Line::Server {
            number,
            name: it.name.clone(),
            organization: it.organization,
            key: it.key,
            is_enrolled: it.was_enrolled,
            is_online: it.link == Some(true),
        })
        .collect()
    }

    fn list_channels(&self, viewer: Option<usize>) -> BTreeSet<Line> {
        let all = (0..self.channels.len()).filter(|number| !self.channels[*number].is_deleted);
        let seen = all.filter(|number| self.sees_channel(viewer, *number));
        seen.map(|number| {
            let channel = &self.channels[number];
            let server = &self.servers[channel.server];
            let shows = self.sees_server(viewer, channel.server);
            Line::Channel {
                number,
                name: channel.name.clone(),
                organization: server.organization,
                server: shows.then(|| server.name.clone()),
                published: channel.published,
            }
        })
        .collect()
    }

    /// The owner; the other party of a living connection over it; a peer while it is published.
    pub(super) fn sees_channel(&self, viewer: Option<usize>, channel: usize) -> bool {
        let Some(viewer) = viewer else { return true };
        let owner = self.owner_of(channel);
        let carries = |it: &&Connection| it.grant.is_some_and(|grant| self.grants[grant].channel == channel);
        owner == viewer
            || self.living().filter(carries).any(|it| it.organizations.contains(&viewer))
            || (self.is_live(viewer, owner)
                && (self.channels[channel].published || self.is(Mutation::UnpublishedChannelsShow)))
    }

    /// The owner, and the other party of a living connection of it.
    fn sees_server(&self, viewer: Option<usize>, server: usize) -> bool {
        let Some(viewer) = viewer else { return true };
        let touches = |it: &&Connection| it.side_of_server(server).is_some();
        self.servers[server].organization == viewer
            || self.living().filter(touches).any(|it| it.organizations.contains(&viewer))
    }

    fn living(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter().filter(|it| !it.status.is_over())
    }

    fn peering_line(&self, number: usize, viewer: Option<usize>) -> Line {
        let peering = &self.peerings[number];
        let (requester, recipient) = (peering.requester, peering.recipient);
        let peer = if requester == recipient {
            "Self".to_owned()
        } else {
            let other = if viewer == Some(recipient) { requester } else { recipient };
            self.organizations[other].name.clone()
        };
        Line::Peering { number, peer, requester, recipient, status: peering.status }
    }

    fn grant_line(&self, number: usize, viewer: Option<usize>) -> GrantLine {
        let grant = &self.grants[number];
        let shows = self.sees_channel(viewer, grant.channel);
        GrantLine {
            number,
            channel: grant.channel,
            channel_name: shows.then(|| self.channels[grant.channel].name.clone()),
            owner: grant.owner,
            holder: grant.holder,
            decider: grant.decider(),
            origin: if grant.is_offer { "offered" } else { "requested" },
            status: grant.status,
            connection: grant.connection,
        }
    }

    fn connection_line(&self, number: usize, viewer: Option<usize>) -> ConnectionLine {
        let connection = &self.connections[number];
        let names = SIDES.map(|side| self.end_name(number, side));
        let is_connected = self.is_connected(number);
        ConnectionLine {
            number,
            kind: connection.kind.label(),
            route: format!("{} → {}", names[0], names[1]),
            organizations: connection.organizations,
            servers: SIDES.map(|side| connection.server_at(side)),
            carried: self.carried(connection),
            status: connection.status,
            held_by: self.holders(connection, viewer),
            has_failure: connection.status == Status::Failed,
            connectivity: match (is_connected, connection.worked_before) {
                (true, _) => "Connected",
                (false, true) => "Disconnected",
                (false, false) => "Never connected",
            },
            pulses: is_connected && connection.status == Status::Active,
            links: SIDES.map(|side| self.link_word(connection, side)),
            tunnels: SIDES.map(|side| connection.tunnel_word(side)),
            mirths: SIDES.map(|side| {
                // Whether what is another's is reached is nobody's to see once it has ended.
                let told = connection.told[at(side)].filter(|_| !connection.status.is_over());
                told?.mirth.map(up_or_down)
            }),
        }
    }

    /// Returns an end's name: what the row remembers, else the server's, else the organization's.
    pub(super) fn end_name(&self, number: usize, side: Side) -> String {
        let connection = &self.connections[number];
        let server = connection.server_at(side);
        match (&connection.last_names, server) {
            (Some(names), Some(_)) => names[at(side)].clone(),
            (None, Some(server)) => self.servers[server].name.clone(),
            (_, None) => self.organizations[connection.organizations[at(side)]].name.clone(),
        }
    }

    fn carried(&self, connection: &Connection) -> String {
        let Some(grant) = connection.grant else {
            let owner = &self.organizations[connection.organizations[1]].name;
            let access = if connection.kind == Kind::AdminRw { "read-write" } else { "read-only" };
            let until = connection.expires_at;
            let until = (connection.status == Status::Offered).then_some(until);
            return format!("{access} by {owner} until {until:?}");
        };
        let name = &self.channels[self.grants[grant].channel].name;
        format!("channel {}", connection.last_channel.as_ref().unwrap_or(name))
    }

    /// That a hold is for a tier's sake is its owner's and the operator's to read.
    fn holders(&self, connection: &Connection, viewer: Option<usize>) -> Vec<String> {
        let Status::Paused { source, target } = connection.status else { return Vec::new() };
        let name = |side| self.organizations[connection.organizations[at(side)]].name.clone();
        let knows = viewer.is_none_or(|own| own == connection.organizations[1]);
        let why = if connection.is_held_for_tier && knows { " (until its tier admits Admin RW)" } else { "" };
        let mut holders = Vec::new();
        holders.extend(source.then(|| name(Side::Source)));
        holders.extend(target.then(|| format!("{}{why}", name(Side::Target))));
        holders
    }

    fn link_word(&self, connection: &Connection, side: Side) -> &'static str {
        if connection.status.is_over() {
            return "never";
        }
        let link = connection.server_at(side).and_then(|server| self.servers[server].link);
        link.map_or("never", up_or_down)
    }

    /// The tunnel is up on both sides now, told by agents whose word is current.
    pub(super) fn is_connected(&self, number: usize) -> bool {
        let connection = &self.connections[number];
        SIDES.into_iter().all(|side| {
            self.link_word(connection, side) == "up"
                && !matches!(connection.tunnel_word(side), "never" | "down")
        })
    }

    /// Returns what a server's agent is told.
    pub(crate) fn agent_view(&self, server: usize) -> AgentView {
        let of_server =
            || self.connections.iter().enumerate().filter(|(_, it)| it.side_of_server(server).is_some());
        let reached = of_server().filter(|(_, it)| it.may_have_tunnels());
        let reached = reached.filter_map(|(_, it)| it.peer_of(server)).collect::<BTreeSet<_>>().len();
        let has_key = self.servers.get(server).is_some_and(|it| it.key.is_some());
        let mut rules: Vec<_> = of_server().filter_map(|(number, _)| self.rule(number, server)).collect();
        rules.sort_unstable();
        AgentView {
            rules,
            revoked: self.revoked_beside(server),
            ended: of_server().filter(|(_, it)| it.status.is_over()).map(|(number, _)| number).collect(),
            reaches: has_key.then_some(reached),
        }
    }

    /// Returns the revoked keys of all that a server ever had to do with.
    fn revoked_beside(&self, server: usize) -> BTreeSet<u8> {
        let peers: BTreeSet<_> = self.connections.iter().filter_map(|it| it.peer_of(server)).collect();
        self.revoked.iter().filter(|(_, whose)| peers.contains(whose)).map(|(key, _)| *key).collect()
    }

    fn rule(&self, number: usize, server: usize) -> Option<RuleLine> {
        let connection = &self.connections[number];
        let side = connection.side_of_server(server)?;
        let activity = match connection.status {
            Status::Ready | Status::Failed => "ready",
            Status::Active => "active",
            Status::Paused { .. } => "paused",
            Status::Offered if self.is(Mutation::RulesBeforeAcceptance) => "ready",
            Status::Offered | Status::Declined | Status::Expired | Status::Terminated => return None,
        };
        let is_p2p = connection.kind == Kind::P2p;
        let peer_organization = &self.organizations[connection.organizations[at(side.other())]].name;
        Some(RuleLine {
            connection: number,
            kind: connection.kind.label(),
            has_protocol: is_p2p,
            side,
            peer: connection.server_at(side.other()).unwrap_or(usize::MAX),
            names: SIDES.map(|side| self.end_name(number, side)),
            peer_organization: (!is_p2p).then(|| peer_organization.clone()),
            activity,
            epoch: connection.secret.epoch,
            cuts: connection.cuts,
        })
    }
}

impl Connection {
    fn tunnel_word(&self, side: Side) -> &'static str {
        match self.told[at(side)] {
            None => "never",
            // Over what has ended no tunnel is up, whatever was told.
            Some(_) if self.status.is_over() => "down",
            Some(told) => told.path.map_or("down", |path| PATHS[usize::from(path) % PATHS.len()]),
        }
    }

    const fn may_have_tunnels(&self) -> bool {
        matches!(self.status, Status::Active | Status::Paused { .. })
    }

    fn peer_of(&self, server: usize) -> Option<usize> {
        self.side_of_server(server).and_then(|side| self.server_at(side.other()))
    }
}

impl Kind {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::P2p => "P2P",
            Self::AdminRw => "Admin RW",
            Self::AdminRo => "Admin RO",
        }
    }
}

const fn up_or_down(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}
