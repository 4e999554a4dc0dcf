//! Channels: one's own, which peers may send to, and those that peers publish.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query};
use axum::http::Method;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use super::ask::{Change, Refused, segment, with_query};
use super::confirm::Confirm;
use super::fields::Fields;
use super::frame::{Frame, Shown, Viewer, go_to, page, page_refused};
use super::lists::{Pager, ROWS};
use super::shapes::{Channel, Grant, Rows, Server};
use super::{Console, filters};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/channels", get(list).post(add))
        .route("/channels/new", get(new))
        .route("/channels/{id}", get(one))
        .route("/channels/{id}/edit", get(edit).post(save))
        .route("/channels/{id}/publish", post(publish))
        .route("/channels/{id}/unpublish", post(unpublish))
        .route("/channels/{id}/delete", get(deletion).post(delete))
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    #[serde(default)]
    of: String,
    #[serde(default)]
    after: String,
    #[serde(default)]
    done: String,
    /// Of which server a new one is to be.
    #[serde(default)]
    server: String,
}

#[derive(Debug, Template)]
#[template(path = "channels.html")]
struct Channels {
    frame: Frame,
    is_own: bool,
    list: Rows<Channel>,
    next: Option<String>,
    first: Option<String>,
}

async fn list(viewer: Viewer, Query(asked): Query<Asked>) -> Result<Shown, Shown> {
    let is_own = asked.of != "peers";
    let own = if is_own { "true" } else { "false" };
    let path = with_query("/channels", &[("own", own), ("after", &asked.after), ("count", ROWS)]);
    let list: Rows<Channel> = viewer.visit.get(&path).await?;
    let (of, title) = if is_own { ("", "Channels") } else { ("peers", "Channels of peers") };
    let Pager { next, first } = Pager::new("/channels", &[("of", of)], &asked.after, list.next.as_deref());
    let frame = Frame::of(&viewer, "channels", title).done(&asked.done);
    Ok(page(&Channels { frame, is_own, list, next, first }))
}

#[derive(Debug, Template)]
#[template(path = "channel_form.html")]
struct ChannelForm {
    frame: Frame,
    path: String,
    tag: String,
    is_new: bool,
    servers: Vec<Server>,
    chosen: String,
    name: String,
    description: String,
    protocol: String,
    published: bool,
    button: &'static str,
    back: String,
}

impl ChannelForm {
    fn ids(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().map(|server| server.id.as_str())
    }
}

async fn new_form(viewer: &Viewer, frame: Frame, chosen: &str) -> Result<ChannelForm, Refused> {
    let mut servers: Rows<Server> = viewer.visit.get(&with_query("/servers", &[("count", "500")])).await?;
    if !chosen.is_empty() && servers.rows.iter().all(|server| server.id != chosen) {
        // It stands behind those that were listed.
        servers.rows.insert(0, viewer.visit.get(&format!("/servers/{}", segment(chosen))).await?);
    }
    Ok(ChannelForm {
        frame,
        path: "/channels".into(),
        tag: String::new(),
        is_new: true,
        servers: servers.rows,
        chosen: chosen.into(),
        name: String::new(),
        description: String::new(),
        protocol: "mllp".into(),
        published: true,
        button: "Add",
        back: "/channels".into(),
    })
}

async fn new(viewer: Viewer, Query(asked): Query<Asked>) -> Result<Shown, Shown> {
    let frame = Frame::of(&viewer, "channels", "Add a channel");
    Ok(page(&new_form(&viewer, frame, &asked.server).await?))
}

async fn add(viewer: Viewer, fields: Fields) -> Result<Shown, Shown> {
    let body = json!({
        "server": fields.get("server"),
        "name": fields.get("name").trim(),
        "description": fields.line("description"),
        "protocol": fields.get("protocol"),
        "published": fields.is_ticked("published"),
    });
    let change = Change::post("/channels").sending(&body).once(fields.key()).proving(fields.csrf());
    match viewer.visit.change(change).await.and_then(|answer| answer.read::<Channel>()) {
        Ok(channel) => Ok(go_to(&format!("/channels/{}?done=added", channel.id))),
        Err(refused) => {
            let frame = Frame::of(&viewer, "channels", "Add a channel").again(&refused, &fields);
            Ok(page_refused(&refused, &new_form(&viewer, frame, "").await?))
        }
    }
}

#[derive(Debug, Template)]
#[template(path = "channel.html")]
struct ChannelPage {
    frame: Frame,
    channel: Channel,
    grants: Vec<Grant>,
}

