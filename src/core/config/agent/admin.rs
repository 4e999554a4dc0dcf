//! The entries of admin sessions: who listens for the Administrator, and which Mirth is managed, how
//! far.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use ipnet::IpNet;

use super::users::{KnownUsers, LocalUser, read_allow_users};
use super::{Entry, Service, read_entry};
use crate::config::claims::Claims;
use crate::config::document::Section;
use crate::config::{MirthUrl, value};
use crate::domain::access::{Access, Category, OptIn};
use crate::domain::id::KeyFingerprint;
use crate::domain::limits;

/// The recipient's side: an Administrator on this host or network works on the peer's Mirth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminManaging {
    pub entry: Entry,
    /// HTTPS.
    pub listen: SocketAddr,
    /// Who may connect where that is more than this host.
    pub allow_from: Vec<IpNet>,
    /// Whose connections are taken; `None`: anybody's.
    pub allow_users: Option<Vec<LocalUser>>,
    /// Names besides the address by which people open it, lower-case; with the port only where people use
    /// another than the listener's.
    pub names: Vec<String>,
}

impl AdminManaging {
    /// Returns whether a client may connect: loopback always may; others only where the file names their
    /// network.
    #[must_use]
    pub fn lets_in(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.allow_from.iter().any(|network| network.contains(&address))
    }
}

/// The managed server's side: what partners may do on the local Mirth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminManaged {
    pub entry: Entry,
    pub mirth: MirthUrl,
    /// Of Mirth's certificate; absent: the one that a person trusted by command.
    pub mirth_key: Option<KeyFingerprint>,
    pub hide: BTreeSet<Category>,
    pub show: BTreeSet<OptIn>,
    /// Whether view-only partners see `********` in the place of credentials.
    pub mask: bool,
}

impl AdminManaged {
    #[must_use]
    pub fn max_access(&self) -> Access {
        match self.entry.service {
            Service::Admin { access_max } => access_max,
            Service::Channel(_) => Access::ReadOnly,
        }
    }
}

pub(super) fn read_managing(
    section: &mut Section<'_, '_>,
    claims: &mut Claims,
    knows: KnownUsers<'_>,
) -> Option<AdminManaging> {
    let entry = read_entry(section, claims, Some(Service::Admin { access_max: Access::ReadWrite }));
    let listen = section.required(
        "listen",
        "write the address the Administrator connects to, such as \"127.0.0.1:8443\"",
        value::fixed_address,
    );
    let allow_from = section.optional("allow_from", networks).unwrap_or_default();
    let names = section
        .optional("names", |value| value::list(0..=limits::ADMIN_NETWORKS_MAX, value, host_name))
        .unwrap_or_default();
    let allow_users = read_allow_users(section, listen, knows);
    let listen = listen?;
    claims.listen(section, "listen", listen);
    if !listen.ip().is_loopback() && allow_from.is_empty() {
        section.clash(
            "listen",
            "write a loopback address, or name the networks that may connect with `allow_from = [\"10.1.2.0/24\"]`"
                .into(),
        );
        return None;
    }
    Some(AdminManaging { entry: entry?, listen, allow_from, allow_users, names })
}

pub(super) fn read_managed(section: &mut Section<'_, '_>, claims: &mut Claims) -> Option<AdminManaged> {
    let access_max = section
        .optional("max_access", |value| {
            value::word(&Access::ALL.map(|access| (access.as_str(), access)), value)
        })
        .unwrap_or(Access::ReadOnly);
    let entry = read_entry(section, claims, Some(Service::Admin { access_max }));
    let mirth = section.required(
        "mirth",
        "write where the local Mirth serves HTTPS, such as \"https://127.0.0.1:8443\"",
        value::text,
    );
    let mirth_key = section.optional("mirth_key", value::text);
    let hide = section
        .optional("hide", |value| words(&Category::ALL.map(|category| (category.as_str(), category)), value))
        .unwrap_or_default();
    let show = section
        .optional("show", |value| words(&OptIn::ALL.map(|opt_in| (opt_in.as_str(), opt_in)), value))
        .unwrap_or_default();
    let mask = section.optional("mask", value::boolean).unwrap_or(true);
    Some(AdminManaged { entry: entry?, mirth: mirth?, mirth_key, hide, show, mask })
}

fn words<T: Copy + Ord>(
    known: &[(&str, T)],
    value: &toml::de::DeValue<'_>,
) -> Result<BTreeSet<T>, value::Expected> {
    let read = value::list(0..=known.len(), value, |element| value::word(known, element))?;
    Ok(read.into_iter().collect())
}

fn networks(value: &toml::de::DeValue<'_>) -> Result<Vec<IpNet>, value::Expected> {
    value::list(0..=limits::ADMIN_NETWORKS_MAX, value, |element| {
        let expected =
            || value::Expected("expected a network, such as \"10.1.2.0/24\" or \"2001:db8::/64\"".into());
        let network: IpNet = value::string(element)?.parse().map_err(|_| expected())?;
        if network != network.trunc() {
            let meant = format!("expected a network; for this one write \"{}\"", network.trunc());
            return Err(value::Expected(meant));
        }
        if network.prefix_len() == 0 {
            return Err(value::Expected("expected a network smaller than every address there is".into()));
        }
        Ok(network)
    })
}

fn host_name(value: &toml::de::DeValue<'_>) -> Result<String, value::Expected> {
    const CHARS_MAX: usize = 253;
    let host = value::string(value)?.to_ascii_lowercase();
    let (name, port) = host.split_once(':').map_or((host.as_str(), None), |(name, port)| (name, Some(port)));
    let is_name = !name.is_empty()
        && name.len() <= CHARS_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    // In the one spelling that clients send.
    let is_port = |port: &str| port.parse::<NonZeroU16>().is_ok_and(|number| number.to_string() == port);
    if is_name && port.is_none_or(is_port) {
        Ok(host)
    } else {
        Err(value::Expected(
            "expected a host name, such as \"mirth-partner.example.org\", with a port only where people use \
             another than the listener's"
                .into(),
        ))
    }
}
