//! `adit trust`: a person compared a key out of band and says so: a peer's, or that of this host's own Mirth.
//! Or takes back what a gateway said for good of a connection.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};

use super::files;
use super::shown::ask_shown;
use adit_agent::AUDIT_FILE;
use adit_agent::admin;
use adit_agent::policies::{Forgotten, forget};
use adit_agent::state::AgentState;
use adit_agent::status::{Answer, Request, StatusError};
use adit_agent::trust::{judge, trust};
use adit_core::config::agent::{AdminManaged, AgentConfig, Entry};
use adit_core::domain::id::KeyFingerprint;
use adit_core::domain::visible::visible;
use adit_net::host::privilege;
use adit_net::identity::time::{HostClock, LearntClock, TimeSource};
use adit_observe::audit::{AuditEntry, AuditFile};
use adit_observe::print;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The connection's name or id in the agent's file
    connection: String,
    /// The key: sha256:… as the peer's own `adit status` shows it. With --mirth it may be left out where
    /// Mirth runs on this host: the key it shows now is trusted
    #[arg(required_unless_present_any = ["mirth", "forget_ended"])]
    fingerprint: Option<String>,
    /// Trust the key though the peer, or Mirth, shows another one now
    #[arg(long, conflicts_with = "forget_ended")]
    force: bool,
    /// Trust the HTTPS key of this host's own Mirth, which the connection's partner manages
    #[arg(long)]
    mirth: bool,
    /// Forget that a gateway ended the connection, and that it revoked the peer's known key: for what a
    /// gateway said by mistake, or while it was in the wrong hands. What the gateway says now counts
    /// again, so a connection that is over for it ends anew
    #[arg(long, conflicts_with_all = ["fingerprint", "mirth"])]
    forget_ended: bool,
    /// The agent's file
    #[arg(long, value_name = "FILE", default_value = "/etc/adit/agent.toml")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = files::read_agent(&arguments.config)?;
    privilege::act_as_owner(&arguments.config, &config.state)?;
    let entry = files::find_entry(&config, &arguments.connection)?;
    if arguments.forget_ended {
        return forget_ended(&config, entry);
    }
    let named = arguments.fingerprint.as_deref().map(fingerprint).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (key, request) = match (arguments.mirth, named) {
        (false, Some(key)) => (key, Request::Trust { connection: entry.id, key, force: arguments.force }),
        (false, None) => bail!("write the key that the peer's own `adit status` shows"),
        (true, named) => {
            let managed = managed(&config, entry)?;
            let key = match named {
                Some(key) => {
                    if !arguments.force {
                        runtime.block_on(compare_shown(managed, key))?;
                    }
                    key
                }
                None => runtime.block_on(shown_here(managed))?,
            };
            (key, Request::TrustMirth { connection: entry.id, key })
        }
    };
    let also = match runtime.block_on(ask_shown(&config.state, &request)) {
        Ok(Answer::Trusted { also }) => also,
        Ok(Answer::Failed { what }) => bail!("the key is not trusted: {what}"),
        Ok(
            Answer::Status(_)
            | Answer::PathChosen
            | Answer::Explained(_)
            | Answer::Forgotten { .. }
            | Answer::Waits { .. },
        ) => {
            bail!("the agent gave an answer to another question")
        }
        // Without an agent the state is ours to write.
        Err(StatusError::NotRunning { .. }) => write(&config, entry, &request)?,
        Err(error) => return Err(error.into()),
    };
    print::line(trusted(&config, entry, key, arguments.mirth, &also))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns what was trusted, and of whom.
fn trusted(
    config: &AgentConfig,
    entry: &Entry,
    key: KeyFingerprint,
    is_mirth: bool,
    also: &[String],
) -> String {
    let name = &entry.name;
    let peer = peer_name(config, entry).unwrap_or_else(|| format!("server {}", entry.peer));
    let managed = config.managed.iter().find(|managed| managed.entry.id == entry.id);
    if let Some(managed) = managed.filter(|_| is_mirth) {
        return format!(
            "{name}: {key} is trusted from now on as the key of this host's Mirth at {}",
            managed.mirth
        );
    }
    let mut said =
        format!("{name}: {key} is trusted from now on as the key of the peer's agent, that of {peer}");
    if !also.is_empty() {
        let _ = write!(
            said,
            "\nThe comparison counts for the other connections with it, too: {}",
            also.join(", ")
        );
    }
    said
}

/// Returns what the gateway calls the peer, as this host remembers it.
fn peer_name(config: &AgentConfig, entry: &Entry) -> Option<String> {
    let rules = AgentState::open_read_only(&config.state).and_then(|state| state.rule_book()).ok()?;
    rules.rule(entry.id).map(|rule| visible(rule.peer_name()).into_owned())
}

fn fingerprint(text: &str) -> anyhow::Result<KeyFingerprint> {
    text.parse().with_context(|| format!("`{text}` is no fingerprint"))
}

