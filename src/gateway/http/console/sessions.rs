//! Admin sessions: who manages or has managed a server, since when, and what was refused and changed.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::routing::get;

use super::ask::{Refused, with_query};
use super::frame::{Frame, Shown, Viewer, page};
use super::shapes::{AuditEntry, Connection, Connections, Rows};
use super::{Console, filters};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/admin-sessions", get(list))
}

/// As the audit log has them.
const ACTIONS: [&str; 3] = ["admin session started", "admin session running", "admin session ended"];

#[derive(Debug, Template)]
#[template(path = "sessions.html")]
struct Sessions {
    frame: Frame,
    connections: Vec<Connection>,
    entries: Vec<AuditEntry>,
}

async fn list(viewer: Viewer) -> Result<Shown, Shown> {
    let connections: Connections = viewer
        .visit
        .get(&with_query("/connections", &[("type", "Admin RW,Admin RO"), ("count", "100")]))
        .await?;
    let entries = entries(&viewer).await?;
    let frame = Frame::of(&viewer, "sessions", "Admin sessions");
    Ok(page(&Sessions { frame, connections: connections.rows, entries }))
}

/// Returns the newest entries about sessions.
async fn entries(viewer: &Viewer) -> Result<Vec<AuditEntry>, Refused> {
    let mut entries = Vec::new();
    for action in ACTIONS {
        let path = with_query("/audit", &[("action", action), ("count", "50")]);
        let list: Rows<AuditEntry> = viewer.visit.get(&path).await?;
        entries.extend(list.rows);
    }
    entries.sort_by(|one, other| other.at.cmp(&one.at));
    Ok(entries)
}
