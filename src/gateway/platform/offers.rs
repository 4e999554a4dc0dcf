//! Admin offers: the owner of a server offers a peer to administer it, and the peer accepts by naming
//! the server of its own whose agent will carry the sessions. Nobody can ask for an offer.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::store::{ConnectionRecord, NewOffer};
use adit_core::domain::access::Access;
use adit_core::domain::connection::Side;
use adit_core::domain::id::{ConnectionId, OrganizationId, ServerId};
use adit_core::domain::limits::{OFFER_LIFE_DEFAULT, OFFER_LIFE_MAX, OFFER_LIFE_MIN};
use adit_core::domain::role::Permission;
use adit_core::domain::secret::Secret;
use adit_core::domain::status::{self, Actor, Event, Status};
use adit_net::identity::random;

use super::act::Act;
use super::error::{ActionRefusal, PlatformError, Resource};
use super::grants::agreement_with;
use super::{Action, Initiator, Platform, connections};

/// What is offered to whom, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminOffer {
    pub server: ServerId,
    pub to: OrganizationId,
    pub access: Access,
    pub life: OfferLife,
}

/// How long an offer may be accepted: one hour to thirty days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferLife(Duration);

impl Default for OfferLife {
    fn default() -> Self {
        Self(OFFER_LIFE_DEFAULT)
    }
}

impl fmt::Display for OfferLife {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.0.as_secs() / 3600;
        f.pad(&if hours.is_multiple_of(24) { format!("{}d", hours / 24) } else { format!("{hours}h") })
    }
}

impl FromStr for OfferLife {
    type Err = InvalidLife;

