//! `adit admin grant`.

use clap::Subcommand;

use super::Desk;

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

pub(super) async fn run(desk: &Desk, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Offer { channel, to } => {
            let channel = desk.find_channel(&channel).await?;
            let to = desk.find_organization(&to).await?;
            let actor = desk.actor(Some(channel.organization_id)).await?;
            desk.made(desk.platform.offer_grant(&actor, channel.id, to.id).await?)
        }
        Verb::Request { channel, source } => {
            let channel = desk.find_channel(&channel).await?;
            let source = desk.find_server(&source).await?;
            let actor = desk.actor(Some(source.organization_id)).await?;
            desk.made(desk.platform.request_grant(&actor, channel.id, source.id).await?)
        }
        Verb::Approve { grant, source } => {
            let found = desk.find_grant(&grant).await?;
            let source = match source {
                Some(source) => Some(desk.find_server(&source).await?.id),
                None => None,
            };
            let actor = desk.actor(Some(found.decider_id)).await?;
            desk.made(desk.platform.approve_grant(&actor, found.id, source).await?)
        }
        Verb::Deny { grant } => {
            let found = desk.find_grant(&grant).await?;
            let actor = desk.actor(Some(found.decider_id)).await?;
            desk.platform.deny_grant(&actor, found.id).await?;
            desk.done("denied")
        }
        Verb::Revoke { grant } => {
            let found = desk.find_grant(&grant).await?;
            desk.confirm("the grant and its connection end for good")?;
            let actor = desk.actor(Some(found.owner_id)).await?;
            desk.platform.revoke_grant(&actor, found.id).await?;
            desk.done("revoked; a connection made from it is terminated")
        }
        Verb::Relinquish { grant } => {
            let found = desk.find_grant(&grant).await?;
            desk.confirm("the grant and its connection end for good")?;
            let actor = desk.actor(Some(found.holder_id)).await?;
            desk.platform.relinquish_grant(&actor, found.id).await?;
            desk.done("relinquished; a connection made from it is terminated")
        }
        Verb::List => list(desk).await,
    }
}

async fn list(desk: &Desk) -> anyhow::Result<()> {
    let all = desk.platform.grants(&desk.viewer().await?).await?;
    desk.show(&all, ["ID", "CHANNEL", "OWNER", "HOLDER", "ORIGIN", "STATUS", "CONNECTION"], |it| {
        [
            it.id.to_string(),
            it.channel_name.as_ref().map(ToString::to_string).unwrap_or_default(),
            it.owner.to_string(),
            it.holder.to_string(),
            it.origin.to_owned(),
            it.status.to_owned(),
            it.connection.map(|id| id.to_string()).unwrap_or_default(),
        ]
    })
}
