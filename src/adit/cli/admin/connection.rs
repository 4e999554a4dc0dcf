//! `adit admin connection`.

use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use zeroize::Zeroizing;

use adit_core::domain::connection::Side;
use adit_gateway::platform::{
    CarriedView, ConnectionCommand, ConnectionFilter, ConnectionView, EndView, Initiator, TimedState,
    agent_entry, usual_address,
};
use adit_observe::print;

use super::CliSession;
use super::json::ConnectionJson;
use super::output::Columns;
use crate::cli::shown::print_json;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Show connections; until an offer is accepted, its recipient's name stands for its source
    List {
        /// Ended ones too
        #[arg(long)]
        all: bool,
    },
    /// Show one connection with what is known of it
    Show { connection: String },
    /// Switch a Ready connection on
    Activate { connection: String },
    /// Let what runs end and nothing new start; needs your own resume
    Pause { connection: String },
    /// Lift one's own pause
    Resume { connection: String },
    /// Cut open tunnels now; an Active connection's agents dial again
    Disconnect { connection: String },
    /// Make a Failed connection Ready again
    Retry { connection: String },
    /// End a connection and its grant for good
    Terminate { connection: String },
    /// Show the shared secret: once for each organization; an admin connection's to the managed server's
    /// owner, five times an hour
    ViewSecret { connection: String },
    /// Make a new shared secret; the old one is dead for new handshakes
    Rotate { connection: String },
    /// Print the lines for each side's agent.toml
    Entry {
        connection: String,
        /// One side only
        #[arg(long)]
        side: Option<SideName>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum SideName {
    Source,
    Target,
}

pub(super) async fn run(session: &CliSession, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::List { all } => list(session, all).await,
        Verb::Show { connection } => show(session, &connection).await,
        Verb::Activate { connection } => command(session, &connection, ConnectionCommand::Activate).await,
        Verb::Pause { connection } => command(session, &connection, ConnectionCommand::Pause).await,
        Verb::Resume { connection } => command(session, &connection, ConnectionCommand::Resume).await,
        Verb::Disconnect { connection } => command(session, &connection, ConnectionCommand::Disconnect).await,
        Verb::Retry { connection } => command(session, &connection, ConnectionCommand::Retry).await,
        Verb::Terminate { connection } => command(session, &connection, ConnectionCommand::Terminate).await,
        Verb::ViewSecret { connection } => view_secret(session, &connection).await,
        Verb::Rotate { connection } => {
            let (found, initiator) = party(session, &connection).await?;
            let epoch = session.platform.rotate_secret(&initiator, found.id).await?;
            session.done(&format!("{} has a new secret (epoch {epoch})", found.route()))
        }
        Verb::Entry { connection, side } => entry(session, &connection, side).await,
    }
}

async fn party(session: &CliSession, wanted: &str) -> anyhow::Result<(ConnectionView, Initiator)> {
    let found = session.find_connection(wanted).await?;
    let name = |end: &EndView| (end.organization_id, end.organization.to_string());
    let initiator = session.party([name(&found.source), name(&found.target)]).await?;
    Ok((found, initiator))
}

async fn command(session: &CliSession, wanted: &str, command: ConnectionCommand) -> anyhow::Result<()> {
    let (found, initiator) = party(session, wanted).await?;
    if matches!(command, ConnectionCommand::Terminate) {
        session.confirm(&format!("{} and its grant end for good", found.route()))?;
    }
    let status = session.platform.command(&initiator, found.id, command).await?;
    session.done(&format!("{} is {status}", found.route()))
}

async fn list(session: &CliSession, all: bool) -> anyhow::Result<()> {
    let viewer = session.viewer().await?;
    let filter = if all { ConnectionFilter::default() } else { ConnectionFilter::living() };
    let page = async |paging| session.platform.list_connections(&viewer, &filter, &paging).await;
    session.show_pages(&COLUMNS, page).await?;
    if all || session.json {
        return Ok(());
    }
    match session.platform.count_connections(&viewer, &ConnectionFilter::ended()).await? {
        0 => Ok(()),
        ended => Ok(print::line(format_args!("({ended} ended; --all shows them)"))?),
    }
}

const COLUMNS: Columns<ConnectionView, ConnectionJson, 8> = Columns {
    head: ["ID", "ROUTE", "TYPE", "CHANNEL", "PROTOCOL", "STATUS", "CONNECTIVITY", "LAST ACK"],
    cells: |it| {
        let (channel, protocol) = match &it.carried {
            CarriedView::Channel { channel, protocol } => (channel.to_string(), protocol.to_string()),
            CarriedView::Admin { .. } => (String::new(), String::new()),
        };
        [
            it.id.to_string(),
            it.route(),
            it.kind.to_string(),
            channel,
            protocol,
            it.status.to_string(),
            format!("{}{}", if it.pulses { "● " } else { "" }, it.connectivity),
            it.last_ack.map(|at| at.to_string()).unwrap_or_default(),
        ]
    },
    json: |it| it.into(),
};

