//! `adit admin user`: the people of an organization, for the operator of the gateway's host. A sign-in link is how an
//! owner comes back who is locked out.

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use adit_core::domain::email::Email;
use adit_core::domain::role::UserRole;
use adit_gateway::platform::{IssuedInvitation, TokenLife, UserView};

use super::CliSession;
use super::find::{Called, pick};
use super::output::Columns;
use crate::cli::shown::print_json;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Show users; with --as, one organization's
    List,
    /// Invite somebody to an organization; prints a link that is good once
    Invite {
        email: Email,
        /// owner (all), operator (all but users, tier and the organization's name) or auditor (sees, never changes)
        #[arg(long)]
        role: UserRole,
        /// 1h, 24h or 7d
        #[arg(long, default_value = "24h")]
        life: TokenLife,
    },
    /// Keep a user out: sessions end, API tokens are revoked
    Disable {
        /// By e-mail address, name or id
        user: String,
    },
    /// Let a user in again
    Enable {
        /// By e-mail address, name or id
        user: String,
    },
    /// Print a link by which a user sets a new password and is rid of the second factor
    SignInLink {
        /// By e-mail address, name or id
        user: String,
        /// 1h, 24h or 7d
        #[arg(long, default_value = "1h")]
        life: TokenLife,
    },
}

pub(super) async fn run(session: &CliSession, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::List => {
            let viewer = session.viewer().await?;
            let page = async |paging| session.platform.list_users(&viewer, &paging).await;
            session.show_pages(&COLUMNS, page).await
        }
        Verb::Invite { email, role, life } => {
            let by = session.initiator(None).await?;
            show_link(session, &session.platform.invite(&by, &email, role, life).await?)
        }
        Verb::Disable { user } => {
            let found = find(session, &user).await?;
            let by = session.initiator(Some(found.organization)).await?;
            session.platform.disable_user(&by, found.id).await?;
            session.done(&format!("{} is disabled", found.email))
        }
        Verb::Enable { user } => {
            let found = find(session, &user).await?;
            let by = session.initiator(Some(found.organization)).await?;
            session.platform.enable_user(&by, found.id).await?;
            session.done(&format!("{} is enabled", found.email))
        }
        Verb::SignInLink { user, life } => {
            let found = find(session, &user).await?;
            let by = session.initiator(Some(found.organization)).await?;
            show_link(session, &session.platform.renew_sign_in(&by, found.id, life).await?)
        }
    }
}

/// Prints a link alone on its line, so that a script can take it.
fn show_link(session: &CliSession, issued: &IssuedInvitation) -> anyhow::Result<()> {
    let link = issued.link(&session.config.origin());
    if session.json {
        let expires_at = issued.expires_at.to_string();
        return print_json(
            &json!({ "id": issued.id.to_string(), "link": link, "expires_at": expires_at }),
            false,
        );
    }
    session.print_line(&link)
}

/// Finds a user of the organization of `--as`, or of any.
async fn find(session: &CliSession, wanted: &str) -> anyhow::Result<UserView> {
    let viewer = session.viewer().await?;
    let page = async |paging| session.platform.list_users(&viewer, &paging).await;
    pick("user", wanted, page, |it| Called {
        id: it.id.to_string(),
        names: vec![it.email.to_string(), it.name.to_string()],
        shown: format!("{} <{}> of {}", it.name, it.email, it.organization_name),
        living: it.disabled_at.is_none(),
    })
    .await
}

const COLUMNS: Columns<UserView, UserJson, 7> = Columns {
    head: ["ID", "NAME", "E-MAIL", "ORGANIZATION", "ROLE", "STATE", "SIGNED IN"],
    cells: |it| {
        [
            it.id.to_string(),
            it.name.to_string(),
            it.email.to_string(),
            it.organization_name.to_string(),
            it.role.to_string(),
            state(it).to_owned(),
            it.signed_in_at.map(|at| at.to_string()).unwrap_or_default(),
        ]
    },
    json: |it| it.into(),
};

const fn state(user: &UserView) -> &'static str {
    if user.disabled_at.is_some() { "disabled" } else { "enabled" }
}

/// What `--json` prints of a user.
#[derive(Serialize)]
struct UserJson {
    id: String,
    name: String,
    email: String,
    organization: String,
    role: &'static str,
    state: &'static str,
    second_factor: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_in_at: Option<String>,
}

impl From<&UserView> for UserJson {
    fn from(view: &UserView) -> Self {
        Self {
            id: view.id.to_string(),
            name: view.name.to_string(),
            email: view.email.to_string(),
            organization: view.organization_name.to_string(),
            role: view.role.as_str(),
            state: state(view),
            second_factor: view.has_second_factor,
            signed_in_at: view.signed_in_at.map(|at| at.to_string()),
        }
    }
}
