//! Grants: what peers may send to, offered or asked for, and decided by the other side.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use super::ask::{Change, Refused, segment, with_query};
use super::choose::{Choice, Choose, Chosen};
use super::confirm::Confirm;
use super::fields::Fields;
use super::filters::isolated;
use super::frame::{Frame, Shown, Viewer, go_to, page, page_refused};
use super::lists::{self, Pager, ROWS};
use super::shapes::{Channel, Grant, Peering, Rows, Server};
use super::{Console, filters};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/grants", get(list))
        .route("/grants/new", get(new).post(make))
        .route("/grants/{id}/approve", get(approval).post(approve))
        .route("/grants/{id}/deny", post(deny))
        .route("/grants/{id}/revoke", get(revocation).post(revoke))
        .route("/grants/{id}/relinquish", get(relinquishing).post(relinquish))
}

#[derive(Debug)]
struct Row {
    grant: Grant,
    is_owner: bool,
    is_holder: bool,
    may_decide: bool,
}

impl Row {
    fn new(grant: Grant, own: &str) -> Self {
        Self {
            is_owner: grant.owner.id == own,
            is_holder: grant.holder.id == own,
            may_decide: grant.status == "pending" && grant.decider.as_deref() == Some(own),
            grant,
        }
    }

    /// Whether its approval names a server to send from: the holder approves what was offered.
    fn needs_server(&self) -> bool {
        self.grant.origin == "offered"
    }

    fn is_in_force(&self) -> bool {
        self.grant.status == "approved" || self.grant.status == "pending" && !self.may_decide
    }

    fn may_revoke(&self) -> bool {
        self.is_owner && self.is_in_force()
    }

    fn may_relinquish(&self) -> bool {
        self.is_holder && !self.is_owner && self.is_in_force()
    }
}

#[derive(Debug, Template)]
#[template(path = "grants.html")]
struct Grants {
    frame: Frame,
    /// Whether it has those alone that the viewer has to decide.
    is_waiting: bool,
    rows: Vec<Row>,
    next: Option<String>,
    first: Option<String>,
}

async fn list(viewer: Viewer, Query(asked): Query<lists::Asked>) -> Result<Shown, Shown> {
    let frame = Frame::of(&viewer, "grants", "Grants").done(&asked.done);
    Ok(page(&grants_page(&viewer, frame, &asked).await?))
}

async fn grants_page(viewer: &Viewer, frame: Frame, asked: &lists::Asked) -> Result<Grants, Refused> {
    let rest = [("decider", asked.decider(viewer)), ("after", &*asked.after), ("count", ROWS)];
    let list: Rows<Grant> = viewer.visit.get(&with_query("/grants", &rest)).await?;
    let own = &viewer.session.user.organization;
    let Pager { next, first } =
        Pager::new("/grants", &[("waiting", &*asked.waiting)], &asked.after, list.next.as_deref());
    let rows = list.rows.into_iter().map(|grant| Row::new(grant, own)).collect();
    Ok(Grants { frame, is_waiting: asked.waiting == "true", rows, next, first })
}

async fn again(viewer: &Viewer, refused: &Refused, fields: &Fields) -> Result<Shown, Shown> {
    let frame = Frame::of(viewer, "grants", "Grants").again(refused, fields);
    Ok(page_refused(refused, &grants_page(viewer, frame, &lists::Asked::default()).await?))
}

/// What a new grant is to be about.
#[derive(Debug, Default, Deserialize)]
struct Wanted {
    /// A peer's channel, to be asked for.
    #[serde(default)]
    channel: String,
    /// A channel of one's own, to be offered.
    #[serde(default)]
    offer: String,
}

async fn new(viewer: Viewer, Query(wanted): Query<Wanted>) -> Result<Shown, Shown> {
    Ok(page(&form(&viewer, &wanted).await?))
}

async fn form(viewer: &Viewer, wanted: &Wanted) -> Result<Choose, Refused> {
    if wanted.channel.is_empty() {
        offer_form(viewer, &wanted.offer).await
    } else {
        request_form(viewer, &wanted.channel).await
    }
}

