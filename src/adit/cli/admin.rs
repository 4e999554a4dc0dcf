//! `adit admin`: the platform's functions for the operator on the gateway's host, in a process of its
//! own on the gateway's database. A running gateway notices what was written here.
//!
//! Anyone who may read the gateway's state folder may act for any organization; the audit log says that it
//! was done here, and by whom.

mod ca;
mod channel;
mod connection;
mod find;
mod grant;
mod json;
mod offer;
mod organization;
mod out_file;
mod output;
mod peering;
mod server;
mod user;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;

use adit_core::config::gateway::GatewayConfig;
use adit_core::domain::id::OrganizationId;
use adit_core::domain::role::UserRole;
use adit_core::domain::visible::visible;
use adit_gateway::platform::{ActionRefusal, AuditView, Initiator, Platform, PlatformError};
use adit_net::host::privilege;
use adit_observe::print;

pub(super) use self::find::Several;

use self::json::AuditJson;
use self::out_file::OutFile;
use self::output::Columns;
use super::files;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The gateway's file
    #[arg(long, value_name = "FILE", default_value = "/etc/adit/gateway.toml", global = true)]
    config: PathBuf,
    /// The organization acted for, by name or id; needed where two could be meant
    #[arg(long = "as", visible_alias = "org", value_name = "ORGANIZATION", global = true)]
    acting: Option<String>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Do what cannot be undone without asking first
    #[arg(long, global = true)]
    yes: bool,
    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Subcommand)]
enum AdminCommand {
    /// Organizations and their tiers
    #[command(subcommand, visible_alias = "organization")]
    Org(organization::Verb),
    /// People who act for an organization
    #[command(subcommand)]
    User(user::Verb),
    /// Mirth servers, each with an agent beside it
    #[command(subcommand)]
    Server(server::Verb),
    /// Registration tokens and the connector files that carry them
    #[command(subcommand)]
    Token(server::TokenVerb),
    /// Published receiving endpoints
    #[command(subcommand)]
    Channel(channel::Verb),
    /// Agreements of two organizations
    #[command(subcommand)]
    Peering(peering::Verb),
    /// Permission for one peer on one channel
    #[command(subcommand)]
    Grant(grant::Verb),
    /// Offers to administer a server, and their acceptance
    #[command(subcommand)]
    Offer(offer::Verb),
    /// Tunnels between two servers
    #[command(subcommand)]
    Connection(connection::Verb),
    /// Print the certificate of this gateway's CA in PEM, for programs that are to know it by that
    Ca,
    /// What was done and refused, oldest first
    Audit {
        /// How many of the newest entries
        #[arg(long, default_value_t = 50, value_name = "N")]
        rows: u32,
    },
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = files::read_gateway(&arguments.config)?;
    // What is written for who typed the command is opened with their rights.
    let out = match &arguments.command {
        AdminCommand::Token(verb) => server::out_file(verb)?,
        _ => None,
    };
    privilege::act_as_owner(&arguments.config, &config.state)?;
    if matches!(arguments.command, AdminCommand::Ca) {
        return ca::print(&config);
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(serve(config, arguments, out))
}

async fn serve(
    config: GatewayConfig,
    arguments: Arguments,
    out: Option<OutFile>,
) -> anyhow::Result<ExitCode> {
    let session = open(config, arguments.acting, arguments.json).await?.answering(arguments.yes);
    let outcome = dispatch(&session, arguments.command, out).await;
    session.platform.close().await?;
    outcome.map(|()| ExitCode::SUCCESS).map_err(with_tier_command)
}

/// Adds the command: who meets a tier's limit is told how it is raised.
fn with_tier_command(error: anyhow::Error) -> anyhow::Error {
    let is_limit = matches!(
        error.downcast_ref::<PlatformError>(),
        Some(PlatformError::Refused(ActionRefusal::Limit(_) | ActionRefusal::ReadWriteTier { .. }))
    );
    if is_limit {
        anyhow::anyhow!(
            "{error:#}; `adit admin org tier ORGANIZATION TIER` sets it, `--help` there says what each admits"
        )
    } else {
        error
    }
}

async fn open(config: GatewayConfig, acting: Option<String>, json: bool) -> anyhow::Result<CliSession> {
    let platform = super::open::platform(&config).await?;
    Ok(CliSession { platform, config, acting, json, yes: false })
}

async fn dispatch(session: &CliSession, command: AdminCommand, out: Option<OutFile>) -> anyhow::Result<()> {
    match command {
        AdminCommand::Org(verb) => organization::run(session, verb).await,
        AdminCommand::User(verb) => user::run(session, verb).await,
        AdminCommand::Server(verb) => server::run(session, verb).await,
        AdminCommand::Token(verb) => server::run_token(session, verb, out).await,
        AdminCommand::Channel(verb) => channel::run(session, verb).await,
        AdminCommand::Peering(verb) => peering::run(session, verb).await,
        AdminCommand::Grant(verb) => grant::run(session, verb).await,
        AdminCommand::Offer(verb) => offer::run(session, verb).await,
        AdminCommand::Connection(verb) => connection::run(session, verb).await,
        AdminCommand::Ca => ca::print(&session.config).map(drop),
        AdminCommand::Audit { rows } => audit(session, rows).await,
    }
}

async fn audit(session: &CliSession, rows: u32) -> anyhow::Result<()> {
    let entries = session.platform.audit(&session.viewer().await?, rows).await?;
    session.show(&AUDIT, &entries)
}

const AUDIT: Columns<AuditView, AuditJson, 8> = Columns {
    head: ["AT", "LOG OF", "ACTOR", "ACTION", "OBJECT", "OUTCOME", "TIMES", "DETAIL"],
    cells: |it| {
        [
            it.at.to_string(),
            it.organization.as_ref().map_or_else(|| "(gateway)".into(), ToString::to_string),
            it.actor.clone(),
            it.action.clone(),
            it.object.clone(),
            it.outcome.clone(),
            it.times.to_string(),
            it.detail.clone(),
        ]
    },
    json: |it| it.into(),
};

/// What every verb works with.
struct CliSession {
    platform: Platform,
    config: GatewayConfig,
    acting: Option<String>,
    json: bool,
    yes: bool,
}

impl CliSession {
    fn answering(self, yes: bool) -> Self {
        Self { yes, ..self }
    }

