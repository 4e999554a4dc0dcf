//! `adit status`: what a running agent does, per connection.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use super::files;
use super::shown::{print_json, shown};
use adit_agent::better_paths::{BetterPath, LinkPath};
use adit_agent::diagnosis::{diagnose, diagnose_agent};
use adit_agent::health::HealthProblem;
use adit_agent::stats::{AdminStatus, AgentStatus, EntryStatus, TimedFlag};
use adit_agent::status::{Answer, Request, ask};
use adit_core::domain::access::Access;
use adit_core::domain::path::{PathKind, PathPreference};
use adit_core::domain::visible::{error_chain, visible};
use adit_core::protocol::control::DatabaseAway;
use adit_net::host::privilege;
use adit_observe::print;

const WATCH_EVERY: Duration = Duration::from_secs(1);
/// A terminal is as wide, unless somebody made it wider.
const COLUMNS: usize = 80;
const CLEAR_SCREEN: &str = "\x1b[2J\x1b[H";

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The agent's file
    #[arg(long, value_name = "FILE", default_value = "/etc/adit/agent.toml")]
    config: PathBuf,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    /// Print anew every second
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = files::read_agent(&arguments.config)?;
    privilege::act_as_owner(&arguments.config, &config.state)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Into a file or a pipe, one picture after another.
    let before = if std::io::stdout().is_terminal() { CLEAR_SCREEN } else { "\n" };
    runtime.block_on(async {
        if !arguments.watch {
            let status = fetch(&config.state).await?;
            show(&status, arguments.json, "")?;
            return Ok(ExitCode::SUCCESS);
        }
        loop {
            match fetch(&config.state).await {
                Ok(status) => show(&status, arguments.json, before)?,
                // A restarted agent is back in a moment.
                Err(error) if arguments.json => {
                    print::error_text(format_args!("{}\n", error_chain(error.as_ref())));
                }
                Err(error) => {
                    let text =
                        fitted(&format!("{}; looking again every second", error_chain(error.as_ref())));
                    print::line(format_args!("{before}{text}"))?;
                }
            }
            tokio::time::sleep(WATCH_EVERY).await;
        }
    })
}

fn show(status: &AgentStatus, json: bool, before: &str) -> anyhow::Result<()> {
    if json {
        return print_json(status, false);
    }
    print::line(format_args!("{before}{}", fitted(&render(&shown(status)?))))?;
    Ok(())
}

async fn fetch(state: &std::path::Path) -> anyhow::Result<AgentStatus> {
    match ask(state, &Request::Status).await.context("cannot ask the agent")? {
        Answer::Status(status) => Ok(*status),
        Answer::Failed { what } => bail!("the agent answered: {}", visible(&what)),
        Answer::Trusted { .. }
        | Answer::PathChosen
        | Answer::Explained(_)
        | Answer::Forgotten { .. }
        | Answer::Waits { .. } => {
            bail!("the agent gave an answer to another question")
        }
    }
}

/// Breaks lines that are longer than a screen is wide.
fn fitted(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let indent = line.chars().take_while(|char| *char == ' ').count();
        let mut rest = line.to_owned();
        while let Some(at) = break_of(&rest) {
            lines.push(rest[..at].trim_end().to_owned());
            rest = format!("{}{}", " ".repeat(indent + 4), rest[at..].trim_start());
        }
        lines.push(rest);
    }
    lines.join("\n")
}

/// Returns where a line that is too long is broken: at its last space that leaves a line which fits, or else
/// at its first. What stands between backticks is typed or copied, and stays whole.
fn break_of(line: &str) -> Option<usize> {
    let (end, _) = line.char_indices().nth(COLUMNS)?;
    let start = line.len() - line.trim_start().len();
    let mut is_quoted = false;
    let mut last = None;
    for (at, char) in line.char_indices().skip_while(|(at, _)| *at < start) {
        match char {
            '`' => is_quoted = !is_quoted,
            ' ' if !is_quoted && (at <= end || last.is_none()) => last = Some(at),
            _ => {}
        }
    }
    last
}

