//! What ends with something that is to be deleted or ended: said before it is done, and once it is.

use serde::Serialize;
use utoipa::ToSchema;

use crate::http::output::Named;
use crate::platform;

/// How much ends with something, in numbers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Consequences {
    channels: usize,
    /// Pending and approved ones
    grants: usize,
    /// All but open offers
    connections: usize,
    /// Open offers to manage a server
    offers: usize,
    /// Who is at the other end of how much, by name
    parties: Vec<AffectedParty>,
}

/// The part of one peer in what ends.
#[derive(Debug, Serialize, ToSchema)]
struct AffectedParty {
    /// Called `Self` where it is one's own
    organization: Named,
    grants: usize,
    connections: usize,
    offers: usize,
}

impl From<platform::Consequences> for Consequences {
    fn from(all: platform::Consequences) -> Self {
        let parties = all.parties.into_iter().map(|party| AffectedParty {
            organization: Named::new(party.organization, party.name),
            grants: party.grants,
            connections: party.connections,
            offers: party.offers,
        });
        Self {
            channels: all.channels,
            grants: all.grants,
            connections: all.connections,
            offers: all.offers,
            parties: parties.collect(),
        }
    }
}
