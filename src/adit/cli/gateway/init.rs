//! `adit gateway init`: the first organization and the invitation of its owner, before the first start. There is no
//! password that a new gateway knows.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::cli::files;
use adit_core::config::gateway::GatewayConfig;
use adit_core::domain::email::Email;
use adit_core::domain::name::Name;
use adit_core::domain::tier::Tier;
use adit_gateway::platform::{Initiator, IssuedInvitation};
use adit_net::host::privilege;
use adit_observe::print;

/// Makes the first organization and prints a link, good once and for 24 h, by which its owner chooses a password.
/// Refused where there is an organization.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The gateway's file
    #[arg(long, value_name = "FILE", default_value = "/etc/adit/gateway.toml")]
    config: PathBuf,
    /// What the first organization is called
    #[arg(long, value_name = "NAME")]
    organization: Name,
    /// Its owner's, who signs in with it
    #[arg(long, value_name = "EMAIL")]
    email: Email,
    /// free, standard or enterprise
    #[arg(long, default_value = "free")]
    tier: Tier,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = files::read_gateway(&arguments.config)?;
    privilege::act_as_owner(&arguments.config, &config.state)?;
    let begun = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(begin(&config, arguments))?;
    print::text(report(&config, &begun))?;
    Ok(ExitCode::SUCCESS)
}

async fn begin(config: &GatewayConfig, arguments: &Arguments) -> anyhow::Result<IssuedInvitation> {
    let platform = crate::cli::open::platform(config).await?;
    let host = Initiator::Host { name: format!("adit gateway init (uid {})", privilege::invoker()) };
    let begun =
        platform.begin_gateway(&host, &arguments.organization, arguments.tier, &arguments.email).await;
    platform.close().await?;
    Ok(begun?)
}

fn report(config: &GatewayConfig, begun: &IssuedInvitation) -> String {
    format!(
        "{} is there. By this link its owner, {}, chooses a password, once, until {}:\n\n{}\n\nNext: start the \
         gateway.\n",
        begun.organization_name,
        begun.email,
        begun.expires_at,
        begun.link(&config.origin())
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(folder: &Path, port: u16, console: &str) -> GatewayConfig {
        let text = format!(
            "name = \"gateway.example.org:{port}\"\ntrust_domain = \"example.org\"\nstate = \"state\"\n{console}"
        );
        GatewayConfig::parse(&text, folder).unwrap()
    }

    fn arguments(organization: &str) -> Arguments {
        Arguments {
            config: PathBuf::new(),
            organization: organization.parse().unwrap(),
            email: "ada@lakeside.example".parse().unwrap(),
            tier: Tier::Free,
        }
    }

    #[tokio::test]
    async fn a_gateway_begins_once_with_a_link_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), 443, "");
        let begun = begin(&config, &arguments("Lakeside")).await.unwrap();
        let said = report(&config, &begun);
        let link = format!("https://gateway.example.org/invitation#{}", begun.token.reveal_hex());
        assert!(said.contains(&link) && said.contains("ada@lakeside.example"), "{said}");
        let again = begin(&config, &arguments("St Mary")).await.unwrap_err();
        assert!(again.to_string().contains("`adit admin user invite`"), "{again}");
    }

    #[tokio::test]
    async fn a_link_names_the_port_where_it_is_another_than_usual() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), 8443, "");
        let begun = begin(&config, &arguments("Lakeside")).await.unwrap();
        assert!(report(&config, &begun).contains("\nhttps://gateway.example.org:8443/invitation#"));
    }

    #[tokio::test]
    async fn a_link_leads_to_the_console_where_it_has_a_name_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let console = "[console]\nname = \"console.example.org\"\nlisten = \"127.0.0.1:8080\"\n";
        let config = config(folder.path(), 443, console);
        let begun = begin(&config, &arguments("Lakeside")).await.unwrap();
        assert!(report(&config, &begun).contains("\nhttps://console.example.org/invitation#"));
    }
}
