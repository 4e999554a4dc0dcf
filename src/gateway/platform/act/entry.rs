//! An entry of the audit log on its way there, and who is named in whose log.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::store::{AuditOutcome, AuditRecord, StoreError, Tx};
use adit_core::domain::id::{ActId, OrganizationId};
use adit_core::domain::time::Timestamp;

use super::super::{Action, Initiator};
use super::Act;

/// Who does what follows from a rule and nobody asked for.
pub(in super::super) const GATEWAY: &str = "the gateway";

/// Who hosts the gateway, as others call them.
const OPERATOR: &str = "the gateway's operator";

/// In which logs; `None` is the gateway operator's.
pub(in super::super) type Logs = Vec<Option<OrganizationId>>;

#[derive(Debug, Clone)]
pub(in super::super) struct Entry {
    pub(in super::super) actor: String,
    pub(in super::super) action: Action,
    pub(in super::super) object: String,
    pub(in super::super) outcome: AuditOutcome,
    pub(in super::super) detail: String,
    pub(in super::super) bucket: Option<String>,
}

impl Entry {
    /// Writes the entry into each log once, for something that happened `times`.
    pub(in super::super) async fn write(
        &self,
        tx: &mut Tx,
        act: Option<ActId>,
        now: Timestamp,
        logs: impl IntoIterator<Item = Option<OrganizationId>>,
        times: u32,
    ) -> Result<(), StoreError> {
        for organization in logs.into_iter().collect::<BTreeSet<_>>() {
            let whose = organization.map_or_else(|| "operator".to_owned(), |it| it.to_string());
            let entry = AuditRecord {
                at: now,
                organization,
                actor: self.actor.clone(),
                action: self.action.as_str(),
                object: self.object.clone(),
                outcome: self.outcome,
                detail: self.detail.clone(),
                bucket: self.bucket.as_ref().map(|bucket| format!("{bucket} {whose}")),
                act,
            };
            tx.append_audit_times(&entry, times).await?;
        }
        Ok(())
    }
}

/// What an initiator is called: by its name in its own log, and by what others may know of it in theirs.
#[derive(Debug)]
pub(super) struct Names {
    own: Option<(Option<OrganizationId>, String)>,
    pub(super) elsewhere: String,
}

impl Names {
    fn everywhere(name: String) -> Self {
        Self { own: None, elsewhere: name }
    }

    /// Returns the logs under the name that stands in them.
    pub(super) fn of(&self, logs: &Logs) -> Vec<(&str, Logs)> {
        let (home, elsewhere): (Logs, Logs) =
            logs.iter().partition(|log| self.own.as_ref().is_some_and(|(home, _)| home == *log));
        let own = self.own.as_ref().map(|(_, name)| (name.as_str(), home));
        own.into_iter().chain([(self.elsewhere.as_str(), elsewhere)]).collect()
    }
}

impl Act {
    /// Returns what the initiator is called, and every log that gets the entry: those of the organizations
    /// concerned, an agent's own, and the operator's for what it did itself or concerns nobody known.
    pub(super) async fn names_and_logs(&mut self) -> Result<(Names, Logs), StoreError> {
        let names = match &self.initiator {
            Initiator::Host { name } => {
                Names { own: Some((None, name.clone())), elsewhere: OPERATOR.to_owned() }
            }
            Initiator::Member { organization, name, .. } => {
                let known = self.tx.organization(*organization).await?;
                Names {
                    own: Some((Some(*organization), name.clone())),
                    elsewhere: known
                        .map_or_else(|| name.clone(), |it| organization_called(&it.name.to_string())),
                }
            }
            Initiator::Agent { server } => {
                let known = self.tx.server(*server).await?;
                self.said.concerned.extend(known.as_ref().map(|server| server.organization));
                let name = self.said.last_called.take().or(known.map(|it| it.name));
                let name = name.map_or_else(|| "an unknown server".to_owned(), |it| it.to_string());
                Names::everywhere(format!("agent of {name}"))
            }
            Initiator::Stranger { address } => Names::everywhere(host_at(*address)),
            Initiator::System => Names::everywhere(GATEWAY.into()),
        };
        let names = self.said.teller.take().map_or(names, Names::everywhere);
        let mut logs: Logs = self.said.concerned.iter().copied().map(Some).collect();
        if matches!(self.initiator, Initiator::Host { .. }) || logs.is_empty() {
            logs.insert(0, None);
        }
        Ok((names, logs))
    }
}

/// Returns what an organization is called in the log of another. It chooses its name, and one that reads as a user of
/// the other or as somebody whom the log calls so is told apart.
fn organization_called(name: &str) -> String {
    let is_like_a_user = name.ends_with('>') && name.contains('<') && name.contains('@');
    let is_like_another = ["the gateway", "agent of ", "a host at ", "an unknown server"]
        .iter()
        .any(|start| name.to_lowercase().starts_with(start));
    if is_like_a_user || is_like_another { format!("the organization {name}") } else { name.to_owned() }
}

fn host_at(address: IpAddr) -> String {
    format!("a host at {address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organization_is_called_by_its_name_unless_that_reads_as_somebody_elses() {
        for plain in ["St Mary", "<script>alert(1)</script>", "R&D <north>", "a hospital"] {
            assert_eq!(organization_called(plain), plain);
        }
        for like in
            ["Ada <ada@lakeside.example>", "The gateway's operator", "agent of Lakeside", "the gateway"]
        {
            assert_eq!(organization_called(like), format!("the organization {like}"));
        }
    }
}
