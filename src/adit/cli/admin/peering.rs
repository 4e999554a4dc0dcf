//! `adit admin peering`.

use clap::Subcommand;

use adit_gateway::platform::{PeeringFilter, PeeringView};

use super::CliSession;
use super::json::PeeringJson;
use super::output::Columns;

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
    /// End an agreement, for the party of --as, with all grants, connections and offers between the two
    End { peering: String },
    /// Show requests and agreements
    List,
}

pub(super) async fn run(session: &CliSession, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Request { with } => {
            let with = session.find_organization(&with).await?;
            session.made(session.platform.request_peering(&session.initiator(None).await?, with.id).await?)
        }
        Verb::Accept { peering } => {
            let found = session.find_peering(&peering, "requested").await?;
            let initiator = session.initiator(Some(found.recipient_id)).await?;
            session.platform.accept_peering(&initiator, found.id).await?;
            session.done(&format!("{} and {} have an agreement", found.requester, found.recipient))
        }
        Verb::Decline { peering } => {
            let found = session.find_peering(&peering, "requested").await?;
            let initiator = session.initiator(Some(found.recipient_id)).await?;
            session.platform.decline_peering(&initiator, found.id).await?;
            session.done(&format!("{} declined", found.recipient))
        }
        Verb::Withdraw { peering } => {
            let found = session.find_peering(&peering, "requested").await?;
            let initiator = session.initiator(Some(found.requester_id)).await?;
            session.platform.withdraw_peering(&initiator, found.id).await?;
            session.done(&format!("{} withdrew the request", found.requester))
        }
        Verb::End { peering } => end(session, &peering).await,
        Verb::List => {
            let (viewer, every) = (session.viewer().await?, PeeringFilter::default());
            let page = async |paging| session.platform.list_peerings(&viewer, &every, &paging).await;
            session.show_pages(&COLUMNS, page).await
        }
    }
}

async fn end(session: &CliSession, peering: &str) -> anyhow::Result<()> {
    let found = session.find_peering(peering, "live").await?;
    let (one, other) = (&found.requester, &found.recipient);
    let parties = [(found.requester_id, one.to_string()), (found.recipient_id, other.to_string())];
    let initiator = session.party(parties).await?;
    let consequences = session.platform.peering_ending(&initiator, found.id).await?;
    session.confirm(&format!("the agreement of {one} and {other} is ended: {consequences}"))?;
    session.platform.end_peering(&initiator, found.id).await?;
    session.done(&format!("{one} and {other} have no agreement any more"))
}

const COLUMNS: Columns<PeeringView, PeeringJson, 5> = Columns {
    head: ["ID", "REQUESTER", "PEER", "STATUS", "REQUESTED"],
    cells: |it| {
        [
            it.id.to_string(),
            it.requester.to_string(),
            it.peer.clone(),
            it.status.to_owned(),
            it.requested_at.to_string(),
        ]
    },
    json: |it| it.into(),
};
