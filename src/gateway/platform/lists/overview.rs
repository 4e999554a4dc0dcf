//! What an organization begins with: what waits for it, with how much more there is of each kind, and what flows.
//! However many connections it has, a handful of statements tell, all of one moment.

use std::collections::BTreeSet;

use super::{connections, grants, peerings, servers};
use crate::platform::api_tokens::{self, ApiTokenView};
use crate::platform::error::PlatformError;
use crate::platform::invitations::{self, InvitationView};
use crate::platform::uses::Uses;
use crate::platform::{ConnectionView, GrantView, Initiator, PeeringView, Platform, Proof, ServerView};
use crate::store::{
    ConnectionFilter, Counts, EndsSoon, GrantFilter, Grouped, Need, PeeringFilter, ServerFilter, Tx,
};
use adit_core::domain::connectivity::Connectivity;
use adit_core::domain::id::{OrganizationId, UserId};
use adit_core::domain::limits::{OVERVIEW_FLOWS_MAX, OVERVIEW_ROWS_MAX};
use adit_core::domain::page::Paging;
use adit_core::domain::role::Permission;
use adit_core::domain::status::Status;
use adit_core::domain::time::Timestamp;

/// The first of a kind, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group<T> {
    pub rows: Vec<T>,
    pub count: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OverviewView {
    pub servers: u32,
    /// Whose agents are linked to the gateway.
    pub linked: u32,
    /// One's own.
    pub channels: u32,
    /// Live agreements.
    pub peers: u32,
    /// P2P connections that live, and those of them that are Active.
    pub p2p: u32,
    pub p2p_active: u32,
    pub has_acknowledged: bool,
    /// One's own to decide.
    pub peerings: Group<PeeringView>,
    pub grants: Group<GrantView>,
    pub offered: Group<ConnectionView>,
    pub failed: Group<ConnectionView>,
    /// Active and not connected.
    pub broken: Group<ConnectionView>,
    pub ready: Group<ConnectionView>,
    /// Active and connected.
    pub flows: Group<ConnectionView>,
    /// Connections that live and need nobody.
    pub idle: u32,
    /// Servers whose agents' leaves end soon, or have ended.
    pub certificates: Group<ServerView>,
    /// Servers with a connector file that nobody has used and that ends soon.
    pub connectors: Group<ServerView>,
    /// For those who manage users.
    pub invitations: Group<InvitationView>,
    /// The user's own, for a browser.
    pub api_tokens: Group<ApiTokenView>,
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), count: 0 }
    }
}

impl Platform {
    /// Returns what waits for the initiator, who is a member of an organization. An offer whose time is over waits for
    /// nobody, whatever is written of it.
    pub async fn overview(&self, initiator: &Initiator) -> Result<OverviewView, PlatformError> {
        let asked = Asked {
            own: initiator.member(Permission::See)?,
            user: browser_of(initiator),
            manages_users: initiator.member(Permission::ManageUsers).is_ok(),
            now: self.now(),
        };
        let mut shown = self.look(async move |tx: &mut Tx| read(tx, asked).await).await?;
        let noted = self.uses();
        for token in &mut shown.api_tokens.rows {
            token.used_at = token.used_at.max(noted.last(Proof::Token(token.id)));
        }
        Ok(shown)
    }
}

/// Who asks, and when.
#[derive(Debug, Clone, Copy)]
struct Asked {
    own: OrganizationId,
    user: Option<UserId>,
    manages_users: bool,
    now: Timestamp,
}

/// Returns the user that has signed in with a browser: what is its account's is for no program.
fn browser_of(initiator: &Initiator) -> Option<UserId> {
    let proof = initiator.proof()?;
    matches!(proof.by, Proof::Session(_)).then_some(proof.user)
}

async fn read(tx: &mut Tx, asked: Asked) -> Result<OverviewView, PlatformError> {
    let Asked { own, user, now, .. } = asked;
    let counts = tx.overview_counts(own, user, now).await?;
    let mut shown = OverviewView {
        servers: counts.servers,
        linked: counts.linked,
        channels: counts.channels,
        peers: counts.peers,
        has_acknowledged: tx.has_acknowledged(own).await?,
        ..OverviewView::default()
    };
    for grouped in tx.count_needs(own, now).await? {
        read_group(tx, asked, grouped, &mut shown).await?;
    }
    read_decisions(tx, asked, &counts, &mut shown).await?;
    read_ending(tx, asked, &counts, &mut shown).await?;
    Ok(shown)
}