async fn one(viewer: Viewer, Path(id): Path<String>, Query(asked): Query<Asked>) -> Result<Shown, Shown> {
    let frame = Frame::of(&viewer, "channels", "Channel").done(&asked.done);
    Ok(page(&channel_page(&viewer, frame, &id).await?))
}

async fn channel_page(viewer: &Viewer, frame: Frame, id: &str) -> Result<ChannelPage, Refused> {
    let channel: Channel = viewer.visit.get(&format!("/channels/{}", segment(id))).await?;
    let path = with_query("/grants", &[("channel", &channel.id), ("count", ROWS)]);
    let grants: Rows<Grant> = viewer.visit.get(&path).await?;
    Ok(ChannelPage { frame: Frame { title: channel.name.clone(), ..frame }, channel, grants: grants.rows })
}

async fn edit(viewer: Viewer, Path(id): Path<String>) -> Result<Shown, Shown> {
    let frame = Frame::of(&viewer, "channels", "Change a channel");
    Ok(page(&edit_form(&viewer, frame, &id).await?))
}

async fn edit_form(viewer: &Viewer, frame: Frame, id: &str) -> Result<ChannelForm, Refused> {
    let id = segment(id);
    let (channel, tag): (Channel, _) = viewer.visit.get_tagged(&format!("/channels/{id}")).await?;
    Ok(ChannelForm {
        frame,
        path: format!("/channels/{id}/edit"),
        tag,
        is_new: false,
        servers: Vec::new(),
        chosen: String::new(),
        name: channel.name,
        description: channel.description,
        protocol: channel.protocol,
        published: channel.published == Some(true),
        button: "Save",
        back: format!("/channels/{id}"),
    })
}

async fn save(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    let path = format!("/channels/{}", segment(&id));
    let body = json!({ "name": fields.get("name").trim(), "description": fields.line("description") });
    let change =
        Change::new(Method::PATCH, &path).sending(&body).proving(fields.csrf()).of_state(fields.said("tag"));
    match viewer.visit.change(change).await {
        Ok(_) => Ok(go_to(&format!("{path}?done=saved"))),
        Err(refused) => {
            let frame = Frame::of(&viewer, "channels", "Change a channel").again(&refused, &fields);
            Ok(page_refused(&refused, &edit_form(&viewer, frame, &id).await?))
        }
    }
}

async fn publish(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    switch(&viewer, &id, &fields, "publish", "published").await
}

async fn unpublish(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    switch(&viewer, &id, &fields, "unpublish", "unpublished").await
}

async fn switch(viewer: &Viewer, id: &str, fields: &Fields, word: &str, done: &str) -> Result<Shown, Shown> {
    let path = format!("/channels/{}", segment(id));
    match viewer.visit.change(Change::post(&format!("{path}/{word}")).proving(fields.csrf())).await {
        Ok(_) => Ok(go_to(&format!("{path}?done={done}"))),
        Err(refused) => {
            let frame = Frame::of(viewer, "channels", "Channel").again(&refused, fields);
            Ok(page_refused(&refused, &channel_page(viewer, frame, id).await?))
        }
    }
}

async fn deletion(viewer: Viewer, Path(id): Path<String>) -> Result<Shown, Shown> {
    Ok(page(&confirm_deletion(&viewer, &id).await?))
}

async fn confirm_deletion(viewer: &Viewer, id: &str) -> Result<Confirm, Refused> {
    let id = segment(id);
    let (channel, tag): (Channel, _) = viewer.visit.get_tagged(&format!("/channels/{id}")).await?;
    let consequences = viewer.visit.get(&format!("/channels/{id}/deletion")).await?;
    let confirm = Confirm::new(Frame::of(viewer, "channels", "Delete a channel"), &channel.name)
        .saying("Grants on it are revoked and their connections end, for both parties.")
        .ending(consequences)
        .by(format!("/channels/{id}/delete"), "Delete the channel")
        .back(format!("/channels/{id}"));
    Ok(confirm.with("tag", &tag))
}

async fn delete(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    let path = format!("/channels/{}", segment(&id));
    let change = Change::new(Method::DELETE, &path).proving(fields.csrf()).of_state(fields.said("tag"));
    match viewer.visit.change(change).await {
        Ok(_) => Ok(go_to("/channels?done=deleted")),
        Err(refused) => Ok(confirm_deletion(&viewer, &id).await?.again(&refused, &fields)),
    }
}