fn render(status: &AgentStatus) -> String {
    let mut out = format!(
        "server  {}\nadit    {}, UDP {}\nown key {}\ncertificate until {}\ngateway {}\n",
        status
            .name
            .as_ref()
            .map_or_else(|| status.server.to_string(), |name| format!("{name} ({})", status.server)),
        status.software,
        status.listen,
        status.key,
        status.leaf_expires,
        flag(status.gateway, "connected", "away"),
    );
    if let Some(since) = status.gateway_database_away_since {
        // Beside `connected`: what is away is not the gateway itself.
        let _ = writeln!(out, "        {}", DatabaseAway { since });
    }
    if let Some(link) = &status.gateway_path {
        render_link(&mut out, link);
    }
    let _ = writeln!(out, "relay   {}", if status.relay { "● registered" } else { "○ not registered" });
    if let Some(carrier) = &status.carrier {
        let dot = if carrier.up.on == Some(true) { "●" } else { "○" };
        let _ = writeln!(out, "tcp     {dot} {carrier}");
    }
    if status.stopping {
        out.push_str("this agent was told to stop and lets end what somebody waits for\n");
    }
    if let Some(certificate) = &status.admin_certificate {
        let _ = writeln!(out, "HTTPS certificate for admin sessions, SHA-256\n    {certificate}");
    }
    if let Some(fault) = status.gateway_error.as_ref().filter(|_| status.gateway.on != Some(true)) {
        let _ = writeln!(out, "        {} ({})", fault.what, fault.at);
    }
    if let Some(what) = diagnose_agent(status) {
        let _ = writeln!(out, "{what}");
    }
    for fault in &status.not_taken {
        let _ = writeln!(out, "not taken from the gateway: {} ({})", fault.what, fault.at);
    }
    if status.entries.is_empty() {
        out.push_str(
            "\nno connection in this agent's file; paste the entry that `adit admin connection entry` prints",
        );
    }
    for entry in &status.entries {
        render_entry(&mut out, entry, status.gateway.on == Some(true));
    }
    out.truncate(out.trim_end().len());
    out
}

/// Says how the control link's packets go, and why not by UDP.
fn render_link(out: &mut String, link: &LinkPath) {
    let notes: Vec<_> = link.reason.clone().into_iter().chain(changes(link.changes)).collect();
    let _ = writeln!(out, "link    {}", noted(link.path.as_str(), &notes));
    for better in &link.better {
        let _ = writeln!(out, "        {better}");
    }
}

