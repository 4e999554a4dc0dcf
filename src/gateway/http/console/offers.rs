//! Admin offers: made by a managed server's owner, accepted by a peer with a server of its own.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use serde_json::json;

use super::Console;
use super::ask::{Change, Refused, segment};
use super::choose::{Choice, Choose, Chosen};
use super::fields::Fields;
use super::filters::isolated;
use super::frame::{Frame, Shown, Viewer, go_to, page};
use super::grants::{peers, servers};
use super::shapes::Connection;

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/offers/new", get(new).post(make))
        .route("/offers/{id}/accept", get(acceptance).post(accept))
}

async fn new(viewer: Viewer) -> Result<Shown, Shown> {
    Ok(page(&form(&viewer).await?))
}

async fn form(viewer: &Viewer) -> Result<Choose, Refused> {
    let (servers, peers) = (servers(viewer).await?, peers(viewer, false).await?);
    let missing = match (servers.is_empty(), peers.is_empty()) {
        (true, _) => Some(("You have no server that could be managed yet.", "/servers/new", "Add a server")),
        (false, true) => {
            Some(("You have no agreement with another organization yet.", "/peering", "Peering"))
        }
        (false, false) => None,
    };
    let words = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(value, text)| ((*value).into(), (*text).into())).collect()
    };
    let access = words(&[
        ("read-only", "Admin RO: view only, enforced by your agent"),
        ("read-write", "Admin RW: full control; Standard or Enterprise"),
    ]);
    Ok(Choose {
        frame: Frame::of(viewer, "connections", "Offer an admin connection"),
        text: "A peer may manage one of your Mirth servers, once it accepts. You can end it at any time."
            .into(),
        missing,
        path: "/offers/new".into(),
        hidden: Vec::new(),
        choices: vec![
            Choice {
                name: "server",
                label: "Managed server",
                hint: "",
                options: servers,
                chosen: Chosen::Nothing,
            },
            Choice {
                name: "recipient",
                label: "Who manages it",
                hint: "",
                options: peers,
                chosen: Chosen::Nothing,
            },
            Choice {
                name: "access",
                label: "Access",
                hint: "Fixed for the life of the connection.",
                options: access,
                chosen: Chosen::First,
            },
            Choice {
                name: "life",
                label: "The offer is open for",
                hint: "",
                options: words(&[("7d", "7 days"), ("24h", "24 hours"), ("1h", "1 hour")]),
                chosen: Chosen::First,
            },
        ],
        button: "Offer",
        back: "/connections".into(),
    })
}

async fn make(viewer: Viewer, fields: Fields) -> Result<Shown, Shown> {
    let mut body = json!({
        "server": fields.get("server"),
        "recipient": fields.get("recipient"),
        "access": fields.get("access"),
    });
    if let Some(life) = fields.said("life") {
        body["life"] = life.into();
    }
    let change = Change::post("/offers").sending(&body).once(fields.key()).proving(fields.csrf());
    match viewer.visit.change(change).await.and_then(|answer| answer.read::<Connection>()) {
        Ok(offered) => Ok(go_to(&format!("/connections/{}?done=offered", offered.id))),
        Err(refused) => Ok(form(&viewer).await?.again(&refused, &fields)),
    }
}

async fn acceptance(viewer: Viewer, Path(id): Path<String>) -> Result<Shown, Shown> {
    Ok(page(&acceptance_form(&viewer, &id).await?))
}

async fn acceptance_form(viewer: &Viewer, id: &str) -> Result<Choose, Refused> {
    let it: Connection = viewer.visit.get(&format!("/connections/{}", segment(id))).await?;
    let servers = servers(viewer).await?;
    let missing = servers.is_empty().then_some((
        "You need a server whose agent carries the session.",
        "/servers/new",
        "Add a server",
    ));
    let by = it.administration.as_ref().map_or("The owner", |admin| &admin.offered_by);
    let managed = it.target.server.as_ref().map_or("a server", |server| &server.name);
    Ok(Choose {
        frame: Frame::of(viewer, "connections", "Accept an offer"),
        text: format!(
            "{} offers {} to {}. It is Active as soon as you accept.",
            isolated(by),
            it.kind,
            isolated(managed)
        ),
        missing,
        path: format!("/offers/{}/accept", it.id),
        hidden: Vec::new(),
        choices: vec![Choice {
            name: "server",
            label: "Manage it from",
            hint: "The server whose agent carries the session.",
            options: servers,
            chosen: Chosen::Nothing,
        }],
        button: "Accept",
        back: format!("/connections/{}", it.id),
    })
}

async fn accept(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    let path = format!("/offers/{}/accept", segment(&id));
    let body = json!({ "server": fields.get("server") });
    match viewer.visit.change(Change::post(&path).sending(&body).proving(fields.csrf())).await {
        Ok(_) => Ok(go_to(&format!("/connections/{}?done=accepted", segment(&id)))),
        Err(refused) => Ok(acceptance_form(&viewer, &id).await?.again(&refused, &fields)),
    }
}
