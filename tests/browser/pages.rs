//! Every page that the console has, and something on each of them.

use serde_json::{Value, json};

use super::driver::Browser;
use super::stage::{STMARY, id_of};

/// A page of Ada's.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// For a file's name.
    pub(crate) name: &'static str,
    pub(crate) path: String,
}

/// The pages that need nothing to be there.
pub(crate) const PLAIN: [(&str, &str); 17] = [
    ("overview", "/"),
    ("connections", "/connections"),
    ("servers", "/servers"),
    ("server-new", "/servers/new"),
    ("channels", "/channels"),
    ("channels-of-peers", "/channels?of=peers"),
    ("channel-new", "/channels/new"),
    ("peering", "/peering"),
    ("grants", "/grants"),
    ("grant-new", "/grants/new"),
    ("offer-new", "/offers/new"),
    ("admin-sessions", "/admin-sessions"),
    ("audit", "/audit"),
    ("users", "/users"),
    ("organization", "/organization"),
    ("account", "/account"),
    ("second-factor-new", "/account/second-factor"),
];

/// The pages for who is not signed in.
pub(crate) const OUTSIDE: [(&str, &str); 3] =
    [("sign-in", "/sign-in"), ("invitation", "/invitation"), ("not-found", "/no-such-page")];

pub(crate) fn plain() -> Vec<Page> {
    PLAIN.into_iter().map(|(name, path)| Page { name, path: path.into() }).collect()
}

/// Makes something of each kind between Lakeside and St Mary, which have nothing together yet; its texts are what
/// `text` makes of plain ones. Returns every page of Lakeside's owner.
pub(crate) async fn fill(ada: &Browser, bob: &Browser, text: impl Fn(&str) -> String) -> Vec<Page> {
    let server =
        |name| json!({ "name": text(name), "description": text("In room 7"), "version": text("4.5.2") });
    let own = id_of(&ada.does("POST", "/servers", &server("Lakeside Mirth")).await);
    let peers = id_of(&bob.does("POST", "/servers", &server("St Mary Mirth")).await);
    let channel = |server: &str, name| {
        json!({
            "server": server, "name": text(name), "description": text("Admissions"), "protocol": "mllp",
            "published": true,
        })
    };
    let own_channel = id_of(&ada.does("POST", "/channels", &channel(&own, "Orders")).await);
    let peers_channel = id_of(&bob.does("POST", "/channels", &channel(&peers, "ADT")).await);
    let peering = id_of(&ada.does("POST", "/peerings", &json!({ "name": STMARY })).await);
    bob.does("POST", &format!("/peerings/{peering}/accept"), &json!({})).await;
    let connection = granted(ada, bob, &peers_channel, &own).await;
    // A request that waits for Ada, and an offer that does.
    let asked = json!({ "channel": own_channel, "source_server": peers });
    let grant = id_of(&bob.does("POST", "/grants/request", &asked).await);
    let lakeside = organization(ada).await;
    let offer = json!({ "recipient": lakeside, "server": peers, "access": "read-only" });
    let offer = id_of(&bob.does("POST", "/offers", &offer).await);
    let invitation = json!({ "email": "carol@lakeside.example", "role": "operator", "life": "24h" });
    ada.does("POST", "/invitations", &invitation).await;
    let token = json!({ "name": text("scripts"), "role": "operator", "days": 30 });
    ada.does("POST", "/account/api-tokens", &token).await;
    let of = |path: &str| path.replace("{server}", &own).replace("{channel}", &own_channel);
    let with = |path: &str| {
        of(path)
            .replace("{peering}", &peering)
            .replace("{grant}", &grant)
            .replace("{offer}", &offer)
            .replace("{connection}", &connection)
            .replace("{asked}", &peers_channel)
    };
    let pages = [
        ("server", "/servers/{server}"),
        ("server-edit", "/servers/{server}/edit"),
        ("server-delete", "/servers/{server}/delete"),
        ("channel", "/channels/{channel}"),
        ("channel-edit", "/channels/{channel}/edit"),
        ("channel-delete", "/channels/{channel}/delete"),
        ("grant-ask", "/grants/new?channel={asked}"),
        ("peering-end", "/peering/{peering}/end"),
        ("offer", "/connections/{offer}"),
        ("offer-accept", "/offers/{offer}/accept"),
        ("connection", "/connections/{connection}"),
        ("diagnose", "/connections/{connection}/diagnose"),
        ("terminate", "/connections/{connection}/terminate"),
        ("view-secret", "/connections/{connection}/view-secret"),
        ("rotate-secrets", "/connections/{connection}/rotate-secrets"),
        ("connections-found", "/connections?ended=true&search=a"),
    ];
    let mut all = plain();
    all.extend(pages.into_iter().map(|(name, path)| Page { name, path: with(path) }));
    all
}

/// Ada's organization asks for a channel of Bob's and gets it; returns the connection.
async fn granted(ada: &Browser, bob: &Browser, channel: &str, source: &str) -> String {
    let asked = json!({ "channel": channel, "source_server": source });
    let grant = id_of(&ada.does("POST", "/grants/request", &asked).await);
    let approved = bob.does("POST", &format!("/grants/{grant}/approve"), &json!({})).await;
    approved["connection"].as_str().unwrap().to_owned()
}

/// The id of the organization of whoever is signed in.
pub(crate) async fn organization(browser: &Browser) -> String {
    let session = browser.does("GET", "/session", &Value::Null).await;
    session["user"]["organization"].as_str().unwrap().to_owned()
}
