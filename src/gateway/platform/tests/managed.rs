//! An admin offer and its two parties.

use super::*;

/// St Mary offers Lakeside to administer its Mirth; Offered.
pub(super) struct Managed {
    pub(super) world: World,
    pub(super) owner: Party,
    pub(super) recipient: Party,
    /// The managed one.
    pub(super) server: ServerId,
    /// Lakeside's, either of which may carry the sessions.
    pub(super) sources: [ServerId; 2],
    pub(super) connection: ConnectionId,
}

impl Managed {
    pub(super) async fn offered(access: Access) -> Self {
        let world = World::new().await;
        let owner = world.party("St Mary", Tier::Standard).await;
        let recipient = world.party("Lakeside", Tier::Free).await;
        let server = world.server(&owner, "St Mary Mirth").await;
        world.platform.set_tier(&host(), recipient.id, Tier::Standard).await.unwrap();
        let sources =
            [world.server(&recipient, "Lakeside Mirth").await, world.server(&recipient, "Spare").await];
        world.platform.set_tier(&host(), recipient.id, Tier::Free).await.unwrap();
        world.peers(&owner, &recipient).await;
        let offer = AdminOffer { server, to: recipient.id, access, life: OfferLife::default() };
        let connection = world.platform.offer_admin(&owner.initiator, &offer).await.unwrap();
        Self { world, owner, recipient, server, sources, connection }
    }

    pub(super) async fn active(access: Access) -> Self {
        let managed = Self::offered(access).await;
        managed.accept().await.unwrap();
        managed
    }

    pub(super) async fn offer(&self, access: Access) -> Result<ConnectionId, PlatformError> {
        let offer =
            AdminOffer { server: self.server, to: self.recipient.id, access, life: OfferLife::default() };
        self.world.platform.offer_admin(&self.owner.initiator, &offer).await
    }

    pub(super) async fn accept(&self) -> Result<String, PlatformError> {
        let done =
            self.world.platform.accept_offer(&self.recipient.initiator, self.connection, self.sources[0]);
        done.await.map(|status| status.to_string())
    }

    pub(super) async fn command(
        &self,
        party: &Party,
        command: ConnectionCommand,
    ) -> Result<String, PlatformError> {
        let done = self.world.platform.command(&party.initiator, self.connection, command).await;
        done.map(|status| status.to_string())
    }

    pub(super) async fn set_tier(&self, tier: Tier) {
        self.world.platform.set_tier(&host(), self.owner.id, tier).await.unwrap();
    }

    pub(super) async fn view(&self, party: &Party) -> ConnectionView {
        self.world.platform.connection(&party.initiator, self.connection).await.unwrap()
    }

    pub(super) async fn status(&self) -> String {
        self.view(&self.owner).await.status.to_string()
    }

    /// Returns a second process on the same database.
    pub(super) async fn second(&self, clock: Arc<Clock>) -> Platform {
        self.world.opened_with(clock).await
    }
}