    fn from_str(text: &str) -> Result<Self, InvalidLife> {
        let (number, unit_hours) = match (text.strip_suffix('h'), text.strip_suffix('d')) {
            (Some(number), _) => (number, 1),
            (_, Some(number)) => (number, 24),
            (None, None) => ("", 0),
        };
        let all_digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let hours =
            number.parse::<u64>().ok().filter(|_| all_digits).and_then(|it| it.checked_mul(unit_hours));
        let life = hours.and_then(|hours| hours.checked_mul(3600)).map(Duration::from_secs);
        life.filter(|life| (OFFER_LIFE_MIN..=OFFER_LIFE_MAX).contains(life))
            .map(Self)
            .ok_or_else(|| InvalidLife { found: text.into() })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no life of an offer; write hours or days from 1h to 30d, such as 12h or 7d")]
pub struct InvalidLife {
    found: String,
}

impl Platform {
    /// Offers administration, by the owner of the server to the peer of a live agreement. Returns the
    /// connection, Offered.
    pub async fn offer_admin(
        &self,
        initiator: &Initiator,
        offer: &AdminOffer,
    ) -> Result<ConnectionId, PlatformError> {
        let offer = offer.clone();
        self.act(
            initiator,
            Action::OfferAdministration,
            format!("server {}", offer.server),
            async move |act: &mut Act| make(act, &offer).await,
        )
        .await
    }

    /// Accepts an offer, by the recipient, from the server of its own whose agent carries the sessions.
    pub async fn accept_offer(
        &self,
        initiator: &Initiator,
        id: ConnectionId,
        source: ServerId,
    ) -> Result<Status, PlatformError> {
        self.act(initiator, Action::AcceptOffer, format!("connection {id}"), async move |act: &mut Act| {
            accept(act, id, source).await
        })
        .await
    }

    /// Declines an offer, by the recipient.
    pub async fn decline_offer(
        &self,
        initiator: &Initiator,
        id: ConnectionId,
    ) -> Result<Status, PlatformError> {
        self.end_offer(initiator, Action::DeclineOffer, id, Event::Decline).await
    }

    /// Withdraws an offer, by the owner of the server.
    pub async fn withdraw_offer(
        &self,
        initiator: &Initiator,
        id: ConnectionId,
    ) -> Result<Status, PlatformError> {
        self.end_offer(initiator, Action::WithdrawOffer, id, Event::Withdraw).await
    }

    async fn end_offer(
        &self,
        initiator: &Initiator,
        action: Action,
        id: ConnectionId,
        event: Event,
    ) -> Result<Status, PlatformError> {
        self.act(initiator, action, format!("connection {id}"), async move |act: &mut Act| {
            end(act, id, event).await
        })
        .await
    }
}

async fn make(act: &mut Act, offer: &AdminOffer) -> Result<ConnectionId, PlatformError> {
    let own = act.member(Permission::Change)?;
    let server = act.own_server(offer.server, own).await?;
    if offer.to == own {
        return Err(ActionRefusal::OfferToSelf.into());
    }
    let agreement = agreement_with(act, own, offer.to).await?;
    let Some(owner) = act.tx.organization(own).await? else {
        return Err(PlatformError::NotFound { resource: Resource::Organization });
    };
    if offer.access == Access::ReadWrite && !owner.tier.offers_admin_rw() {
        return Err(ActionRefusal::ReadWriteTier { owner: owner.name }.into());
    }
    let event = status::on(None, offer.access.kind(), Event::Create, Actor::Party(Side::Target));
    let new = NewOffer {
        id: ConnectionId::from_random(random::bytes()),
        access: offer.access,
        agreement,
        recipient: offer.to,
        target: server.id,
        status: event.map_err(ActionRefusal::from)?,
        expires_at: act.now.saturating_add(offer.life.0),
        created_at: act.now,
    };
    provision(act, &new).await?;
    act.concerns(offer.to);
    act.made(Resource::Connection, new.id);
    act.describe(format!(
        "{} of {} by {}, open until {}",
        new.access.kind(),
        server.name,
        server.organization_name,
        new.expires_at
    ));
    Ok(new.id)
}

/// Provisions the connection: as for P2P, the set-up is one transaction and nobody sees it half done.
async fn provision(act: &mut Act, new: &NewOffer) -> Result<(), PlatformError> {
    const EPOCH: u32 = 1;
    act.tx.insert_offer(new).await?;
    let sealed = act.seal.seal(new.id, EPOCH, &Secret::from_bytes(random::bytes()))?;
    act.tx.put_secret(new.id, EPOCH, &sealed, act.now).await?;
    if let Some(offer) = act.tx.connection(new.id).await? {
        connections::shift(&mut act.tx, &offer, Event::SetUpDone, Actor::System, None, act.now).await?;
    }
    Ok(())
}

async fn accept(act: &mut Act, id: ConnectionId, source: ServerId) -> Result<Status, PlatformError> {
    let own = act.member(Permission::Change)?;
    let (offer, side) = act.connection(id, own).await?;
    let actor = Actor::Party(side);
    status::on(Some(offer.status), offer.kind(), Event::Accept, actor).map_err(ActionRefusal::from)?;
    let source = act.own_server(source, own).await?;
    agreement_with(act, offer.target.organization, own).await?;
    act.tx.set_source(id, source.id).await?;
    let to = connections::shift(&mut act.tx, &offer, Event::Accept, actor, None, act.now).await?;
    act.describe(format!("{}, from {} to {to}", route(&offer, source.name.as_str()), offer.status));
    Ok(to)
}

async fn end(act: &mut Act, id: ConnectionId, event: Event) -> Result<Status, PlatformError> {
    let own = act.member(Permission::Change)?;
    let (offer, side) = act.connection(id, own).await?;
    let actor = Actor::Party(side);
    let to = connections::shift(&mut act.tx, &offer, event, actor, None, act.now).await?;
    act.describe(format!("{}, from {} to {to}", route(&offer, offer.source.name().as_str()), offer.status));
    Ok(to)
}

fn route(offer: &ConnectionRecord, source: &str) -> String {
    format!("{} {source} → {}", offer.kind(), offer.target.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_life_of_an_offer_reads_back_from_an_hour_to_thirty_days() {
        for text in ["1h", "23h", "1d", "25h", "7d", "30d"] {
            assert_eq!(text.parse::<OfferLife>().map(|life| life.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("720h".parse::<OfferLife>().unwrap().to_string(), "30d");
        assert_eq!(OfferLife::default().to_string(), "7d");
        for text in
            ["", "0h", "721h", "31d", "7", "d", "-1d", "+7d", "7 d", "1w", "1.5d", "99999999999999999999d"]
        {
            let error = text.parse::<OfferLife>().unwrap_err().to_string();
            assert!(error.contains("from 1h to 30d"), "{text:?}: {error}");
        }
    }
}