/// Reads the first connections of a group.
async fn read_group(
    tx: &mut Tx,
    Asked { own, now, .. }: Asked,
    Grouped { need, count, p2p }: Grouped,
    shown: &mut OverviewView,
) -> Result<(), PlatformError> {
    shown.p2p += p2p;
    shown.p2p_active += if matches!(need, Need::Broken | Need::Flows) { p2p } else { 0 };
    let Some(filter) = filter_of(need, own) else {
        shown.idle = count;
        return Ok(());
    };
    let few = if need == Need::Flows { OVERVIEW_FLOWS_MAX } else { OVERVIEW_ROWS_MAX };
    let page = tx.list_connections(Some(own), now, &filter, &Paging::first(few)).await?;
    let group = group(count, page.rows, |row| connections::shown(row, now, Some(own)));
    match need {
        Need::Offered => shown.offered = group,
        Need::Failed => shown.failed = group,
        Need::Broken => shown.broken = group,
        Need::Ready => shown.ready = group,
        Need::Flows => shown.flows = group,
        Need::Nothing => {}
    }
    Ok(())
}

/// Returns which connections are in a group; those that need nobody are not listed.
fn filter_of(need: Need, own: OrganizationId) -> Option<ConnectionFilter> {
    let of = |status| ConnectionFilter { statuses: BTreeSet::from([status]), ..ConnectionFilter::default() };
    Some(match need {
        Need::Offered => ConnectionFilter { recipient: Some(own), ..of(Status::Offered) },
        Need::Failed => of(Status::Failed),
        Need::Broken => {
            let connectivity = vec![Connectivity::Disconnected, Connectivity::NeverConnected];
            ConnectionFilter { connectivity, ..of(Status::Active) }
        }
        Need::Ready => of(Status::Ready),
        Need::Flows => ConnectionFilter { connectivity: vec![Connectivity::Connected], ..of(Status::Active) },
        Need::Nothing => return None,
    })
}

/// Reads what is the organization's to decide, where there is anything.
async fn read_decisions(
    tx: &mut Tx,
    Asked { own, now, .. }: Asked,
    counts: &Counts,
    shown: &mut OverviewView,
) -> Result<(), PlatformError> {
    let few = Paging::first(OVERVIEW_ROWS_MAX);
    if counts.peerings > 0 {
        let filter = PeeringFilter { decider: Some(own), ..PeeringFilter::default() };
        let page = tx.list_agreements(Some(own), &filter, &few).await?;
        shown.peerings = group(counts.peerings, page.rows, |it| peerings::view(it, Some(own)));
    }
    if counts.grants > 0 {
        let filter = GrantFilter { decider: Some(own), ..GrantFilter::default() };
        let page = tx.list_grants(Some(own), now, &filter, &few).await?;
        shown.grants = group(counts.grants, page.rows, |it| grants::view(it, Some(own)));
    }
    Ok(())
}

/// Reads what ends by itself, where there is anything.
async fn read_ending(
    tx: &mut Tx,
    Asked { own, user, manages_users, now }: Asked,
    counts: &Counts,
    shown: &mut OverviewView,
) -> Result<(), PlatformError> {
    let few = Paging::first(OVERVIEW_ROWS_MAX);
    for (what, count) in
        [(EndsSoon::Certificate, counts.certificates), (EndsSoon::Connector, counts.connectors)]
    {
        if count > 0 {
            let filter =
                ServerFilter { organization: Some(own), ending: Some(what), ..ServerFilter::default() };
            let page = tx.list_servers(now, &filter, &few).await?;
            let servers = group(count, page.rows, |it| servers::view(it, now));
            match what {
                EndsSoon::Certificate => shown.certificates = servers,
                EndsSoon::Connector => shown.connectors = servers,
            }
        }
    }
    if manages_users && counts.invitations > 0 {
        let rows = tx.invitations_ending(own, now, OVERVIEW_ROWS_MAX).await?;
        shown.invitations = group(counts.invitations, rows, |it| invitations::view(it, now));
    }
    if let Some(user) = user.filter(|_| counts.api_tokens > 0) {
        let rows = tx.api_tokens_ending(user, now, OVERVIEW_ROWS_MAX).await?;
        shown.api_tokens = group(counts.api_tokens, rows, |it| api_tokens::view(it, &Uses::default()));
    }
    Ok(())
}

fn group<R, T>(count: u32, rows: Vec<R>, shown: impl FnMut(R) -> T) -> Group<T> {
    Group { rows: rows.into_iter().map(shown).collect(), count }
}