fn managed<'a>(config: &'a AgentConfig, entry: &Entry) -> anyhow::Result<&'a AdminManaged> {
    let Some(managed) = config.managed.iter().find(|managed| managed.entry.id == entry.id) else {
        bail!("`{}` is no [[admin_managed]] entry: only those have a Mirth of this host to trust", entry.name)
    };
    if managed.mirth_key.is_some() {
        bail!("the entry has `mirth_key`, which counts more; correct or remove it in the file");
    }
    Ok(managed)
}

/// Compares: what a Mirth that answers shows is said where it is another key than the one named.
async fn compare_shown(managed: &AdminManaged, named: KeyFingerprint) -> anyhow::Result<()> {
    match admin::shown_key(&managed.mirth).await {
        Ok(shown) if shown != named => bail!(
            "Mirth at {} shows the key {shown} now, and you named {named}; compare it once more there; if {named} is \
             right all the same, add --force",
            managed.mirth
        ),
        _ => Ok(()),
    }
}

/// Returns the key shown: nobody stands between two programs of one host, so what it shows is its key.
async fn shown_here(managed: &AdminManaged) -> anyhow::Result<KeyFingerprint> {
    let shown = admin::shown_key(&managed.mirth).await.context("cannot read Mirth's key")?;
    let is_here = managed.mirth.host.address().is_some_and(|address| address.ip().is_loopback());
    if !is_here && managed.mirth.host.host() != "localhost" {
        bail!(
            "Mirth at {} shows the key {shown}, but it is on another host; compare the key there, then run \
             `adit trust {} --mirth {shown}`",
            managed.mirth,
            managed.entry.name
        );
    }
    Ok(shown)
}

fn write(config: &AgentConfig, entry: &Entry, request: &Request) -> anyhow::Result<Vec<String>> {
    let state = AgentState::open(&config.state)?;
    let audit = AuditFile::open(&config.state.join(AUDIT_FILE))?;
    let now = LearntClock::new(HostClock, state.clock_offset_millis()?).now();
    match request {
        Request::TrustMirth { connection, key } => {
            audit.append(&AuditEntry::mirth_key_trusted(now, *connection, *key))?;
            state.trust_mirth_key(*connection, *key)?;
        }
        Request::Trust { connection, key, force } => {
            judge(entry, *key, state.own_key()?, None, *force)?;
            audit.append(&AuditEntry::key_trusted(now, *connection, entry.peer, *key))?;
            let mut keys = state.known_keys()?;
            let also = trust(&mut keys, config.entries().map(|(_, entry)| entry), entry, *key);
            state.store_known_keys(|| keys)?;
            return Ok(also);
        }
        Request::Status | Request::Path { .. } | Request::Explain { .. } | Request::ForgetEnded { .. } => {}
    }
    Ok(Vec::new())
}

fn forget_ended(config: &AgentConfig, entry: &Entry) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let request = Request::ForgetEnded { connection: entry.id };
    let forgotten = match runtime.block_on(ask_shown(&config.state, &request)) {
        Ok(Answer::Forgotten { ended, revoked }) => Forgotten { ended, revoked },
        Ok(Answer::Failed { what }) => bail!("the agent could not forget it: {what}"),
        Ok(
            Answer::Status(_)
            | Answer::PathChosen
            | Answer::Explained(_)
            | Answer::Trusted { .. }
            | Answer::Waits { .. },
        ) => {
            bail!("the agent gave an answer to another question")
        }
        Err(StatusError::NotRunning { .. }) => forget_on_disk(config, entry)?,
        Err(error) => return Err(error.into()),
    };
    print::text(said(entry, &forgotten))?;
    Ok(ExitCode::SUCCESS)
}

/// Forgets it on disk: without an agent the state is ours to write.
fn forget_on_disk(config: &AgentConfig, entry: &Entry) -> anyhow::Result<Forgotten> {
    let state = AgentState::open(&config.state)?;
    let audit = AuditFile::open(&config.state.join(AUDIT_FILE))?;
    let now = LearntClock::new(HostClock, state.clock_offset_millis()?).now();
    let known = state.known_keys()?.get(entry.id).map(|known| known.key);
    let mut rules = state.rule_book()?;
    let forgotten = forget(&mut rules, entry.id, entry.peer_key.into_iter().chain(known));
    if !forgotten.is_nothing() {
        let Forgotten { ended, revoked } = forgotten.clone();
        audit.append(&AuditEntry::end_forgotten(now, entry.id, ended, revoked))?;
        state.store_rule_book(|| Arc::new(rules))?;
    }
    Ok(forgotten)
}

/// Returns what was forgotten, and what that means.
fn said(entry: &Entry, forgotten: &Forgotten) -> String {
    let name = &entry.name;
    if forgotten.is_nothing() {
        return format!(
            "{name}: there is nothing to forget; no gateway ended it or revoked its peer's key\n"
        );
    }
    let mut said = String::new();
    if forgotten.ended {
        let _ = writeln!(said, "{name}: forgotten that a gateway ended it");
    }
    for key in &forgotten.revoked {
        let _ = writeln!(said, "{name}: forgotten that a gateway revoked the peer's key {key}");
    }
    said += "The gateway's word counts again: the connection is back if the gateway lists it, and over again if the \
             gateway says so. The peer's host may have to forget the same.\n";
    said
}
