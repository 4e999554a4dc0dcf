//! Admin connections of a lab: how they are written on the command line, and the keys that its files
//! trust from the start, since no person compares fingerprints there.

use std::net::SocketAddr;
use std::str::FromStr;

use super::{LabError, two_addresses};
use crate::admin_client::shown_key;
use adit_core::domain::access::Access;
use adit_core::domain::connection::Side;
use adit_core::domain::id::KeyFingerprint;

/// One admin connection of a lab: agent A listens for the Administrator, agent B manages the Mirth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabAdmin {
    pub access: Access,
    pub listen: SocketAddr,
    pub mirth: SocketAddr,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabAdmin {
    #[error("expected ro|rw:LISTEN:MIRTH_HTTPS, such as ro:127.0.0.1:9443:127.0.0.1:8443")]
    Shape,
    #[error("`{found}` is no access; write ro for view only or rw for full control")]
    Access { found: String },
    #[error("`{listen}` is no address of this host alone; agent A of a lab listens on 127.0.0.1 or [::1]")]
    NotLoopback { listen: SocketAddr },
}

impl FromStr for LabAdmin {
    type Err = InvalidLabAdmin;

    fn from_str(text: &str) -> Result<Self, InvalidLabAdmin> {
        let (access, addresses) = text.split_once(':').ok_or(InvalidLabAdmin::Shape)?;
        let access = match access {
            "ro" => Access::ReadOnly,
            "rw" => Access::ReadWrite,
            other => return Err(InvalidLabAdmin::Access { found: other.into() }),
        };
        let (listen, mirth) = two_addresses(addresses).ok_or(InvalidLabAdmin::Shape)?;
        if !listen.ip().is_loopback() {
            return Err(InvalidLabAdmin::NotLoopback { listen });
        }
        Ok(Self { access, listen, mirth })
    }
}

/// What each side of a lab trusts.
pub(super) struct Keys {
    pub(super) a: KeyFingerprint,
    pub(super) b: KeyFingerprint,
    /// In the order of the admin connections.
    pub(super) mirths: Vec<KeyFingerprint>,
}

impl Keys {
    /// Returns what an admin entry has beyond what the gateway prints.
    pub(super) fn lines(&self, side: Side, index: usize) -> String {
        match side {
            Side::Source => format!("peer_key   = \"{}\"\n", self.b),
            Side::Target => {
                format!("peer_key   = \"{}\"\nmirth_key  = \"{}\"\n", self.a, self.mirths[index])
            }
        }
    }
}

/// Returns an entry with its number in its name, but for the first: the gateway names those of one access and
/// one pair of servers alike, and an agent's file must not.
pub(super) fn numbered(entry: &str, number: usize) -> String {
    if number == 1 {
        return entry.into();
    }
    // The name is an entry's first value.
    entry.replacen("\"\n", &format!("-{number}\"\n"), 1)
}

/// Returns what each Mirth shows now.
pub(super) async fn mirth_keys(admin: &[LabAdmin]) -> Result<Vec<KeyFingerprint>, LabError> {
    let mut keys = Vec::with_capacity(admin.len());
    for &LabAdmin { mirth: address, .. } in admin {
        keys.push(shown_key(address).await.map_err(|source| LabError::NoMirth { address, source })?);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_connection_is_read_with_addresses_of_either_family() {
        let read: LabAdmin = "ro:127.0.0.1:9443:[fd00::1]:8443".parse().unwrap();
        assert_eq!(read.access, Access::ReadOnly);
        assert_eq!(read.listen, "127.0.0.1:9443".parse().unwrap());
        assert_eq!(read.mirth, "[fd00::1]:8443".parse().unwrap());
        let read: LabAdmin = "rw:[::1]:1:10.0.0.1:2".parse().unwrap();
        assert_eq!((read.access, read.listen), (Access::ReadWrite, "[::1]:1".parse().unwrap()));
    }

    #[test]
    fn a_second_entry_of_one_access_has_another_name() {
        let entry = "[[admin_managing]]\nname       = \"a-ro\"\nid         = \"1\"\n";
        assert_eq!(numbered(entry, 1), entry);
        assert_eq!(numbered(entry, 2), "[[admin_managing]]\nname       = \"a-ro-2\"\nid         = \"1\"\n");
    }

    #[test]
    fn what_is_no_admin_connection_is_named() {
        for text in ["ro", "ro:8443", "ro:127.0.0.1:9443", "rw:127.0.0.1:9443:https://127.0.0.1:8443"] {
            assert_eq!(text.parse::<LabAdmin>(), Err(InvalidLabAdmin::Shape), "{text}");
        }
        let access = "all:127.0.0.1:1:127.0.0.1:2".parse::<LabAdmin>();
        assert_eq!(access, Err(InvalidLabAdmin::Access { found: "all".into() }));
        let open = "ro:0.0.0.0:9443:127.0.0.1:8443".parse::<LabAdmin>();
        assert_eq!(open, Err(InvalidLabAdmin::NotLoopback { listen: "0.0.0.0:9443".parse().unwrap() }));
    }
}
