//! The lines each side's operator pastes into agent.toml for a connection.

use std::fmt::Write;

use crate::domain::connection::{Protocol, Side};

use super::views::ConnectionView;

/// One entry of agent.toml. `address` is where the source listens or the target forwards to; it is
/// the operator's own and the platform knows none.
#[must_use]
pub fn agent_entry(connection: &ConnectionView, side: Side, address: &str) -> String {
    let (kind, key) = match side {
        Side::Source => ("p2p_source", "listen    "),
        Side::Target => ("p2p_target", "forward_to"),
    };
    let peer = connection.end(side.other());
    let preposition = match side {
        Side::Source => "to",
        Side::Target => "from",
    };
    let name = format!("{}-{preposition}-{}", connection.channel, peer.name);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "[[{kind}]]\n\
         name       = \"{}\"\n\
         id         = \"{}\"\n\
         peer       = \"{}\"\n\
         protocol   = \"{}\"\n\
         {key} = \"{address}\"\n",
        entry_name(&name),
        connection.id,
        peer.server,
        connection.protocol,
    );
    text
}

/// Where a Mirth usually listens for this protocol, for the operator to correct.
#[must_use]
pub const fn usual_address(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Mllp => "127.0.0.1:6661",
        Protocol::Dicom => "127.0.0.1:4242",
        Protocol::Tcp => "127.0.0.1:9000",
    }
}

/// Lower-case letters, digits and single hyphens; what is left out separates words.
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
    use super::*;

    #[test]
    fn an_entry_name_is_made_of_letters_digits_and_hyphens() {
        assert_eq!(entry_name("ADT → St. Märy (prod)"), "adt-st-m-ry-prod");
        assert_eq!(entry_name(&"abc ".repeat(40)).len(), 47);
    }
}
