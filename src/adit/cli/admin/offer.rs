//! `adit admin offer`.

use std::collections::BTreeSet;

use clap::{Subcommand, ValueEnum};

use adit_core::domain::access::Access;
use adit_core::domain::connection::ConnectionType;
use adit_core::domain::status::Status;
use adit_gateway::platform::{AdminOffer, CarriedView, ConnectionFilter, ConnectionView, OfferLife};

use super::CliSession;
use super::json::ConnectionJson;
use super::output::Columns;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Offer a peer to administer a server, for the server's owner; prints the connection's id
    Make {
        /// The managed server, by name or id
        #[arg(long)]
        server: String,
        /// The peer, by name or id
        #[arg(long, value_name = "ORGANIZATION")]
        to: String,
        /// ro (view only) or rw (full control)
        #[arg(long)]
        access: AccessName,
        /// How long it may be accepted: 1h to 30d
        #[arg(long, value_name = "LIFE", default_value_t)]
        life: OfferLife,
    },
    /// Accept an offer, for its recipient; the connection is Active then
    Accept {
        connection: String,
        /// The server of the recipient whose agent carries the sessions
        #[arg(long, value_name = "SERVER")]
        source: String,
    },
    /// Decline an offer, for its recipient
    Decline { connection: String },
    /// Take an offer back, for the managed server's owner
    Withdraw { connection: String },
    /// Show open offers
    List {
        /// Admin connections that came of an offer, and offers that came to nothing, too
        #[arg(long)]
        all: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum AccessName {
    #[value(alias = "read-only")]
    Ro,
    #[value(alias = "read-write")]
    Rw,
}

impl AccessName {
    const fn access(self) -> Access {
        match self {
            Self::Ro => Access::ReadOnly,
            Self::Rw => Access::ReadWrite,
        }
    }
}

pub(super) async fn run(session: &CliSession, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Make { server, to, access, life } => {
            let server = session.find_server(&server).await?;
            let to = session.find_organization(&to).await?;
            let initiator = session.initiator(Some(server.organization_id)).await?;
            let offer = AdminOffer { server: server.id, to: to.id, access: access.access(), life };
            session.made(session.platform.offer_admin(&initiator, &offer).await?)
        }
        Verb::Accept { connection, source } => {
            let found = session.find_connection(&connection).await?;
            let source = session.find_server(&source).await?;
            let initiator = session.initiator(Some(found.source.organization_id)).await?;
            let status = session.platform.accept_offer(&initiator, found.id, source.id).await?;
            session.done(&format!("{} → {} is {status}", source.name, found.target.name))
        }
        Verb::Decline { connection } => {
            let found = session.find_connection(&connection).await?;
            let initiator = session.initiator(Some(found.source.organization_id)).await?;
            let status = session.platform.decline_offer(&initiator, found.id).await?;
            session.done(&format!("{} is {status}", found.route()))
        }
        Verb::Withdraw { connection } => {
            let found = session.find_connection(&connection).await?;
            let initiator = session.initiator(Some(found.target.organization_id)).await?;
            let status = session.platform.withdraw_offer(&initiator, found.id).await?;
            session.done(&format!("{} is {status}", found.route()))
        }
        Verb::List { all } => list(session, all).await,
    }
}

async fn list(session: &CliSession, all: bool) -> anyhow::Result<()> {
    let viewer = session.viewer().await?;
    let filter = ConnectionFilter {
        kinds: vec![ConnectionType::AdminRw, ConnectionType::AdminRo],
        statuses: if all { BTreeSet::new() } else { BTreeSet::from([Status::Offered]) },
        ..ConnectionFilter::default()
    };
    let page = async |paging| session.platform.list_connections(&viewer, &filter, &paging).await;
    session.show_pages(&COLUMNS, page).await
}

const COLUMNS: Columns<ConnectionView, ConnectionJson, 7> = Columns {
    head: ["CONNECTION", "TYPE", "SERVER", "OFFERED BY", "TO", "STATUS", "OPEN UNTIL"],
    cells: |it| {
        let expires_at = match it.carried {
            CarriedView::Admin { expires_at, .. } => expires_at,
            CarriedView::Channel { .. } => None,
        };
        [
            it.id.to_string(),
            it.kind.to_string(),
            it.target.name.to_string(),
            it.target.organization.to_string(),
            it.source.organization.to_string(),
            it.status.to_string(),
            expires_at.map(|at| at.to_string()).unwrap_or_default(),
        ]
    },
    json: |it| it.into(),
};
