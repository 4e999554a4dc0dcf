//! `adit admin org`.

use clap::Subcommand;

use adit_core::domain::name::Name;
use adit_core::domain::tier::Tier;

use adit_gateway::platform::OrganizationView;

use super::CliSession;
use super::json::OrganizationJson;
use super::output::Columns;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Make an organization; prints its id
    Add {
        name: Name,
        /// free (1 server, 3 peers, 5 channels a server, no read-write administration), standard (5, 20, 25)
        /// or enterprise (no limit)
        #[arg(long, default_value = "free")]
        tier: Tier,
    },
    /// Show all organizations
    List,
    /// Change an organization's tier; deletes nothing
    Tier {
        organization: String,
        /// free (1 server, 3 peers, 5 channels a server, no read-write administration), standard (5, 20, 25)
        /// or enterprise (no limit)
        tier: Tier,
    },
    /// Give an organization another name; its peers see it
    Rename { organization: String, name: Name },
}

pub(super) async fn run(session: &CliSession, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Add { name, tier } => {
            session.made(session.platform.add_organization(&CliSession::host(), &name, tier).await?)
        }
        Verb::List => {
            let viewer = session.viewer().await?;
            session
                .show_pages(&COLUMNS, async |paging| {
                    session.platform.list_organizations(&viewer, &paging).await
                })
                .await
        }
        Verb::Tier { organization, tier } => {
            let found = session.find_organization(&organization).await?;
            session.platform.set_tier(&CliSession::host(), found.id, tier).await?;
            session.done(&format!("{} is {tier}", found.name))
        }
        Verb::Rename { organization, name } => {
            let found = session.find_organization(&organization).await?;
            session.platform.rename_organization(&CliSession::host(), found.id, &name).await?;
            session.done(&format!("{} is {name} from now on", found.name))
        }
    }
}

const COLUMNS: Columns<OrganizationView, OrganizationJson, 3> = Columns {
    head: ["ID", "NAME", "TIER"],
    cells: |it| {
        let tier = it.tier.as_ref().map(ToString::to_string).unwrap_or_default();
        [it.id.to_string(), it.name.to_string(), tier]
    },
    json: |it| it.into(),
};