    /// Asks before what cannot be undone; `what` says what will be. Where nobody can answer, only --yes does.
    fn confirm(&self, what: &str) -> anyhow::Result<()> {
        if self.yes {
            return Ok(());
        }
        let what = visible(what);
        if !std::io::stdin().is_terminal() {
            bail!(
                "{what}, which cannot be undone; nothing was changed: add --yes to do it without being asked"
            );
        }
        print::error_text(format_args!("{what}, which cannot be undone. Go on? [y/N] "));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).context("cannot read the answer")?;
        if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            return Ok(());
        }
        bail!("nothing was changed");
    }

    fn operator() -> String {
        format!("adit admin (uid {})", privilege::invoker())
    }

    fn host() -> Initiator {
        Initiator::Host { name: Self::operator() }
    }

    fn member(organization: OrganizationId) -> Initiator {
        Initiator::Member { organization, role: UserRole::Owner, name: Self::operator(), proof: None }
    }

    /// Acts for the organization of `--as`, or for the only one that can be meant.
    async fn initiator(&self, only: Option<OrganizationId>) -> anyhow::Result<Initiator> {
        match (&self.acting, only) {
            (Some(named), _) => Ok(Self::member(self.find_organization(named).await?.id)),
            (None, Some(only)) => Ok(Self::member(only)),
            (None, None) => bail!("say which organization this is done for: add --as ORGANIZATION"),
        }
    }

    /// Acts for one of the parties.
    async fn party(&self, parties: [(OrganizationId, String); 2]) -> anyhow::Result<Initiator> {
        let [(one, one_name), (other, other_name)] = parties;
        if self.acting.is_none() && one != other {
            bail!("two organizations are party to this: add --as {one_name:?} or --as {other_name:?}");
        }
        self.initiator(Some(one)).await
    }

    /// Returns whose eyes a list is for: the organization of `--as`, or the operator's.
    async fn viewer(&self) -> anyhow::Result<Initiator> {
        match &self.acting {
            Some(_) => self.initiator(None).await,
            None => Ok(Self::host()),
        }
    }
}

#[cfg(test)]
mod tests;
