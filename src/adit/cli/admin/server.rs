//! `adit admin server` and `adit admin token`.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;

use adit_core::domain::id::ServerId;
use adit_core::domain::name::{Description, Name};
use adit_gateway::authority::Authority;
use adit_gateway::platform::{
    ConnectorFile, GatewayPlace, Initiator, ServerFilter, ServerText, ServerView, TokenLife,
};
use adit_net::host::folder::Folder;

use super::CliSession;
use super::json::ServerJson;
use super::out_file::OutFile;
use super::output::Columns;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Make a server; prints its id
    Add {
        name: Name,
        #[arg(long, default_value = "")]
        description: Description,
        /// Of the Mirth, as you want to remember it
        #[arg(long, value_name = "VERSION", default_value = "")]
        mirth_version: Description,
    },
    /// Show servers; with --as, one organization's
    List,
    /// Change what is written about a server; what is not given stays
    Describe {
        server: String,
        #[arg(long)]
        name: Option<Name>,
        #[arg(long)]
        description: Option<Description>,
        #[arg(long, value_name = "VERSION")]
        mirth_version: Option<Description>,
    },
    /// Revoke a lost or stolen host's key; it needs a new token to come back
    Revoke { server: String },
    /// Delete a server for good, with its channels, grants and connections
    Delete { server: String },
}

#[derive(Subcommand)]
pub(super) enum TokenVerb {
    /// Issue a registration token; writes or prints the server's connector file
    Issue {
        /// By name or id
        #[arg(long)]
        server: String,
        /// Where to write the connector file (mode 0600); printed when not given
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// 1h, 24h or 7d
        #[arg(long, default_value_t)]
        life: TokenLife,
    },
}

pub(super) async fn run(session: &CliSession, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Add { name, description, mirth_version: version } => {
            let text = ServerText { name, description, version };
            session.made(session.platform.add_server(&session.initiator(None).await?, &text).await?)
        }
        Verb::List => {
            let (viewer, every) = (session.viewer().await?, ServerFilter::default());
            let page = async |paging| session.platform.list_servers(&viewer, &every, &paging).await;
            session.show_pages(&COLUMNS, page).await
        }
        Verb::Describe { server, name, description, mirth_version: version } => {
            let found = session.find_server(&server).await?;
            let text = ServerText {
                name: name.unwrap_or(found.name),
                description: description.unwrap_or(found.description),
                version: version.unwrap_or_else(|| Description::from_stored(found.version)),
            };
            let initiator = session.initiator(Some(found.organization_id)).await?;
            session.platform.describe_server(&initiator, found.id, &text).await?;
            session.done(&format!("{} is described anew", text.name))
        }
        Verb::Delete { server } => delete(session, &server).await,
        Verb::Revoke { server } => {
            let found = session.find_server(&server).await?;
            let initiator = session.initiator(Some(found.organization_id)).await?;
            session.confirm(&format!(
                "the key of {} is revoked: its agent is cut off and must enrol anew",
                found.name
            ))?;
            let key = session.platform.revoke_server(&initiator, found.id).await?;
            session
                .done(&format!("{}: {key} is revoked; to bring the server back, issue a token", found.name))
        }
    }
}

async fn delete(session: &CliSession, server: &str) -> anyhow::Result<()> {
    let found = session.find_server(server).await?;
    let initiator = session.initiator(Some(found.organization_id)).await?;
    let consequences = session.platform.server_deletion(&initiator, found.id).await?;
    session
        .confirm(&format!("{} is deleted, and its agent is cut off for good: {consequences}", found.name))?;
    session.platform.delete_server(&initiator, found.id).await?;
    session.done(&format!("{} is deleted", found.name))
}

const COLUMNS: Columns<ServerView, ServerJson, 6> = Columns {
    head: ["ID", "ORGANIZATION", "NAME", "ENROLLED", "ONLINE", "VERSION"],
    cells: |it| {
        [
            it.id.to_string(),
            it.organization.to_string(),
            it.name.to_string(),
            if it.key.is_some() { "yes".into() } else { "no".into() },
            it.online_since.map_or_else(|| "no".into(), |since| format!("since {since}")),
            it.version.clone(),
        ]
    },
    json: |it| it.into(),
};

/// Returns the file that a verb writes for who typed the command.
pub(super) fn out_file(verb: &TokenVerb) -> anyhow::Result<Option<OutFile>> {
    let TokenVerb::Issue { out, .. } = verb;
    out.clone().map(OutFile::create).transpose()
}

pub(super) async fn run_token(
    session: &CliSession,
    verb: TokenVerb,
    out: Option<OutFile>,
) -> anyhow::Result<()> {
    let TokenVerb::Issue { server, life, .. } = verb;
    let found = session.find_server(&server).await?;
    let initiator = session.initiator(Some(found.organization_id)).await?;
    match out {
        // The file first: a token that cannot be written would have voided the old one for nothing.
        Some(out) => {
            let issued = issue_into(session, &initiator, found.id, life, out.file()).await?;
            let done = format!(
                "wrote `{}` for {}; give it to that server's agent before {}",
                out.keep().display(),
                issued.server_name,
                issued.expires_at
            );
            session.done(&done)
        }
        None => issue_into(session, &initiator, found.id, life, io::stdout()).await.map(drop),
    }
}

async fn issue_into(
    session: &CliSession,
    initiator: &Initiator,
    server: ServerId,
    life: TokenLife,
    mut out: impl Write,
) -> anyhow::Result<ConnectorFile> {
    let folder = Folder::open(&session.config.state)?;
    let authority = Authority::open(&folder, &session.config.trust_domain, session.platform.now())?;
    let place = GatewayPlace {
        addresses: vec![session.config.name.clone()],
        trust_domain: session.config.trust_domain.clone(),
        ca_key: authority.trust().ca_key(),
    };
    let issued = session.platform.connector(initiator, server, life, &place).await?;
    out.write_all(issued.text.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write the connector file; issue the token again, this one is void then")?;
    Ok(issued)
}