fn render_entry(out: &mut String, entry: &EntryStatus, has_link: bool) {
    // Who is at the two ends is known once the gateway has said it.
    let route = if entry.route.is_empty() { String::new() } else { format!("{}  ", entry.route) };
    let _ = writeln!(out, "\n{}  {route}{}  [{}]", entry.kind, entry.name, entry.status);
    let problem = diagnose(entry, has_link);
    let path = path(entry, problem.as_deref());
    let rtt = entry.rtt_micros.map_or(String::new(), |micros| format!(", rtt {micros} µs"));
    let _ = writeln!(out, "  tunnel  {}\n  path    {path}{rtt}", flag(entry.tunnel, "up", "down"));
    // What this agent's owner allows stands beside the path.
    let better = entry.better_paths.iter().filter(|better| !better.is_owners_word());
    let better: Vec<_> = better.map(BetterPath::to_string).collect();
    if !better.is_empty() {
        let _ = writeln!(out, "  better  {}", better.join("; "));
    }
    let _ = writeln!(
        out,
        "  {}  {}\n  {}  {} {}{}",
        if entry.is_source() { "partner's Mirth" } else { "Mirth of this host" },
        flag(entry.mirth, "answers", "does not answer"),
        entry.side,
        entry.protocol,
        entry.address,
        if entry.is_source() { port(entry) } else { String::new() },
    );
    if let Some(admin) = &entry.admin {
        render_admin(out, entry, admin);
    }
    let _ = write!(
        out,
        "  streams {} now, {} ended ({} cut)",
        entry.streams, entry.streams_opened, entry.streams_cut
    );
    if entry.dicom.is_none() && entry.admin.is_none() {
        let _ = write!(out, "  messages {}  acknowledged {}", entry.messages, entry.acknowledged);
    }
    let _ = writeln!(out, "  bytes {} out, {} in", entry.bytes_into_tunnel, entry.bytes_out_of_tunnel);
    if let Some(dicom) = entry.dicom {
        let _ = writeln!(
            out,
            "  associations {} open, {} accepted, {} rejected, {} aborted, {} lost\n  \
             objects {} stored ({} bytes), {} failed",
            dicom.open,
            dicom.accepted,
            dicom.rejected,
            dicom.aborted,
            dicom.lost,
            dicom.stored,
            dicom.bytes,
            dicom.failed,
        );
    }
    if entry.strangers_refused > 0 {
        let _ =
            writeln!(out, "  refused {} connections of users that may not connect", entry.strangers_refused);
    }
    if let Some(at) = entry.last_ack {
        let _ = writeln!(out, "  last ACK {at}");
    }
    if let Some(key) = entry.peer_key {
        let whose = entry.peer_name.as_deref().unwrap_or("the peer");
        let verified = if key.verified { "verified" } else { "unverified" };
        let _ = writeln!(out, "  peer key, {verified}, of the agent of {whose}:\n    {}", key.fingerprint);
    }
    if let Some(what) = problem {
        let _ = writeln!(out, "  PROBLEM {what}");
    }
    if let Some(fault) = &entry.last_error {
        let _ = writeln!(out, "  last error {}: {}", fault.at, fault.what);
    }
}

fn render_admin(out: &mut String, entry: &EntryStatus, admin: &AdminStatus) {
    let access = admin.access.map_or("not known", Access::as_str);
    let _ = write!(out, "  access {access}  sessions {}", admin.sessions);
    let Some(managed) = &admin.managed else {
        let _ = writeln!(out);
        return;
    };
    let _ = write!(
        out,
        "  requests {} sent on, {} refused, {} changes, {} records in Mirth's own audit",
        managed.requests, managed.refused, managed.changes, managed.audits
    );
    if managed.refused_as_expected > 0 {
        let _ = write!(out, ", {} more refused that clients ask by themselves", managed.refused_as_expected);
    }
    let _ = writeln!(out);
    if admin.access == Some(Access::ReadOnly) {
        let masks = if managed.masks { "masked" } else { "shown to the partner (mask = false)" };
        let _ = writeln!(out, "  credentials in Mirth's answers are {masks}");
    }
    let version = managed.mirth_version.as_deref().unwrap_or("not known");
    let key = managed.mirth_key.map_or("none trusted yet".to_owned(), |key| key.to_string());
    let _ = writeln!(out, "  Mirth version {version}, key\n    {key}");
    if let Some(shown) = managed.mirth_key_shown.filter(|shown| managed.mirth_key != Some(*shown)) {
        let _ = writeln!(
            out,
            "  Mirth of this host shows another key (compare it with Mirth's certificate, then run\n    `adit trust {} --mirth KEY`):\n    {shown}",
            entry.name
        );
    }
    if !managed.unknown_operations.is_empty() {
        let operations = managed.unknown_operations.join(", ");
        let _ = writeln!(out, "  unknown to adit, denied in view-only: {operations}");
    }
}

/// Returns `relay (the path before was silent, 2 changes)`. What the problem says is not said twice.
fn path(entry: &EntryStatus, problem: Option<&str>) -> String {
    let word = entry.path.map_or("none", PathKind::as_str);
    let conflict = entry.path_conflict.clone();
    let conflict = conflict.filter(|conflict| !problem.is_some_and(|problem| problem.contains(conflict)));
    let reason = entry.path_reason.clone().into_iter();
    let notes = reason.chain(changes(entry.path_changes)).chain(allowed(entry.path_choice)).chain(conflict);
    noted(word, &notes.collect::<Vec<_>>())
}

