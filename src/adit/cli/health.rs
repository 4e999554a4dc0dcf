//! `adit health`: for a probe of a container or a monitor, an exit code and a line. Needs no shell.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::files;
use super::shown::ask_shown;
use adit_agent::diagnosis::unready_reasons;
use adit_agent::stats::AgentStatus;
use adit_agent::status::{Answer, Request, StatusError};
use adit_core::config::agent::AgentConfig;
use adit_core::config::gateway::GatewayConfig;
use adit_core::domain::visible::visible;
use adit_net::host::folder::is_locked;
use adit_net::host::privilege;
use adit_observe::print;

const AGENT_FILE: &str = "/etc/adit/agent.toml";
const GATEWAY_FILE: &str = "/etc/adit/gateway.toml";
/// Less than a probe waits by default.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Enough for the first line of an answer.
const STATUS_LINE: &str = "HTTP/1.1 200 ";

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The agent's or gateway's file [default: /etc/adit/agent.toml, or gateway.toml where only that is]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Succeed while the process answers
    #[arg(long, group = "question")]
    live: bool,
    /// Succeed once the process serves: an agent is enrolled and its ports are bound
    #[arg(long, group = "question")]
    startup: bool,
    /// Succeed while every connection that is meant to carry can, and the agent has a link to the
    /// gateway or a tunnel; this is what is asked without an option
    #[arg(long, group = "question")]
    ready: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let path = arguments.config.clone().unwrap_or_else(|| usual_file(Path::exists).into());
    let written = files::read(&path)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let well = if GatewayConfig::is_meant_by(&written.text) {
        let config = files::read_gateway(&path)?;
        privilege::act_as_owner(&path, &config.state)?;
        runtime.block_on(gateway(&config))?
    } else {
        let config = files::read_agent(&path)?;
        privilege::act_as_owner(&path, &config.state)?;
        runtime.block_on(agent(&config, arguments))?
    };
    print::line(well)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the file that is there: one image serves both; a gateway's host has no agent's file.
fn usual_file(exists: impl Fn(&Path) -> bool) -> &'static str {
    let is_gateway = !exists(Path::new(AGENT_FILE)) && exists(Path::new(GATEWAY_FILE));
    if is_gateway { GATEWAY_FILE } else { AGENT_FILE }
}

/// Asks the agent: only an agent that is enrolled and serves answers with a status.
async fn agent(config: &AgentConfig, arguments: &Arguments) -> anyhow::Result<&'static str> {
    let status = match timeout(ANSWER_TIMEOUT, ask_shown(&config.state, &Request::Status)).await {
        Ok(answer) => match answer {
            Ok(Answer::Status(status)) => status,
            Ok(Answer::Failed { what }) => bail!("the agent answered: {}", visible(&what)),
            Ok(_) => bail!("the agent gave an answer to another question"),
            // It waits for a gateway to enrol with, which a restart would not bring.
            Err(StatusError::Waits { .. }) if arguments.live => {
                return Ok("live: the agent waits for enrolment");
            }
            Err(_) if arguments.live && is_locked(&config.state) => return Ok("live: the agent starts"),
            Err(error) => return Err(error.into()),
        },
        Err(_) => bail!("the agent does not answer within {} s; restart it", ANSWER_TIMEOUT.as_secs()),
    };
    if arguments.live {
        return Ok("live: the agent answers");
    }
    if arguments.startup {
        return Ok("started: the agent is enrolled and serves");
    }
    ready(&status)
}

fn ready(status: &AgentStatus) -> anyhow::Result<&'static str> {
    let problems = unready_reasons(status);
    ensure!(problems.is_empty(), "not ready: {}; `adit check` says what to do", problems.join("; "));
    Ok("ready: every connection that is meant to carry can")
}

/// Asks the gateway: a gateway holds its state from its start to its end, and answers for its metrics once it
/// serves. A dial of its port would cost one of the enrolments that it lets in.
async fn gateway(config: &GatewayConfig) -> anyhow::Result<&'static str> {
    ensure!(
        is_locked(&config.state),
        "no gateway runs on `{}`; start it with `adit gateway`",
        config.state.display()
    );
    let Some(metrics) = config.metrics else {
        return Ok("the gateway runs; set `metrics` in its file to have it asked, too");
    };
    let asking = async {
        let mut tcp = TcpStream::connect(metrics).await?;
        tcp.write_all(format!("GET /metrics HTTP/1.1\r\nHost: {metrics}\r\n\r\n").as_bytes()).await?;
        let mut line = [0; STATUS_LINE.len()];
        tcp.read_exact(&mut line).await?;
        std::io::Result::Ok(line)
    };
    let answer = timeout(ANSWER_TIMEOUT, asking).await;
    let line = answer
        .with_context(|| {
            format!("the gateway does not answer at {metrics} within {} s", ANSWER_TIMEOUT.as_secs())
        })?
        .with_context(|| format!("the gateway does not answer at {metrics}; see its log"))?;
    ensure!(
        line == STATUS_LINE.as_bytes(),
        "what answers at {metrics} is no gateway; compare `metrics` in its file"
    );
    Ok("the gateway serves")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_asked_where_only_its_file_is() {
        assert_eq!(usual_file(|_| true), AGENT_FILE);
        assert_eq!(usual_file(|path| path == Path::new(GATEWAY_FILE)), GATEWAY_FILE);
        assert_eq!(usual_file(|_| false), AGENT_FILE);
    }
}
