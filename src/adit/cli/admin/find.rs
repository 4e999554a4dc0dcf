//! Names or ids in, the one thing that is meant out.

use anyhow::bail;

use adit_gateway::platform::{
    CarriedView, ChannelView, ConnectionView, GrantView, OrganizationView, PeeringView, ServerView,
};

use super::CliSession;
use adit_core::domain::visible::visible;

/// An id may be shortened to this many characters.
const PREFIX_CHARS_MIN: usize = 4;

/// A list of what could be meant, on lines of its own.
#[derive(Debug, thiserror::Error)]
#[error("`{}` can mean several; write the id of one:\n{}", visible(.wanted), .lines.join("\n"))]
pub(crate) struct Several {
    wanted: String,
    lines: Vec<String>,
}

/// What something answers to.
pub(super) struct Called {
    pub(super) id: String,
    pub(super) names: Vec<String>,
    /// For the list of candidates when several are meant.
    pub(super) shown: String,
    /// Preferred before what has ended.
    pub(super) living: bool,
}

impl CliSession {
    pub(super) async fn find_organization(&self, wanted: &str) -> anyhow::Result<OrganizationView> {
        let all = self.platform.organizations(&Self::host()).await?;
        pick("org", wanted, all, |it| Called {
            id: it.id.to_string(),
            names: vec![it.name.to_string()],
            shown: it.name.to_string(),
            living: true,
        })
    }

    pub(super) async fn find_server(&self, wanted: &str) -> anyhow::Result<ServerView> {
        let all = self.platform.servers(&Self::host()).await?;
        pick("server", wanted, all, |it| Called {
            id: it.id.to_string(),
            names: vec![it.name.to_string(), format!("{}/{}", it.organization, it.name)],
            shown: format!("{}/{}", it.organization, it.name),
            living: true,
        })
    }

    pub(super) async fn find_channel(&self, wanted: &str) -> anyhow::Result<ChannelView> {
        let all = self.platform.channels(&Self::host()).await?;
        pick("channel", wanted, all, |it| {
            let server = it.server.as_ref().map(ToString::to_string).unwrap_or_default();
            Called {
                id: it.id.to_string(),
                names: vec![it.name.to_string(), format!("{server}/{}", it.name)],
                shown: format!("{server}/{}", it.name),
                living: true,
            }
        })
    }

    /// Finds it by id, or by an organization when only one open request or agreement names it.
    pub(super) async fn find_peering(&self, wanted: &str) -> anyhow::Result<PeeringView> {
        let all = self.platform.peerings(&Self::host()).await?;
        pick("peering", wanted, all, |it| Called {
            id: it.id.to_string(),
            names: vec![it.requester.to_string(), it.recipient.to_string()],
            shown: format!("{} with {} ({})", it.requester, it.recipient, it.status),
            living: it.status == "requested",
        })
    }

    /// Finds it by id, or by its channel when only one pending or living grant is on it.
    pub(super) async fn find_grant(&self, wanted: &str) -> anyhow::Result<GrantView> {
        let all = self.platform.grants(&Self::host()).await?;
        pick("grant", wanted, all, |it| {
            let channel = it.channel_name.as_ref().map(ToString::to_string).unwrap_or_default();
            Called {
                id: it.id.to_string(),
                names: vec![channel.clone()],
                shown: format!("{channel} of {} for {} ({})", it.owner, it.holder, it.status),
                living: matches!(it.status, "pending" | "approved"),
            }
        })
    }

    /// Finds it by id, by its channel when it carries one, or by its route.
    pub(super) async fn find_connection(&self, wanted: &str) -> anyhow::Result<ConnectionView> {
        let all = self.platform.connections(&Self::host()).await?;
        pick("connection", wanted, all, |it| {
            let mut names = vec![it.route(), format!("{} -> {}", it.source.name, it.target.name)];
            let carries = match &it.carried {
                CarriedView::Channel { channel, .. } => {
                    names.push(channel.to_string());
                    channel.to_string()
                }
                CarriedView::Admin { .. } => it.kind.to_string(),
            };
            Called {
                id: it.id.to_string(),
                names,
                shown: format!("{} ({carries}, {})", it.route(), it.status),
                living: !it.status.is_terminal(),
            }
        })
    }
}

/// Picks one: exact id first, then names, then the beginning of an id.
pub(super) fn pick<T>(
    resource: &str,
    wanted: &str,
    all: Vec<T>,
    called: impl Fn(&T) -> Called,
) -> anyhow::Result<T> {
    let lower = wanted.to_lowercase();
    let tests: [&dyn Fn(&Called) -> bool; 3] =
        [&|it| it.id == lower, &|it| it.names.iter().any(|name| name.to_lowercase() == lower), &|it| {
            lower.len() >= PREFIX_CHARS_MIN && it.id.starts_with(&lower)
        }];
    let mut all: Vec<_> = all.into_iter().map(|it| (called(&it), it)).collect();
    for test in tests {
        let mut matching: Vec<_> = all.extract_if(.., |(called, _)| test(called)).collect();
        if matching.iter().filter(|(called, _)| called.living).count() == 1 {
            matching.retain(|(called, _)| called.living);
        }
        if matching.len() > 1 {
            let lines: Vec<_> = matching
                .iter()
                .map(|(called, _)| format!("  {}  {}", called.id, visible(&called.shown)))
                .collect();
            return Err(Several { wanted: wanted.into(), lines }.into());
        }
        if let Some((_, found)) = matching.pop() {
            return Ok(found);
        }
    }
    bail!("there is no {resource} `{wanted}`; `adit admin {resource} list` shows what there is")
}
