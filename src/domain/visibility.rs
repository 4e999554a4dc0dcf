//! Who sees what: one table that drives every outlet (list, detail, search, export, event stream,
//! audit, error text, log).
//!
//! A forbidden thing and a thing that does not exist get the same answer from the same code path;
//! the platform's look-ups take the viewer along and find nothing in either case.

/// What there is to see, always with respect to the organization that owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Datum {
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

impl Datum {
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

/// How the viewing organization stands to the datum's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Viewer {
    Owner,
    /// The other party of a connection that touches the datum, from Offered or Provisioning on.
    Party,
    /// An agreement and no more.
    Peer,
    Outsider,
}

impl Viewer {
    pub const ALL: [Self; 4] = [Self::Owner, Self::Party, Self::Peer, Self::Outsider];
}

/// How a datum shows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sight {
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

/// The table.
#[must_use]
pub const fn sight(datum: Datum, viewer: Viewer) -> Sight {
    match (datum, viewer) {
        (Datum::ServerName | Datum::ChannelPublic, Viewer::Owner | Viewer::Party)
        | (Datum::ServerDetail, Viewer::Owner) => Sight::Shown,
        (Datum::ChannelPublic, Viewer::Peer) => Sight::WhenPublished,
        (Datum::ChannelAddress, Viewer::Owner) => Sight::OwnFile,
        // Both organizations own a P2P connection's secret; each has its own reveal.
        (Datum::SharedSecret, Viewer::Owner | Viewer::Party)
        | (Datum::AdminSecret | Datum::ConnectorConfiguration | Datum::RegistrationToken, Viewer::Owner) => {
            Sight::Revealed
        }
        (Datum::ServerName, Viewer::Peer | Viewer::Outsider)
        | (Datum::ChannelPublic | Datum::SharedSecret, Viewer::Outsider)
        | (Datum::SharedSecret, Viewer::Peer)
        | (
            Datum::ServerDetail
            | Datum::ChannelAddress
            | Datum::AdminSecret
            | Datum::ConnectorConfiguration
            | Datum::RegistrationToken,
            Viewer::Party | Viewer::Peer | Viewer::Outsider,
        ) => Sight::Absent,
    }
}

/// Whether a list or detail contains the datum.
#[must_use]
pub fn listed(datum: Datum, viewer: Viewer, published: bool) -> bool {
    match sight(datum, viewer) {
        Sight::Shown => true,
        Sight::WhenPublished => published,
        Sight::Revealed | Sight::OwnFile | Sight::Absent => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_visibility_table_is_as_printed() {
        let row = |datum: Datum| format!("{datum:?}: {:?}", Viewer::ALL.map(|viewer| sight(datum, viewer)));
        assert_eq!(
            Datum::ALL.map(row),
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
        for datum in [
            Datum::SharedSecret,
            Datum::AdminSecret,
            Datum::RegistrationToken,
            Datum::ConnectorConfiguration,
            Datum::ChannelAddress,
        ] {
            for viewer in Viewer::ALL {
                assert!(!listed(datum, viewer, true), "{datum:?} to {viewer:?}");
            }
        }
    }
}
