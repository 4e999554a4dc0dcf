//! Who sees what: one table that drives every outlet (list, detail, search, export, event stream,
//! audit, error text, log).
//!
//! A forbidden thing and a thing that does not exist get the same answer from the same code path;
//! the platform's look-ups take the viewer along and find nothing in either case.

/// What there is to see, always with respect to the organization that owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// A server's name and description.
    ServerName,
    /// Every other field of a server.
    ServerDetail,
    /// A channel's public name, description and protocol.
    ChannelPublic,
    /// Where a channel forwards to; stands in the owner's agent file and nowhere in the platform.
    ChannelAddress,
    /// Of a P2P connection: both its organizations own it.
    SharedSecret,
    /// Of an admin connection: the managed server's organization owns it alone.
    AdminSecret,
    /// Belongs to one server; on a connection, to the target server.
    ConnectorConfiguration,
    RegistrationToken,
}

impl Field {
    pub const ALL: [Self; 8] = [
        Self::ServerName,
        Self::ServerDetail,
        Self::ChannelPublic,
        Self::ChannelAddress,
        Self::SharedSecret,
        Self::AdminSecret,
        Self::ConnectorConfiguration,
        Self::RegistrationToken,
    ];
}

/// How the viewing organization stands to the field's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Viewer {
    Owner,
    /// The other party of a connection that touches the field, from Offered or Provisioning on.
    Party,
    /// An agreement and no more.
    Peer,
    Outsider,
}

impl Viewer {
    pub const ALL: [Self; 4] = [Self::Owner, Self::Party, Self::Peer, Self::Outsider];
}

/// How a field shows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Visibility {
    /// In lists and details.
    Shown,
    /// In lists and details while its owner publishes it.
    WhenPublished,
    /// Only as the answer to a deliberate act, recorded, never in a list or detail: View Secret
    /// for a shared secret, issuing for a token and the connector file around it.
    Revealed,
    /// Only in a file on the owner's own host.
    OwnFile,
    /// Absent: not null, not empty, not hinted at.
    Absent,
}

/// Looks a field up in the table.
#[must_use]
pub const fn visibility_of(field: Field, viewer: Viewer) -> Visibility {
    match (field, viewer) {
        (Field::ServerName | Field::ChannelPublic, Viewer::Owner | Viewer::Party)
        | (Field::ServerDetail, Viewer::Owner) => Visibility::Shown,
        (Field::ChannelPublic, Viewer::Peer) => Visibility::WhenPublished,
        (Field::ChannelAddress, Viewer::Owner) => Visibility::OwnFile,
        // Both organizations own a P2P connection's secret; each has its own reveal.
        (Field::SharedSecret, Viewer::Owner | Viewer::Party)
        | (Field::AdminSecret | Field::ConnectorConfiguration | Field::RegistrationToken, Viewer::Owner) => {
            Visibility::Revealed
        }
        (Field::ServerName, Viewer::Peer | Viewer::Outsider)
        | (Field::ChannelPublic | Field::SharedSecret, Viewer::Outsider)
        | (Field::SharedSecret, Viewer::Peer)
        | (
            Field::ServerDetail
            | Field::ChannelAddress
            | Field::AdminSecret
            | Field::ConnectorConfiguration
            | Field::RegistrationToken,
            Viewer::Party | Viewer::Peer | Viewer::Outsider,
        ) => Visibility::Absent,
    }
}

/// Returns whether a list or detail contains the field.
#[must_use]
pub fn listed(field: Field, viewer: Viewer, published: bool) -> bool {
    match visibility_of(field, viewer) {
        Visibility::Shown => true,
        Visibility::WhenPublished => published,
        Visibility::Revealed | Visibility::OwnFile | Visibility::Absent => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_visibility_table_is_as_printed() {
        let row =
            |field: Field| format!("{field:?}: {:?}", Viewer::ALL.map(|viewer| visibility_of(field, viewer)));
        assert_eq!(
            Field::ALL.map(row),
            [
                "ServerName: [Shown, Shown, Absent, Absent]",
                "ServerDetail: [Shown, Absent, Absent, Absent]",
                "ChannelPublic: [Shown, Shown, WhenPublished, Absent]",
                "ChannelAddress: [OwnFile, Absent, Absent, Absent]",
                "SharedSecret: [Revealed, Revealed, Absent, Absent]",
                "AdminSecret: [Revealed, Absent, Absent, Absent]",
                "ConnectorConfiguration: [Revealed, Absent, Absent, Absent]",
                "RegistrationToken: [Revealed, Absent, Absent, Absent]",
            ]
        );
    }

    #[test]
    fn no_list_ever_holds_a_secret_a_token_or_an_internal_address() {
        for field in [
            Field::SharedSecret,
            Field::AdminSecret,
            Field::RegistrationToken,
            Field::ConnectorConfiguration,
            Field::ChannelAddress,
        ] {
            for viewer in Viewer::ALL {
                assert!(!listed(field, viewer, true), "{field:?} to {viewer:?}");
            }
        }
    }
}
