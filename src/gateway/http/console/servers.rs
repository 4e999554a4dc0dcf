//! Servers: what they are, whether their agents are linked, and the connector configurations by which these enrol.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query};
use axum::http::Method;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::ask::{Change, Refused, segment, with_query};
use super::confirm::Confirm;
use super::fields::Fields;
use super::frame::{Frame, Shown, Viewer, go_to, page, page_of_made, page_refused};
use super::lists::{self, Pager, ROWS};
use super::shapes::{Channel, Connection, Connections, Progress, Rows, Server};
use super::{Console, filters};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/servers", get(list).post(add))
        .route("/servers/new", get(new))
        .route("/servers/{id}", get(one))
        .route("/servers/{id}/edit", get(edit).post(save))
        .route("/servers/{id}/delete", get(deletion).post(delete))
        .route("/servers/{id}/revoke-key", get(revocation).post(revoke_key))
        .route("/servers/{id}/connector", post(connector))
}

#[derive(Debug, Template)]
#[template(path = "servers.html")]
struct Servers {
    frame: Frame,
    /// What ends soon of those that are listed, if they were chosen by that.
    ending: &'static str,
    list: Rows<Server>,
    next: Option<String>,
    first: Option<String>,
}

async fn list(viewer: Viewer, Query(asked): Query<lists::Asked>) -> Result<Shown, Shown> {
    // What is none of these is no filter.
    let ending = ["certificate", "connector"].into_iter().find(|it| *it == asked.ending).unwrap_or_default();
    let rest = [("ending", ending), ("after", &*asked.after), ("count", ROWS)];
    let list: Rows<Server> = viewer.visit.get(&with_query("/servers", &rest)).await?;
    let Pager { next, first } =
        Pager::new("/servers", &[("ending", ending)], &asked.after, list.next.as_deref());
    let frame = Frame::of(&viewer, "servers", "Servers").done(&asked.done);
    Ok(page(&Servers { frame, ending, list, next, first }))
}

#[derive(Debug, Template)]
#[template(path = "server_form.html")]
struct ServerForm {
    frame: Frame,
    path: String,
    tag: String,
    name: String,
    description: String,
    version: String,
    button: &'static str,
    back: String,
}

impl ServerForm {
    fn empty(frame: Frame) -> Self {
        let nothing = String::new;
        let (path, back) = ("/servers".into(), "/servers".into());
        let (name, description, version) = (nothing(), nothing(), nothing());
        Self { frame, path, tag: nothing(), name, description, version, button: "Add", back }
    }
}

async fn new(viewer: Viewer) -> Shown {
    page(&ServerForm::empty(Frame::of(&viewer, "servers", "Add a server")))
}

fn written(fields: &Fields) -> serde_json::Value {
    json!({
        "name": fields.get("name").trim(),
        "description": fields.line("description"),
        "version": fields.get("version").trim(),
    })
}

async fn add(viewer: Viewer, fields: Fields) -> Shown {
    let body = written(&fields);
    let change = Change::post("/servers").sending(&body).once(fields.key()).proving(fields.csrf());
    let added = viewer.visit.change(change).await.and_then(|answer| answer.read::<Server>());
    match added {
        Ok(server) => go_to(&format!("/servers/{}?done=added", server.id)),
        Err(refused) => {
            let frame = Frame::of(&viewer, "servers", "Add a server").again(&refused, &fields);
            page_refused(&refused, &ServerForm::empty(frame))
        }
    }
}

