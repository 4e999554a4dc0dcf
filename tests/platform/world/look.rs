//! What the product shows: lists, the audit, what agents are told, each in the words that the model uses.

use std::collections::BTreeSet;

use adit_core::domain::connection::Side;
use adit_core::domain::role::UserRole;
use adit_core::protocol::control::{Activity, Rule};
use adit_gateway::platform::{
    AuditView, CarriedView, ConnectionView, EndView, GrantView, Initiator, PeeringView, PlatformError,
    Resource, ServerView,
};

use super::act::{number_of_key, status};
use super::{World, number_of};
use crate::outcome::{AgentView, ConnectionLine, Entry, GrantLine, Line, List, RuleLine, Thing};
use crate::step::Asker;
use crate::whole_lists::WholeLists as _;

/// An audit entry with the words of its detail.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) entry: Entry,
    pub(crate) detail: String,
}

impl World {
    /// Returns all that was written in any log since the last time, of which so many are expected.
    pub(crate) async fn written(&mut self, expected: usize) -> Vec<Written> {
        let rows_max = u32::try_from(expected + 4).unwrap();
        let mut rows = self.platform.audit(&self.actor(Asker::Host), rows_max).await.unwrap();
        rows.retain(|row| row.id > self.seen);
        self.seen = rows.last().map_or(self.seen, |row| row.id);
        rows.iter().map(|row| self.entry(row)).collect()
    }

    /// Returns an organization's whole log, as one who may only see reads it.
    pub(crate) async fn log_of(&self, organization: usize) -> Vec<Entry> {
        let auditor = self.actor(Asker::Member { organization, role: UserRole::Auditor });
        let rows = self.platform.audit(&auditor, u32::MAX).await.unwrap();
        rows.iter().map(|row| self.entry(row).entry).collect()
    }

    fn entry(&self, row: &AuditView) -> Written {
        let log = row.organization.as_ref().map(|name| self.made.names[name.as_str()]);
        let thing = self.made.texts.get(&row.object).cloned();
        let entry = Entry {
            log,
            actor: row.actor.clone(),
            action: row.action.clone(),
            thing: thing.unwrap_or_else(|| Thing::Text(row.object.clone())),
            outcome: match row.outcome.as_str() {
                "done" => "done",
                "refused" => "refused",
                "alert" => "alert",
                other => panic!("`{other}` is no outcome"),
            },
            times: row.times,
        };
        Written { entry, detail: row.detail.clone() }
    }

    /// Returns a list as an auditor of an organization sees it, or the host, of this sequence's things.
    pub(crate) async fn list(&self, list: List, viewer: Option<usize>) -> BTreeSet<Line> {
        let actor = self.actor(match viewer {
            None => Asker::Host,
            Some(organization) => Asker::Member { organization, role: UserRole::Auditor },
        });
        let (platform, made) = (&self.platform, &self.made);
        let is_ours = |id| viewer.is_some() || made.organizations.contains(id);
        match list {
            List::Organizations => {
                let found = platform.organizations(&actor).await.unwrap();
                let found = found.iter().filter(|it| made.organizations.contains(&it.id));
                let line = |it: &adit_gateway::platform::OrganizationView| Line::Organization {
                    number: number_of(&made.organizations, &it.id),
                    tier: it.tier.map(adit_core::domain::tier::Tier::as_str),
                };
                found.map(line).collect()
            }
            List::Servers => {
                let found = platform.servers(&actor).await.unwrap();
                found
                    .iter()
                    .filter(|it| is_ours(&it.organization_id))
                    .map(|it| self.server_line(it))
                    .collect()
            }
            List::Channels => {
                let found = platform.channels(&actor).await.unwrap();
                let found = found.iter().filter(|it| is_ours(&it.organization_id));
                let line = |it: &adit_gateway::platform::ChannelView| Line::Channel {
                    number: number_of(&made.channels, &it.id),
                    name: it.name.to_string(),
                    organization: number_of(&made.organizations, &it.organization_id),
                    server: it.server.as_ref().map(ToString::to_string),
                    published: it.published,
                };
                found.map(line).collect()
            }
            List::Peerings => {
                let found = platform.peerings(&actor).await.unwrap();
                found.iter().filter(|it| is_ours(&it.requester_id)).map(|it| self.peering_line(it)).collect()
            }
            List::Grants => {
                let found = platform.grants(&actor).await.unwrap();
                found.iter().filter(|it| is_ours(&it.owner_id)).map(|it| self.grant_line(it)).collect()
            }
            List::Connections => {
                let found = platform.connections(&actor).await.unwrap();
                let found = found.iter().filter(|it| is_ours(&it.source.organization_id));
                let lines: Vec<_> = found.map(|it| self.connection_line(it)).collect();
                self.check_detail(&actor, &lines).await;
                lines.into_iter().map(|line| Line::Connection(Box::new(line))).collect()
            }
        }
    }

