//! `adit admin peering`.

use clap::Subcommand;

use super::Desk;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Ask an organization for an agreement, for the one of --as; prints its id
    Request {
        /// By name or id
        #[arg(long)]
        with: String,
    },
    /// Accept a request, for its recipient
    Accept { peering: String },
    /// Decline a request, for its recipient
    Decline { peering: String },
    /// Withdraw a request, for its requester
    Withdraw { peering: String },
    /// Show requests and agreements
    List,
}

pub(super) async fn run(desk: &Desk, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Request { with } => {
            let with = desk.find_organization(&with).await?;
            desk.made(desk.platform.request_peering(&desk.actor(None).await?, with.id).await?)
        }
        Verb::Accept { peering } => {
            let found = desk.find_peering(&peering).await?;
            let actor = desk.actor(Some(found.recipient_id)).await?;
            desk.platform.accept_peering(&actor, found.id).await?;
            desk.done(&format!("{} and {} have an agreement", found.requester, found.recipient))
        }
        Verb::Decline { peering } => {
            let found = desk.find_peering(&peering).await?;
            let actor = desk.actor(Some(found.recipient_id)).await?;
            desk.platform.decline_peering(&actor, found.id).await?;
            desk.done(&format!("{} declined", found.recipient))
        }
        Verb::Withdraw { peering } => {
            let found = desk.find_peering(&peering).await?;
            let actor = desk.actor(Some(found.requester_id)).await?;
            desk.platform.withdraw_peering(&actor, found.id).await?;
            desk.done(&format!("{} withdrew the request", found.requester))
        }
        Verb::List => {
            let all = desk.platform.peerings(&desk.viewer().await?).await?;
            desk.show(&all, ["ID", "REQUESTER", "PEER", "STATUS", "REQUESTED"], |it| {
                [
                    it.id.to_string(),
                    it.requester.to_string(),
                    it.peer.clone(),
                    it.status.to_owned(),
                    it.requested_at.to_string(),
                ]
            })
        }
    }
}