fn changes(changes: u64) -> Option<String> {
    match changes {
        0 => None,
        1 => Some("1 change".into()),
        changes => Some(format!("{changes} changes")),
    }
}

/// Returns what the owner wants of the path, where it is not what most do.
fn allowed(preference: PathPreference) -> Option<String> {
    let kinds: Vec<_> = preference.iter().map(PathKind::as_str).collect();
    match kinds[..] {
        _ if preference == PathPreference::AUTO => None,
        [one] => Some(format!("only {one} is allowed")),
        [one, other] => Some(format!("only {one} and {other} are allowed, {one} first")),
        _ => Some(format!("the order is {}", kinds.join(", "))),
    }
}

fn noted(word: &str, notes: &[String]) -> String {
    if notes.is_empty() { word.into() } else { format!("{word} ({})", notes.join(", ")) }
}

fn port(entry: &EntryStatus) -> String {
    match entry.health().problem() {
        _ if entry.port_open => "  port open".into(),
        Some(HealthProblem::Full) => {
            format!("\n  port closed (all of streams_max = {} are open)", entry.streams_max)
        }
        Some(problem) => format!("\n  port closed ({})", problem.why_closed()),
        None => "  port closed".into(),
    }
}

fn flag(flag: TimedFlag, on: &str, off: &str) -> String {
    let word = match flag.on {
        Some(true) => format!("● {on}"),
        Some(false) => format!("○ {off}"),
        None => "○ not known".into(),
    };
    flag.since.map_or(word.clone(), |since| format!("{word} since {since}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_owner_wants_of_the_path_is_said_where_it_is_not_the_usual() {
        let check = |preference: &str, said: Option<&str>| {
            assert_eq!(allowed(preference.parse().unwrap()).as_deref(), said);
        };
        check("auto", None);
        check("tcp", Some("only tcp is allowed"));
        check("tcp,relay", Some("only tcp and relay are allowed, tcp first"));
        check("tcp,relay,direct", Some("the order is tcp, relay, direct"));
    }

    #[test]
    fn the_path_of_the_link_is_shown_with_what_is_wrong_with_udp() {
        let mut out = String::new();
        let what = "it has not answered for 12 seconds".into();
        let direct = BetterPath { path: PathKind::Direct, why_not: "silent".into(), what };
        let reason = Some("the path before was silent".into());
        render_link(&mut out, &LinkPath { path: PathKind::Tcp, reason, changes: 1, better: vec![direct] });
        assert_eq!(
            out,
            "link    tcp (the path before was silent, 1 change)\n        direct: it has not answered for 12 seconds\n"
        );
        out.clear();
        render_link(&mut out, &LinkPath { path: PathKind::Direct, reason: None, changes: 0, better: vec![] });
        assert_eq!(out, "link    direct\n");
    }

    #[test]
    fn no_line_is_wider_than_a_screen_unless_one_word_or_command_is() {
        let key = format!("sha256:{}", "0".repeat(64));
        let sentence = "it carries, but nobody has compared the peer's key; ask the partner ".repeat(4);
        let text = format!("own key {key}\n  PROBLEM {sentence}{key}\n  tunnel  ● up\n{}", "x".repeat(90));
        let fitted = fitted(&text);
        for line in fitted.lines().filter(|line| line.contains(' ')) {
            assert!(line.chars().count() <= COLUMNS, "{line}");
        }
        assert!(fitted.contains("\n  tunnel  ● up\n"), "{fitted}");
        let command = format!("`adit trust adt-to-stmary-mirth {key}`");
        let fitted_with = super::fitted(&format!("  PROBLEM {sentence}run {command} and {sentence}"));
        assert!(fitted_with.lines().any(|line| line.trim_start() == command), "{fitted_with}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&fitted), words(&text));
    }
}