#[derive(Debug, Template)]
#[template(path = "server.html")]
struct ServerPage {
    frame: Frame,
    server: Server,
    progress: Progress,
    stages: Vec<(&'static str, &'static str, &'static str)>,
    channels: Vec<Channel>,
    connections: Vec<Connection>,
    /// Whether it has more of them.
    has_more: bool,
}

async fn one(
    viewer: Viewer,
    Path(id): Path<String>,
    Query(asked): Query<lists::Asked>,
) -> Result<Shown, Shown> {
    let frame = Frame::of(&viewer, "servers", "Server").done(&asked.done);
    Ok(page(&server_page(&viewer, frame, &id).await?))
}

async fn server_page(viewer: &Viewer, frame: Frame, id: &str) -> Result<ServerPage, Refused> {
    let (visit, id) = (&viewer.visit, segment(id));
    let server: Server = visit.get(&format!("/servers/{id}")).await?;
    let progress: Progress = visit.get(&format!("/servers/{id}/connector")).await?;
    let channels: Rows<Channel> =
        visit.get(&with_query("/channels", &[("own", "true"), ("server", id), ("count", ROWS)])).await?;
    let connections: Connections =
        visit.get(&with_query("/connections", &[("server", id), ("count", ROWS)])).await?;
    let frame = Frame { title: server.name.clone(), ..frame };
    let stages = stages(&progress);
    let (has_more, connections) = (connections.next.is_some(), connections.rows);
    Ok(ServerPage { frame, server, progress, stages, channels: channels.rows, connections, has_more })
}

/// Returns the steps from file to link, and how far they have come.
fn stages(progress: &Progress) -> Vec<(&'static str, &'static str, &'static str)> {
    let reached = match progress.stage.as_str() {
        "downloaded" => 1,
        "enrolled" => 2,
        "connected" => 3,
        _ => 0,
    };
    let class = |number: usize| match () {
        () if number < reached => "done",
        () if number == reached => "next",
        () => "",
    };
    vec![
        ("Downloaded", "You take the file to the server.", class(0)),
        ("Enrolled", "The agent has made its key and got its certificate.", class(1)),
        ("Connected", "The agent is linked to the gateway.", class(2)),
    ]
}

async fn edit(viewer: Viewer, Path(id): Path<String>) -> Result<Shown, Shown> {
    let frame = Frame::of(&viewer, "servers", "Change a server");
    Ok(page(&edit_form(&viewer, frame, &id).await?))
}

async fn edit_form(viewer: &Viewer, frame: Frame, id: &str) -> Result<ServerForm, Refused> {
    let id = segment(id);
    let (server, tag): (Server, _) = viewer.visit.get_tagged(&format!("/servers/{id}")).await?;
    Ok(ServerForm {
        frame,
        path: format!("/servers/{id}/edit"),
        tag,
        name: server.name,
        description: server.description,
        version: server.version,
        button: "Save",
        back: format!("/servers/{id}"),
    })
}

async fn save(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    let id = segment(&id);
    let (path, body) = (format!("/servers/{id}"), written(&fields));
    let change =
        Change::new(Method::PUT, &path).sending(&body).proving(fields.csrf()).of_state(fields.said("tag"));
    match viewer.visit.change(change).await {
        Ok(_) => Ok(go_to(&format!("/servers/{id}?done=saved"))),
        Err(refused) => {
            let frame = Frame::of(&viewer, "servers", "Change a server").again(&refused, &fields);
            Ok(page_refused(&refused, &edit_form(&viewer, frame, id).await?))
        }
    }
}

async fn deletion(viewer: Viewer, Path(id): Path<String>) -> Result<Shown, Shown> {
    Ok(page(&confirm_deletion(&viewer, &id).await?))
}

async fn confirm_deletion(viewer: &Viewer, id: &str) -> Result<Confirm, Refused> {
    let id = segment(id);
    let (server, tag): (Server, _) = viewer.visit.get_tagged(&format!("/servers/{id}")).await?;
    let consequences = viewer.visit.get(&format!("/servers/{id}/deletion")).await?;
    let confirm = Confirm::new(Frame::of(viewer, "servers", "Delete a server"), &server.name)
        .saying("Its agent is shut out at once, and what hangs on the server ends for both parties.")
        .ending(consequences)
        .by(format!("/servers/{id}/delete"), "Delete the server")
        .back(format!("/servers/{id}"));
    Ok(confirm.with("tag", &tag))
}

async fn delete(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    let path = format!("/servers/{}", segment(&id));
    let change = Change::new(Method::DELETE, &path).proving(fields.csrf()).of_state(fields.said("tag"));
    match viewer.visit.change(change).await {
        Ok(_) => Ok(go_to("/servers?done=deleted")),
        Err(refused) => Ok(confirm_deletion(&viewer, &id).await?.again(&refused, &fields)),
    }
}

async fn revocation(viewer: Viewer, Path(id): Path<String>) -> Result<Shown, Shown> {
    Ok(page(&confirm_revocation(&viewer, &id).await?))
}

async fn confirm_revocation(viewer: &Viewer, id: &str) -> Result<Confirm, Refused> {
    let id = segment(id);
    let server: Server = viewer.visit.get(&format!("/servers/{id}")).await?;
    Ok(Confirm::new(Frame::of(viewer, "servers", "Revoke an agent's key"), &server.name)
        .saying(
            "Its agent is shut out at once, and its tunnels end. A new connector configuration lets an agent enrol \
             again; peers must trust the new key.",
        )
        .by(format!("/servers/{id}/revoke-key"), "Revoke the key")
        .back(format!("/servers/{id}")))
}

async fn revoke_key(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    let path = format!("/servers/{}/revoke-key", segment(&id));
    match viewer.visit.change(Change::post(&path).proving(fields.csrf())).await {
        Ok(_) => Ok(go_to(&format!("/servers/{}?done=key-revoked", segment(&id)))),
        Err(refused) => Ok(confirm_revocation(&viewer, &id).await?.again(&refused, &fields)),
    }
}

/// Shows a connector file once. Deliberately without `Debug`.
#[derive(Template)]
#[template(path = "connector.html")]
struct ConnectorPage {
    frame: Frame,
    server: Server,
    file: Zeroizing<String>,
}

async fn connector(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Response, Shown> {
    #[derive(Deserialize)]
    struct Issued {
        file: Option<Zeroizing<String>>,
    }
    let id = segment(&id);
    let (path, body) = (format!("/servers/{id}/connector"), json!({ "life": fields.get("life") }));
    let issued = viewer
        .visit
        .change(Change::post(&path).sending(&body).once(fields.key()).proving(fields.csrf()))
        .await;
    let issued = issued.and_then(|answer| answer.read::<Issued>());
    let issued = match issued.and_then(|issued| issued.file.ok_or_else(Refused::shown_before)) {
        Ok(file) => file,
        Err(refused) => {
            let frame = Frame::of(&viewer, "servers", "Server").again(&refused, &fields);
            return Ok(page_refused(&refused, &server_page(&viewer, frame, id).await?).into_response());
        }
    };
    if fields.get("how") == "download" {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/toml")),
            (CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"connector.toml\"")),
        ];
        return Ok((headers, issued.to_string()).into_response());
    }
    let Ok(server) = viewer.visit.get(&format!("/servers/{id}")).await else {
        return Ok(page_of_made(Some(&issued), &format!("/servers/{id}")).into_response());
    };
    let frame = Frame::of(&viewer, "servers", "Connector configuration");
    Ok(page(&ConnectorPage { frame, server, file: issued }).into_response())
}
