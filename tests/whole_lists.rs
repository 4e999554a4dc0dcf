//! The platform's lists, read to their ends: what tests compare as a whole.

use adit_core::domain::page::{Page, Paging};
use adit_gateway::platform::{
    ChannelFilter, ChannelView, ConnectionFilter, ConnectionView, GrantFilter, GrantView, Initiator,
    OrganizationView, PeeringFilter, PeeringView, Platform, PlatformError, ServerFilter, ServerView,
};

pub(crate) trait WholeLists {
    async fn organizations(&self, initiator: &Initiator) -> Result<Vec<OrganizationView>, PlatformError>;
    async fn servers(&self, initiator: &Initiator) -> Result<Vec<ServerView>, PlatformError>;
    async fn channels(&self, initiator: &Initiator) -> Result<Vec<ChannelView>, PlatformError>;
    async fn peerings(&self, initiator: &Initiator) -> Result<Vec<PeeringView>, PlatformError>;
    async fn grants(&self, initiator: &Initiator) -> Result<Vec<GrantView>, PlatformError>;
    async fn connections(&self, initiator: &Initiator) -> Result<Vec<ConnectionView>, PlatformError>;
}

async fn to_the_end<T>(
    page: impl AsyncFn(Paging) -> Result<Page<T>, PlatformError>,
) -> Result<Vec<T>, PlatformError> {
    let (mut rows, mut paging) = (Vec::new(), Paging::default());
    loop {
        let read = page(paging.clone()).await?;
        rows.extend(read.rows);
        let Some(next) = read.next else { return Ok(rows) };
        paging = paging.after(Some(next));
    }
}

impl WholeLists for Platform {
    async fn organizations(&self, initiator: &Initiator) -> Result<Vec<OrganizationView>, PlatformError> {
        to_the_end(async |paging| self.list_organizations(initiator, &paging).await).await
    }

    async fn servers(&self, initiator: &Initiator) -> Result<Vec<ServerView>, PlatformError> {
        let every = ServerFilter::default();
        to_the_end(async |paging| self.list_servers(initiator, &every, &paging).await).await
    }

    async fn channels(&self, initiator: &Initiator) -> Result<Vec<ChannelView>, PlatformError> {
        let every = ChannelFilter::default();
        to_the_end(async |paging| self.list_channels(initiator, &every, &paging).await).await
    }

    async fn peerings(&self, initiator: &Initiator) -> Result<Vec<PeeringView>, PlatformError> {
        let every = PeeringFilter::default();
        to_the_end(async |paging| self.list_peerings(initiator, &every, &paging).await).await
    }

    async fn grants(&self, initiator: &Initiator) -> Result<Vec<GrantView>, PlatformError> {
        let every = GrantFilter::default();
        to_the_end(async |paging| self.list_grants(initiator, &every, &paging).await).await
    }

    async fn connections(&self, initiator: &Initiator) -> Result<Vec<ConnectionView>, PlatformError> {
        let every = ConnectionFilter::default();
        to_the_end(async |paging| self.list_connections(initiator, &every, &paging).await).await
    }
}