    /// Checks that a connection's detail shows what the list does, and is not found where the list has none.
    async fn check_detail(&self, actor: &Initiator, lines: &[ConnectionLine]) {
        let made = &self.made.connections;
        let number = lines.len() % made.len().max(1);
        let detail = self.platform.connection(actor, self.made.connection(number)).await;
        let detail = detail.as_ref().map(|it| self.connection_line(it));
        match lines.iter().find(|line| line.number == number) {
            Some(line) => assert_eq!(detail.ok().as_ref(), Some(line)),
            None => {
                assert!(matches!(detail, Err(PlatformError::NotFound { resource: Resource::Connection })));
            }
        }
    }

    fn server_line(&self, it: &ServerView) -> Line {
        Line::Server {
            number: number_of(&self.made.servers, &it.id),
            name: it.name.to_string(),
            organization: number_of(&self.made.organizations, &it.organization_id),
            key: it.key.map(number_of_key),
            is_enrolled: it.enrolled_at.is_some(),
            is_online: it.is_online,
        }
    }

    fn peering_line(&self, it: &PeeringView) -> Line {
        Line::Peering {
            number: number_of(&self.made.peerings, &it.id),
            peer: it.peer.clone(),
            requester: number_of(&self.made.organizations, &it.requester_id),
            recipient: number_of(&self.made.organizations, &it.recipient_id),
            status: it.status,
        }
    }

    fn grant_line(&self, it: &GrantView) -> Line {
        assert_eq!(it.channel_name.is_some(), it.protocol.is_some(), "of a channel all or nothing is seen");
        let made = &self.made;
        Line::Grant(GrantLine {
            number: number_of(&made.grants, &it.id),
            channel: number_of(&made.channels, &it.channel),
            channel_name: it.channel_name.as_ref().map(ToString::to_string),
            owner: number_of(&made.organizations, &it.owner_id),
            holder: number_of(&made.organizations, &it.holder_id),
            decider: number_of(&made.organizations, &it.decider_id),
            origin: it.origin,
            status: it.status,
            connection: it.connection.map(|id| number_of(&made.connections, &id)),
        })
    }

    fn connection_line(&self, it: &ConnectionView) -> ConnectionLine {
        let ends = [&it.source, &it.target];
        let made = &self.made;
        ConnectionLine {
            number: number_of(&made.connections, &it.id),
            kind: it.kind.as_str(),
            route: it.route(),
            organizations: ends.map(|end| number_of(&made.organizations, &end.organization_id)),
            servers: ends.map(|end| end.server.map(|id| number_of(&made.servers, &id))),
            carried: match &it.carried {
                CarriedView::Channel { channel, .. } => format!("channel {channel}"),
                CarriedView::Admin { access, offered_by, expires_at } => {
                    let until = expires_at.map(adit_core::domain::time::Timestamp::as_millis);
                    format!("{} by {offered_by} until {until:?}", access.as_str())
                }
            },
            status: status(it.status),
            held_by: it.held_by.clone(),
            has_failure: it.failure.is_some(),
            connectivity: it.connectivity.as_str(),
            pulses: it.pulses,
            links: ends.map(|end: &EndView| end.link.state),
            tunnels: ends.map(|end| end.tunnel.state),
            mirths: ends.map(|end| end.mirth.as_ref().map(|mirth| mirth.state)),
        }
    }

    /// Returns what a server's agent is told.
    pub(crate) async fn agent_view(&self, server: usize) -> AgentView {
        let (platform, made) = (&self.platform, &self.made);
        let id = made.server(server);
        let (rules, revoked) = platform.rules_for(id).await.unwrap();
        let mut lines: Vec<_> = rules.iter().map(|rule| self.rule_line(rule)).collect();
        lines.sort_unstable();
        let ended = platform.ended_among(id, &made.connections).await.unwrap();
        AgentView {
            rules: lines,
            revoked: revoked.into_iter().map(number_of_key).collect(),
            ended: ended.iter().map(|id| number_of(&made.connections, id)).collect(),
            reaches: platform
                .relayed_servers(&[id])
                .await
                .unwrap()
                .get(&id)
                .map(|relayed| relayed.peers.len()),
        }
    }

    /// An admin connection's rule is handed out once its acceptance was, and never before.
    fn rule_line(&self, rule: &Rule) -> RuleLine {
        let made = &self.made;
        let is_p2p = rule.protocol.is_some();
        assert!(is_p2p || made.accepted.contains(&rule.connection), "a rule before acceptance: {rule:?}");
        assert!(matches!(rule.side, Side::Source | Side::Target));
        RuleLine {
            connection: number_of(&made.connections, &rule.connection),
            kind: rule.kind.as_str(),
            has_protocol: is_p2p,
            side: rule.side,
            peer: number_of(&made.servers, &rule.peer),
            names: [rule.source_name.clone(), rule.target_name.clone()],
            peer_organization: rule.peer_organization.clone(),
            activity: match rule.activity {
                Activity::Ready => "ready",
                Activity::Paused => "paused",
                Activity::Active => "active",
            },
            epoch: rule.secret_epoch,
            cuts: rule.cut_epoch,
        }
    }
}
