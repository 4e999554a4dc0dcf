//! `adit admin org`.

use clap::Subcommand;

use crate::domain::name::Name;
use crate::domain::tier::Tier;

use super::Desk;

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
}

pub(super) async fn run(desk: &Desk, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Add { name, tier } => {
            desk.made(desk.platform.add_organization(&Desk::host(), &name, tier).await?)
        }
        Verb::List => {
            let all = desk.platform.organizations(&desk.viewer().await?).await?;
            desk.show(&all, ["ID", "NAME", "TIER"], |it| {
                let tier = it.tier.as_ref().map(ToString::to_string).unwrap_or_default();
                [it.id.to_string(), it.name.to_string(), tier]
            })
        }
        Verb::Tier { organization, tier } => {
            let found = desk.find_organization(&organization).await?;
            desk.platform.set_tier(&Desk::host(), found.id, tier).await?;
            desk.done(&format!("{} is {tier}", found.name))
        }
    }
}
