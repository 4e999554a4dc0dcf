//! Whether a connection works: one truth, computed here alone from what its tasks measured. `adit health`
//! and the metric `adit_entry_working` tell it.

use super::facts::{AgentStatus, Changing, EntryStatus};
use super::standing::word;
use crate::domain::connection::Side;

/// What a connection needs to carry messages, as far as this host knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vitals<'a> {
    /// A word of the status table; empty while nothing was said.
    pub status: &'a str,
    pub tunnel: bool,
    /// `None` while nobody knows.
    pub mirth: Option<bool>,
    /// `None` at the target, which has no port.
    pub port_open: Option<bool>,
}

/// The first thing that a connection lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// People decided so: it is paused, ended, or not switched on yet.
    #[error("it is meant not to carry now")]
    NotMeant,
    #[error("this agent or the peer's is stopping")]
    Stopping,
    #[error("the gateway's rules do not let it carry")]
    Forbidden,
    #[error("there is no tunnel to the peer")]
    Tunnel,
    #[error("Mirth does not answer")]
    Mirth,
    #[error("it is not known whether Mirth answers")]
    MirthUnknown,
    #[error("the port is closed")]
    Port,
}

impl Vitals<'_> {
    /// Returns what the connection lacks, or `None` while messages or requests can pass.
    #[must_use]
    pub fn lack(&self) -> Option<Lack> {
        match self.status {
            word::ACTIVE => {}
            word::STOPPING => return Some(Lack::Stopping),
            word::READY | word::PAUSED | word::TERMINATED => return Some(Lack::NotMeant),
            _ => return Some(Lack::Forbidden),
        }
        match (self.tunnel, self.mirth, self.port_open) {
            (false, ..) => Some(Lack::Tunnel),
            (_, Some(false), _) => Some(Lack::Mirth),
            (_, None, _) => Some(Lack::MirthUnknown),
            (_, _, Some(false)) => Some(Lack::Port),
            (true, Some(true), Some(true) | None) => None,
        }
    }
}

impl Changing {
    /// In the words of the status table.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        if self.stopping.is_some() { word::STOPPING } else { self.status }
    }

    /// What the metric is computed from.
    #[must_use]
    pub fn vitals(&self, at_target: bool) -> Vitals<'static> {
        Vitals {
            status: self.word(),
            tunnel: self.has_voice(),
            mirth: self.mirth.on,
            port_open: (!at_target).then_some(self.port_open),
        }
    }
}

impl EntryStatus {
    /// What commands compute it from.
    #[must_use]
    pub fn vitals(&self) -> Vitals<'_> {
        Vitals {
            status: &self.status,
            tunnel: self.tunnel.on == Some(true),
            mirth: self.mirth.on,
            port_open: (self.side == Side::Source.word()).then_some(self.port_open),
        }
    }
}

/// Returns what keeps an agent from being ready, a line each; none while every entry that is meant to
/// carry can, and the agent has a link or a tunnel. A gateway that is away alone stops no message.
#[must_use]
pub fn unready(status: &AgentStatus) -> Vec<String> {
    let mut lacks: Vec<_> = status
        .entries
        .iter()
        .filter_map(|entry| match entry.vitals().lack() {
            None | Some(Lack::NotMeant) => None,
            Some(lack) => Some(format!("{}: {lack}", entry.name)),
        })
        .collect();
    if status.stopping {
        lacks.insert(0, "it was told to stop".into());
    }
    let has_tunnel = status.entries.iter().any(|entry| entry.tunnel.on == Some(true));
    if status.gateway.on != Some(true) && !has_tunnel {
        lacks.insert(0, "there is neither a link to the gateway nor a tunnel to a peer".into());
    }
    lacks
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKING: Vitals<'static> =
        Vitals { status: word::ACTIVE, tunnel: true, mirth: Some(true), port_open: Some(true) };

    #[test]
    fn a_connection_works_with_everything_it_needs_and_lacks_the_first_thing_it_has_not() {
        let lack = |vitals: Vitals<'static>| vitals.lack();
        assert_eq!(lack(WORKING), None);
        assert_eq!(lack(Vitals { port_open: None, ..WORKING }), None);
        assert_eq!(lack(Vitals { port_open: Some(false), ..WORKING }), Some(Lack::Port));
        assert_eq!(lack(Vitals { mirth: None, ..WORKING }), Some(Lack::MirthUnknown));
        assert_eq!(lack(Vitals { mirth: Some(false), ..WORKING }), Some(Lack::Mirth));
        assert_eq!(lack(Vitals { tunnel: false, mirth: None, ..WORKING }), Some(Lack::Tunnel));
        for status in ["", word::UNKNOWN, word::UNLISTED, word::UNFIT] {
            assert_eq!(lack(Vitals { status, ..WORKING }), Some(Lack::Forbidden), "{status}");
        }
    }

    #[test]
    fn what_people_switched_off_is_no_failure() {
        for status in [word::READY, word::PAUSED, word::TERMINATED] {
            assert_eq!(Vitals { status, tunnel: false, ..WORKING }.lack(), Some(Lack::NotMeant));
        }
    }

    #[test]
    fn an_agent_that_nobody_told_anything_is_not_working() {
        assert_eq!(Changing::default().vitals(true).lack(), Some(Lack::Forbidden));
    }
}