async fn request_form(viewer: &Viewer, channel: &str) -> Result<Choose, Refused> {
    let channel: Channel = viewer.visit.get(&format!("/channels/{}", segment(channel))).await?;
    let servers = servers(viewer).await?;
    let missing =
        servers.is_empty().then_some(("You need a server to send from.", "/servers/new", "Add a server"));
    Ok(Choose {
        frame: Frame::of(viewer, "grants", "Ask to send"),
        text: format!(
            "To {} of {}. Its owner decides.",
            isolated(&channel.name),
            isolated(&channel.organization.name)
        ),
        missing,
        path: "/grants/new".into(),
        hidden: vec![("channel", channel.id)],
        choices: vec![from_server(servers)],
        button: "Ask",
        back: "/channels?of=peers".into(),
    })
}

fn from_server(options: Vec<(String, String)>) -> Choice {
    Choice {
        name: "source_server",
        label: "Send from",
        hint: "Its agent carries the messages.",
        options,
        chosen: Chosen::Nothing,
    }
}

/// Returns the viewer's servers, as options.
pub(super) async fn servers(viewer: &Viewer) -> Result<Vec<(String, String)>, Refused> {
    let list: Rows<Server> = viewer.visit.get("/servers?count=500").await?;
    Ok(list.rows.into_iter().map(|server| (server.id, server.name)).collect())
}

/// Returns those with whom there is an agreement, as options.
pub(super) async fn peers(viewer: &Viewer, is_self_too: bool) -> Result<Vec<(String, String)>, Refused> {
    let own = &viewer.session.user.organization;
    let list: Rows<Peering> = viewer.visit.get("/peerings?status=live&count=500").await?;
    let peers = list.rows.into_iter().map(|peering| (peering.other(own).id.clone(), peering.peer));
    Ok(peers.filter(|(id, _)| is_self_too || id != own).collect())
}

async fn offer_form(viewer: &Viewer, offered: &str) -> Result<Choose, Refused> {
    let list: Rows<Channel> = viewer.visit.get("/channels?own=true&count=500").await?;
    let peers = peers(viewer, true).await?;
    let mut channels: Vec<_> = list.rows.into_iter().map(|channel| (channel.id, channel.name)).collect();
    let chosen = if offered.is_empty() { Chosen::Nothing } else { Chosen::This(offered.to_owned()) };
    if !offered.is_empty() && channels.iter().all(|(id, _)| id != offered) {
        // It stands behind those that were listed.
        let wanted: Channel = viewer.visit.get(&format!("/channels/{}", segment(offered))).await?;
        channels.insert(0, (wanted.id, wanted.name));
    }
    let missing = match (channels.is_empty(), peers.is_empty()) {
        (true, _) => Some(("You have no channel to offer yet.", "/channels/new", "Add a channel")),
        (false, true) => Some(("You have no agreement with anybody yet.", "/peering", "Peering")),
        (false, false) => None,
    };
    Ok(Choose {
        frame: Frame::of(viewer, "grants", "Offer a channel"),
        text: "The peer decides whether it takes the offer, and from which of its servers it sends.".into(),
        missing,
        path: "/grants/new".into(),
        hidden: Vec::new(),
        choices: vec![
            Choice { name: "offer", label: "Channel", hint: "", options: channels, chosen },
            Choice { name: "holder", label: "Peer", hint: "", options: peers, chosen: Chosen::Nothing },
        ],
        button: "Offer",
        back: "/grants".into(),
    })
}

async fn make(viewer: Viewer, fields: Fields) -> Result<Shown, Shown> {
    let wanted = Wanted { channel: fields.get("channel").into(), offer: fields.get("offer").into() };
    let (path, body) = if wanted.channel.is_empty() {
        ("/grants/offer", json!({ "channel": wanted.offer, "holder": fields.get("holder") }))
    } else {
        (
            "/grants/request",
            json!({ "channel": wanted.channel, "source_server": fields.get("source_server") }),
        )
    };
    match viewer
        .visit
        .change(Change::post(path).sending(&body).once(fields.key()).proving(fields.csrf()))
        .await
    {
        Ok(_) => Ok(go_to("/grants?done=sent")),
        Err(refused) => Ok(form(&viewer, &wanted).await?.again(&refused, &fields)),
    }
}

