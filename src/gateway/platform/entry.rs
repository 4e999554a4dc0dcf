//! The lines each side's operator pastes into agent.toml for a connection.

use std::fmt::Write;

use adit_core::domain::access::Access;
use adit_core::domain::connection::{Protocol, Side};
use adit_core::domain::id::ServerId;

use super::lists::{CarriedView, ConnectionView};

/// Returns one entry of agent.toml, once both ends have a server. `address` is the operator's own and the
/// platform knows none: where the source listens, where the target forwards to, or where the managed Mirth
/// answers HTTPS.
#[must_use]
pub fn agent_entry(connection: &ConnectionView, side: Side, address: &str) -> Option<String> {
    let own = connection.end(side);
    let peer = connection.end(side.other());
    let (Some(_), Some(peer_server)) = (own.server, peer.server) else { return None };
    let (name, particular) = match (&connection.carried, side) {
        (CarriedView::Channel { channel, protocol }, Side::Source) => (
            entry_name(&format!("{channel}-to-{}", peer.name)),
            vec![("protocol", protocol.as_str().to_owned()), ("listen", address.to_owned())],
        ),
        (CarriedView::Channel { channel, protocol }, Side::Target) => (
            entry_name(&format!("{channel}-from-{}", peer.name)),
            vec![("protocol", protocol.as_str().to_owned()), ("forward_to", address.to_owned())],
        ),
        (CarriedView::Admin { access, .. }, Side::Source) => (
            format!("{}managing-{}", before_hyphen(&peer.name.to_string()), short(*access)),
            vec![("listen", address.to_owned())],
        ),
        (CarriedView::Admin { access, .. }, Side::Target) => (
            format!("{}manages-us-{}", before_hyphen(&peer.name.to_string()), short(*access)),
            vec![("mirth", format!("https://{address}")), ("max_access", access.as_str().to_owned())],
        ),
    };
    Some(table(kind(&connection.carried, side), &name, connection, peer_server, &particular))
}

const fn kind(carried: &CarriedView, side: Side) -> &'static str {
    match (carried, side) {
        (CarriedView::Channel { .. }, Side::Source) => "p2p_source",
        (CarriedView::Channel { .. }, Side::Target) => "p2p_target",
        (CarriedView::Admin { .. }, Side::Source) => "admin_managing",
        (CarriedView::Admin { .. }, Side::Target) => "admin_managed",
    }
}

/// Returns the short word: two connections between the same servers differ by it, and so do their entries'
/// names.
const fn short(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => "ro",
        Access::ReadWrite => "rw",
    }
}

fn table(
    kind: &str,
    name: &str,
    connection: &ConnectionView,
    peer: ServerId,
    particular: &[(&str, String)],
) -> String {
    let common = [("name", name.to_owned()), ("id", connection.id.to_string()), ("peer", peer.to_string())];
    let mut text = format!("[[{kind}]]\n");
    for (key, value) in common.iter().chain(particular) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key:<10} = \"{value}\"");
    }
    text
}

/// Returns where a Mirth usually listens for what the connection carries, for the operator to correct.
#[must_use]
pub const fn usual_address(carried: &CarriedView) -> &'static str {
    match carried {
        CarriedView::Channel { protocol: Protocol::Mllp, .. } => "127.0.0.1:6661",
        CarriedView::Channel { protocol: Protocol::Dicom, .. } => "127.0.0.1:4242",
        CarriedView::Channel { protocol: Protocol::Tcp, .. } => "127.0.0.1:9000",
        CarriedView::Admin { .. } => "127.0.0.1:8443",
    }
}

/// Returns the name as the beginning of an entry's name; nothing when no letter of it can stand there.
fn before_hyphen(name: &str) -> String {
    match entry_name(name) {
        name if name.is_empty() => name,
        name => format!("{name}-"),
    }
}

/// Returns the name as lower-case letters, digits and single hyphens; what is left out separates words.
fn entry_name(text: &str) -> String {
    const CHARS_MAX: usize = 48;
    let mut name = String::new();
    for letter in text.to_lowercase().chars() {
        if letter.is_ascii_alphanumeric() {
            name.push(letter);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.truncate(CHARS_MAX);
    name.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use adit_core::config::EntryName;

    use super::*;

    #[test]
    fn an_entry_name_is_made_of_hyphenated_alphanumerics() {
        assert_eq!(entry_name("ADT → St. Märy (prod)"), "adt-st-m-ry-prod");
        assert_eq!(entry_name(&"abc ".repeat(40)).len(), 47);
        for name in ["東京", &"x".repeat(80), "a"] {
            let name = format!("{}manages-us-ro", before_hyphen(name));
            assert!(name.parse::<EntryName>().is_ok(), "{name}");
        }
    }
}
