//! `adit explain`: what would become of a partner's request, and by which rule.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;

use super::files;
use super::shown::{print_json, shown};
use adit_agent::admin::explain::{ExplainOutcome, Explained};
use adit_agent::status::{Answer, Request, ask};
use adit_core::domain::access::Access;
use adit_core::domain::visible::visible;
use adit_net::host::privilege;
use adit_observe::print;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The connection's name or id in the agent's file: an `[[admin_managed]]` entry
    connection: String,
    /// As the client sends it: GET, POST, …
    method: String,
    /// As the client sends it: /api/channels, /api/4.5.2/users/current, …
    target: String,
    /// The agent's file
    #[arg(long, value_name = "FILE", default_value = "/etc/adit/agent.toml")]
    config: PathBuf,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Explains a request; its exit code is 0 when the request would be forwarded or answered, 1 when it would be
/// refused.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = files::read_agent(&arguments.config)?;
    privilege::act_as_owner(&arguments.config, &config.state)?;
    let entry = files::find_entry(&config, &arguments.connection)?;
    let request = Request::Explain {
        connection: entry.id,
        method: arguments.method.clone(),
        target: arguments.target.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let explained = match runtime.block_on(ask(&config.state, &request))? {
        Answer::Explained(explained) => explained,
        Answer::Failed { what } => bail!("{}", visible(&what)),
        Answer::Status(_)
        | Answer::Trusted { .. }
        | Answer::PathChosen
        | Answer::Forgotten { .. }
        | Answer::Waits { .. } => {
            bail!("the agent gave an answer to another question")
        }
    };
    if arguments.json {
        print_json(&explained, false)?;
    } else {
        print::text(render(&shown(&explained)?))?;
    }
    let is_refused = matches!(explained.outcome, ExplainOutcome::Refused { .. });
    Ok(if is_refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn render(explained: &Explained) -> String {
    let Explained { access, outcome, operation, template, changes, rule, masked } = explained;
    let is_view = *access == Access::ReadOnly && matches!(outcome, ExplainOutcome::Forwarded { .. });
    let answer = match (is_view, masked) {
        (true, true) => "\nanswer     credentials in it are masked",
        (true, false) => "\nanswer     as Mirth gives it",
        (false, _) => "",
    };
    let outcome = match outcome {
        ExplainOutcome::Forwarded { target, body } => {
            format!("forwarded to Mirth as {target}\nbody       {}", body_words(body))
        }
        ExplainOutcome::AnsweredHere { status } => {
            format!("answered {status} by the agent; Mirth hears nothing")
        }
        ExplainOutcome::Refused { status, reason } => format!("refused with {status}: {reason}"),
    };
    let audited = match (access, changes) {
        (Access::ReadWrite, true) => "\naudit      written down before it is sent on, and what Mirth answers",
        _ => "",
    };
    let operation =
        operation.as_deref().map_or("none that adit knows".to_owned(), |name| format!("{name} ({template})"));
    format!(
        "access     {access}\noperation  {operation}\nrule       {rule}\noutcome    {outcome}{audited}{answer}\n"
    )
}

fn body_words(kind: &str) -> String {
    match kind {
        "none" => "must be empty".into(),
        "stream" => "passed on as it comes".into(),
        kind => format!("read first; must be of the kind `{kind}`"),
    }
}