async fn show(session: &CliSession, wanted: &str) -> anyhow::Result<()> {
    let id = session.find_connection(wanted).await?.id;
    let found = session.platform.connection(&session.viewer().await?, id).await?;
    if session.json {
        return print_json(&ConnectionJson::from(&found), true);
    }
    session.print_line(&format!("{}  {}  {}", found.route(), found.kind, found.status))?;
    session.print_line(&format!("  id            {}", found.id))?;
    match &found.carried {
        CarriedView::Channel { channel, protocol } => {
            session.print_line(&format!("  channel       {channel} ({protocol})"))?;
        }
        CarriedView::Admin { access, offered_by, expires_at } => {
            session.print_line(&format!("  access        {access}, offered by {offered_by}"))?;
            if let Some(expires_at) = expires_at {
                session.print_line(&format!("  open until    {expires_at}"))?;
            }
        }
    }
    session.print_line(&format!("  connectivity  {}", found.connectivity))?;
    if !found.held_by.is_empty() {
        session.print_line(&format!("  paused by     {}", found.held_by.join(", ")))?;
    }
    if let Some(failure) = &found.failure {
        session.print_line(&format!("  failed        {failure}"))?;
    }
    if let Some(at) = found.last_ack {
        session.print_line(&format!("  last ACK      {at}"))?;
    }
    for (side, end) in [("source", &found.source), ("target", &found.target)] {
        match end.server {
            Some(server) => {
                session.print_line(&format!(
                    "  {side}        {} of {} ({server})",
                    end.name, end.organization
                ))?;
            }
            None => {
                session.print_line(&format!(
                    "  {side}        {}, which has not named a server",
                    end.organization
                ))?;
            }
        }
        session.print_line(&format!("    agent-gateway  {}", timed_state(&end.link)))?;
        session.print_line(&format!("    tunnel         {}", timed_state(&end.tunnel)))?;
        if let Some(mirth) = &end.mirth {
            session.print_line(&format!("    mirth          {}", timed_state(mirth)))?;
        }
    }
    Ok(())
}

fn timed_state(timed_state: &TimedState) -> String {
    timed_state
        .since
        .map_or_else(|| timed_state.state.to_owned(), |since| format!("{} since {since}", timed_state.state))
}

async fn view_secret(session: &CliSession, wanted: &str) -> anyhow::Result<()> {
    let (found, initiator) = party(session, wanted).await?;
    let revealed = session.platform.view_secret(&initiator, found.id).await?;
    let secret = Zeroizing::new(revealed.secret.reveal_hex());
    if session.json {
        print_json(
            &json!({ "id": found.id.to_string(), "epoch": revealed.epoch, "secret": *secret }),
            false,
        )?;
    } else {
        print::line(&*secret)?;
        let often = match found.carried {
            CarriedView::Channel { .. } => "this is shown once",
            CarriedView::Admin { .. } => "this is for the owner's eyes",
        };
        print::error_text(format_args!("{often}; in agent.toml it is the entry's `secret` (mode 0600)\n"));
    }
    Ok(())
}

async fn entry(session: &CliSession, wanted: &str, side: Option<SideName>) -> anyhow::Result<()> {
    let found = session.find_connection(wanted).await?;
    let sides = match side {
        None => vec![Side::Source, Side::Target],
        Some(SideName::Source) => vec![Side::Source],
        Some(SideName::Target) => vec![Side::Target],
    };
    let mut texts = Vec::new();
    for side in sides {
        let Some(text) = agent_entry(&found, side, usual_address(&found.carried)) else {
            bail!("{} is {}: there are entries once an offer was accepted", found.route(), found.status);
        };
        texts.push((side, text));
    }
    if session.json {
        let texts: serde_json::Map<_, _> =
            texts.into_iter().map(|(side, text)| (side.as_str().to_owned(), text.into())).collect();
        return print_json(&texts, false);
    }
    for (side, text) in texts {
        session.print_line(&format!(
            "# agent.toml of {}; {}",
            found.end(side).name,
            hint(&found.carried, side)
        ))?;
        print::line(text)?;
    }
    Ok(())
}

/// Returns what the operator has to correct.
const fn hint(carried: &CarriedView, side: Side) -> &'static str {
    match (carried, side) {
        (CarriedView::Channel { .. }, Side::Source) => "listen = where this host's Mirth sends to",
        (CarriedView::Channel { .. }, Side::Target) => "forward_to = where this host's Mirth listens",
        (CarriedView::Admin { .. }, Side::Source) => "listen = where Mirth Administrator connects to",
        (CarriedView::Admin { .. }, Side::Target) => "mirth = where the managed Mirth answers HTTPS",
    }
}
