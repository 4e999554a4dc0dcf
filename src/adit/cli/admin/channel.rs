//! `adit admin channel`.

use clap::Subcommand;

use adit_core::domain::connection::Protocol;
use adit_core::domain::name::{Description, Name};
use adit_gateway::platform::{ChannelFilter, ChannelText, ChannelView, NewChannel};

use super::CliSession;
use super::json::ChannelJson;
use super::output::Columns;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Make a channel of a server; prints its id. Peers see name, description and protocol
    Add {
        name: Name,
        /// The receiving server, by name or id
        #[arg(long)]
        server: String,
        /// mllp, dicom or tcp
        #[arg(long)]
        protocol: Protocol,
        #[arg(long, default_value = "")]
        description: Description,
        /// Hide it from peers until it is published
        #[arg(long)]
        unpublished: bool,
    },
    /// Show channels; with --as, those an organization sees
    List,
    /// Show a channel to peers
    Publish { channel: String },
    /// Hide a channel from peers without a connection to it
    Unpublish { channel: String },
    /// Change what peers read of a channel; what is not given stays
    Describe {
        channel: String,
        #[arg(long)]
        name: Option<Name>,
        #[arg(long)]
        description: Option<Description>,
    },
    /// Delete a channel for good, with its grants and connections
    Delete { channel: String },
}

pub(super) async fn run(session: &CliSession, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Add { name, server, protocol, description, unpublished } => {
            let server = session.find_server(&server).await?;
            let initiator = session.initiator(Some(server.organization_id)).await?;
            let new = NewChannel { server: server.id, name, description, protocol, published: !unpublished };
            session.made(session.platform.add_channel(&initiator, &new).await?)
        }
        Verb::List => {
            let (viewer, every) = (session.viewer().await?, ChannelFilter::default());
            let page = async |paging| session.platform.list_channels(&viewer, &every, &paging).await;
            session.show_pages(&COLUMNS, page).await
        }
        Verb::Publish { channel } => publish(session, &channel, true).await,
        Verb::Unpublish { channel } => publish(session, &channel, false).await,
        Verb::Describe { channel, name, description } => {
            let found = session.find_channel(&channel).await?;
            let text = ChannelText {
                name: name.unwrap_or(found.name),
                description: description.unwrap_or(found.description),
            };
            let initiator = session.initiator(Some(found.organization_id)).await?;
            session.platform.describe_channel(&initiator, found.id, &text).await?;
            session.done(&format!("{} is described anew", text.name))
        }
        Verb::Delete { channel } => delete(session, &channel).await,
    }
}

async fn publish(session: &CliSession, channel: &str, published: bool) -> anyhow::Result<()> {
    let found = session.find_channel(channel).await?;
    let initiator = session.initiator(Some(found.organization_id)).await?;
    session.platform.set_published(&initiator, found.id, published).await?;
    session.done(&format!("{} is {}", found.name, if published { "published" } else { "hidden" }))
}

async fn delete(session: &CliSession, channel: &str) -> anyhow::Result<()> {
    let found = session.find_channel(channel).await?;
    let initiator = session.initiator(Some(found.organization_id)).await?;
    let consequences = session.platform.channel_deletion(&initiator, found.id).await?;
    session.confirm(&format!("{} is deleted: {consequences}", found.name))?;
    session.platform.delete_channel(&initiator, found.id).await?;
    session.done(&format!("{} is deleted", found.name))
}

const COLUMNS: Columns<ChannelView, ChannelJson, 6> = Columns {
    head: ["ID", "ORGANIZATION", "SERVER", "NAME", "PROTOCOL", "PUBLISHED"],
    cells: |it| {
        [
            it.id.to_string(),
            it.organization.to_string(),
            it.server.as_ref().map(ToString::to_string).unwrap_or_default(),
            it.name.to_string(),
            it.protocol.to_string(),
            if it.published { "yes".into() } else { "no".into() },
        ]
    },
    json: |it| it.into(),
};
