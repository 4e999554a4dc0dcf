//! Names or ids in, the one thing that is meant out.

use anyhow::bail;

use adit_core::domain::page::{Page, Paging};
use adit_core::domain::visible::visible;
use adit_gateway::platform::{
    CarriedView, ChannelFilter, ChannelView, ConnectionFilter, ConnectionView, GrantFilter, GrantView,
    OrganizationView, PeeringFilter, PeeringView, PlatformError, ServerFilter, ServerView,
};

use super::CliSession;
use super::output::each_page;

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
        let host = Self::host();
        let page = async |paging: Paging| self.platform.list_organizations(&host, &paging).await;
        pick("org", wanted, page, |it| Called {
            id: it.id.to_string(),
            names: vec![it.name.to_string()],
            shown: it.name.to_string(),
            living: true,
        })
        .await
    }

    pub(super) async fn find_server(&self, wanted: &str) -> anyhow::Result<ServerView> {
        let host = Self::host();
        let page =
            async |paging: Paging| self.platform.list_servers(&host, &ServerFilter::default(), &paging).await;
        pick("server", wanted, page, |it| Called {
            id: it.id.to_string(),
            names: vec![it.name.to_string(), format!("{}/{}", it.organization, it.name)],
            shown: format!("{}/{}", it.organization, it.name),
            living: true,
        })
        .await
    }

    pub(super) async fn find_channel(&self, wanted: &str) -> anyhow::Result<ChannelView> {
        let host = Self::host();
        let page = async |paging: Paging| {
            self.platform.list_channels(&host, &ChannelFilter::default(), &paging).await
        };
        pick("channel", wanted, page, |it| {
            let server = it.server.as_ref().map(ToString::to_string).unwrap_or_default();
            Called {
                id: it.id.to_string(),
                names: vec![it.name.to_string(), format!("{server}/{}", it.name)],
                shown: format!("{server}/{}", it.name),
                living: true,
            }
        })
        .await
    }

    /// Finds it by id, or by an organization when only one in this status names it.
    pub(super) async fn find_peering(&self, wanted: &str, status: &str) -> anyhow::Result<PeeringView> {
        let host = Self::host();
        let page = async |paging: Paging| {
            self.platform.list_peerings(&host, &PeeringFilter::default(), &paging).await
        };
        pick("peering", wanted, page, |it| Called {
            id: it.id.to_string(),
            names: vec![it.requester.to_string(), it.recipient.to_string()],
            shown: format!("{} with {} ({})", it.requester, it.recipient, it.status),
            living: it.status == status,
        })
        .await
    }

    /// Finds it by id, or by its channel when only one pending or living grant is on it.
    pub(super) async fn find_grant(&self, wanted: &str) -> anyhow::Result<GrantView> {
        let host = Self::host();
        let page =
            async |paging: Paging| self.platform.list_grants(&host, &GrantFilter::default(), &paging).await;
        pick("grant", wanted, page, |it| {
            let channel = it.channel_name.as_ref().map(ToString::to_string).unwrap_or_default();
            Called {
                id: it.id.to_string(),
                names: vec![channel.clone()],
                shown: format!("{channel} of {} for {} ({})", it.owner, it.holder, it.status),
                living: matches!(it.status, "pending" | "approved"),
            }
        })
        .await
    }

    /// Finds it by id, by its channel when it carries one, or by its route.
    pub(super) async fn find_connection(&self, wanted: &str) -> anyhow::Result<ConnectionView> {
        let host = Self::host();
        let page = async |paging: Paging| {
            self.platform.list_connections(&host, &ConnectionFilter::default(), &paging).await
        };
        pick("connection", wanted, page, |it| {
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
        .await
    }
}

/// Picks one out of a list: by its exact id, or else by a name or the beginning of an id. Whoever is called as another's id
/// begins is not taken for that one: both are told. What has the form of a whole id is nothing else.
pub(super) async fn pick<T>(
    resource: &str,
    wanted: &str,
    page: impl AsyncFn(Paging) -> Result<Page<T>, PlatformError>,
    called: impl Fn(&T) -> Called,
) -> anyhow::Result<T> {
    let mut candidates = Candidates::new(wanted);
    each_page(page, |rows| {
        for row in rows {
            candidates.look_at(called(&row), row);
        }
        Ok(())
    })
    .await?;
    candidates.pick(resource)
}

/// What could be meant, of a list that is gone through once.
pub(super) struct Candidates<'a, T> {
    wanted: &'a str,
    lower: String,
    /// By exact id, by name or the beginning of an id.
    matching: [Vec<(Called, T)>; 2],
}

impl<'a, T> Candidates<'a, T> {
    pub(super) fn new(wanted: &'a str) -> Self {
        Self { wanted, lower: wanted.to_lowercase(), matching: [Vec::new(), Vec::new()] }
    }

    pub(super) fn look_at(&mut self, called: Called, it: T) {
        let lower = &self.lower;
        let rank = if called.id == *lower {
            0
        } else if is_whole_id(lower) {
            return;
        } else if called.names.iter().any(|name| name.to_lowercase() == *lower)
            || lower.len() >= PREFIX_CHARS_MIN && called.id.starts_with(lower)
        {
            1
        } else {
            return;
        };
        self.matching[rank].push((called, it));
    }

    pub(super) fn pick(self, resource: &str) -> anyhow::Result<T> {
        let wanted = self.wanted;
        let Some(mut matching) = self.matching.into_iter().find(|matching| !matching.is_empty()) else {
            bail!("there is no {resource} `{wanted}`; `adit admin {resource} list` shows what there is");
        };
        if matching.iter().filter(|(called, _)| called.living).count() == 1 {
            matching.retain(|(called, _)| called.living);
        }
        match matching.pop() {
            Some((_, found)) if matching.is_empty() => Ok(found),
            last => {
                matching.extend(last);
                let line = |(called, _): &(Called, T)| format!("  {}  {}", called.id, visible(&called.shown));
                let lines = matching.iter().map(line).collect();
                Err(Several { wanted: wanted.into(), lines }.into())
            }
        }
    }
}

/// Returns whether a text has the form of a UUID (RFC 9562 §4).
fn is_whole_id(text: &str) -> bool {
    let fits = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(fits)
}