async fn approval(viewer: Viewer, Path(id): Path<String>) -> Result<Shown, Shown> {
    Ok(page(&approval_form(&viewer, &id).await?))
}

async fn approval_form(viewer: &Viewer, id: &str) -> Result<Choose, Refused> {
    let grant: Grant = viewer.visit.get(&format!("/grants/{}", segment(id))).await?;
    let servers = servers(viewer).await?;
    let missing =
        servers.is_empty().then_some(("You need a server to send from.", "/servers/new", "Add a server"));
    let channel = grant.channel.name.as_deref().unwrap_or("a channel");
    Ok(Choose {
        frame: Frame::of(viewer, "grants", "Approve a grant"),
        text: format!(
            "{} lets you send to {}. Approving it makes the connection.",
            isolated(&grant.owner.name),
            isolated(channel)
        ),
        missing,
        path: format!("/grants/{}/approve", grant.id),
        hidden: Vec::new(),
        choices: vec![from_server(servers)],
        button: "Approve",
        back: "/grants".into(),
    })
}

async fn approve(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    let path = format!("/grants/{}/approve", segment(&id));
    let server = fields.said("source_server");
    let body = server.map_or_else(|| json!({}), |server| json!({ "source_server": server }));
    match viewer.visit.change(Change::post(&path).sending(&body).proving(fields.csrf())).await {
        Ok(grant) => Ok(go_to(&match grant.read::<Grant>().ok().and_then(|grant| grant.connection) {
            Some(connection) => format!("/connections/{connection}?done=approved"),
            None => "/grants?done=approved".to_owned(),
        })),
        Err(refused) if server.is_some() => Ok(approval_form(&viewer, &id).await?.again(&refused, &fields)),
        Err(refused) => again(&viewer, &refused, &fields).await,
    }
}

async fn deny(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    let path = format!("/grants/{}/deny", segment(&id));
    match viewer.visit.change(Change::post(&path).proving(fields.csrf())).await {
        Ok(_) => Ok(go_to("/grants?done=denied")),
        Err(refused) => again(&viewer, &refused, &fields).await,
    }
}

async fn revocation(viewer: Viewer, Path(id): Path<String>) -> Result<Shown, Shown> {
    Ok(page(&confirm_end(&viewer, &id, "revoke").await?))
}

async fn relinquishing(viewer: Viewer, Path(id): Path<String>) -> Result<Shown, Shown> {
    Ok(page(&confirm_end(&viewer, &id, "relinquish").await?))
}

async fn confirm_end(viewer: &Viewer, id: &str, word: &'static str) -> Result<Confirm, Refused> {
    let grant: Grant = viewer.visit.get(&format!("/grants/{}", segment(id))).await?;
    let channel = grant.channel.name.as_deref().unwrap_or("a channel");
    let (channel, holder, owner) =
        (isolated(channel), isolated(&grant.holder.name), isolated(&grant.owner.name));
    let what = format!("{channel}: {holder} to {owner}");
    let (title, button) =
        if word == "revoke" { ("Revoke a grant", "Revoke") } else { ("Relinquish a grant", "Relinquish") };
    Ok(Confirm::new(Frame::of(viewer, "grants", title), what)
        .saying("The connection that was made from it is terminated, on both sides at once.")
        .by(format!("/grants/{}/{word}", grant.id), button)
        .back("/grants".into()))
}

async fn revoke(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    end(&viewer, &id, &fields, "revoke", "revoked").await
}

async fn relinquish(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    end(&viewer, &id, &fields, "relinquish", "relinquished").await
}

async fn end(
    viewer: &Viewer,
    id: &str,
    fields: &Fields,
    word: &'static str,
    done: &str,
) -> Result<Shown, Shown> {
    let path = format!("/grants/{}/{word}", segment(id));
    match viewer.visit.change(Change::post(&path).proving(fields.csrf())).await {
        Ok(_) => Ok(go_to(&format!("/grants?done={done}"))),
        Err(refused) => Ok(confirm_end(viewer, id, word).await?.again(&refused, fields)),
    }
}
