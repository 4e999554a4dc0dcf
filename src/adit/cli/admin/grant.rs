//! `adit admin grant`.

use clap::Subcommand;

use adit_gateway::platform::{GrantFilter, GrantView};

use super::CliSession;
use super::json::GrantJson;
use super::output::Columns;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Offer a channel to a peer, for the channel's owner; prints the grant's id
    Offer {
        #[arg(long)]
        channel: String,
        /// The peer, by name or id
        #[arg(long, value_name = "ORGANIZATION")]
        to: String,
    },
    /// Ask to send to a channel, for the sending server's organization; prints the grant's id
    Request {
        #[arg(long)]
        channel: String,
        /// The sending server, by name or id
        #[arg(long, value_name = "SERVER")]
        source: String,
    },
    /// Approve a grant, for its decider; prints the id of the connection it makes
    Approve {
        grant: String,
        /// For an offer: the sending server
        #[arg(long, value_name = "SERVER")]
        source: Option<String>,
    },
    /// Deny a grant, for its decider
    Deny { grant: String },
    /// End a grant and its connection, for the channel's owner
    Revoke { grant: String },
    /// End a grant and its connection, for its holder
    Relinquish { grant: String },
    /// Show grants
    List,
}

pub(super) async fn run(session: &CliSession, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Offer { channel, to } => {
            let channel = session.find_channel(&channel).await?;
            let to = session.find_organization(&to).await?;
            let initiator = session.initiator(Some(channel.organization_id)).await?;
            session.made(session.platform.offer_grant(&initiator, channel.id, to.id).await?)
        }
        Verb::Request { channel, source } => {
            let channel = session.find_channel(&channel).await?;
            let source = session.find_server(&source).await?;
            let initiator = session.initiator(Some(source.organization_id)).await?;
            session.made(session.platform.request_grant(&initiator, channel.id, source.id).await?)
        }
        Verb::Approve { grant, source } => {
            let found = session.find_grant(&grant).await?;
            let source = match source {
                Some(source) => Some(session.find_server(&source).await?.id),
                None => None,
            };
            let initiator = session.initiator(Some(found.decider_id)).await?;
            session.made(session.platform.approve_grant(&initiator, found.id, source).await?)
        }
        Verb::Deny { grant } => {
            let found = session.find_grant(&grant).await?;
            let initiator = session.initiator(Some(found.decider_id)).await?;
            session.platform.deny_grant(&initiator, found.id).await?;
            session.done("denied")
        }
        Verb::Revoke { grant } => {
            let found = session.find_grant(&grant).await?;
            session.confirm("the grant and its connection end for good")?;
            let initiator = session.initiator(Some(found.owner_id)).await?;
            session.platform.revoke_grant(&initiator, found.id).await?;
            session.done("revoked; a connection made from it is terminated")
        }
        Verb::Relinquish { grant } => {
            let found = session.find_grant(&grant).await?;
            session.confirm("the grant and its connection end for good")?;
            let initiator = session.initiator(Some(found.holder_id)).await?;
            session.platform.relinquish_grant(&initiator, found.id).await?;
            session.done("relinquished; a connection made from it is terminated")
        }
        Verb::List => list(session).await,
    }
}

async fn list(session: &CliSession) -> anyhow::Result<()> {
    let (viewer, every) = (session.viewer().await?, GrantFilter::default());
    let page = async |paging| session.platform.list_grants(&viewer, &every, &paging).await;
    session.show_pages(&COLUMNS, page).await
}

const COLUMNS: Columns<GrantView, GrantJson, 7> = Columns {
    head: ["ID", "CHANNEL", "OWNER", "HOLDER", "ORIGIN", "STATUS", "CONNECTION"],
    cells: |it| {
        [
            it.id.to_string(),
            it.channel_name.as_ref().map(ToString::to_string).unwrap_or_default(),
            it.owner.to_string(),
            it.holder.to_string(),
            it.origin.to_owned(),
            it.status.to_owned(),
            it.connection.map(|id| id.to_string()).unwrap_or_default(),
        ]
    },
    json: |it| it.into(),
};
