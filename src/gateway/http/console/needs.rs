//! What waits for the viewer, kind by kind: the first few of each, how many there are, and where all of them are.

use super::facts::{self, Beside};
use super::filters::isolated;
use super::moments::now_ms;
use super::shapes::{ApiToken, Connection, Grant, Group, Invitation, Needs, Peering, Server};

/// What waits of one kind.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) kind: &'static str,
    pub(super) tone: &'static str,
    pub(super) count: u32,
    /// The list that has all of them.
    pub(super) list: &'static str,
    pub(super) needs: Vec<Need>,
}

/// One thing that waits.
#[derive(Debug)]
pub(super) struct Need {
    pub(super) title: String,
    pub(super) text: String,
    pub(super) until: Option<String>,
    pub(super) path: String,
    pub(super) button: &'static str,
}

impl Waiting {
    fn new<T>(
        (kind, tone, list): (&'static str, &'static str, &'static str),
        group: Group<T>,
        need: impl FnMut(T) -> Need,
    ) -> Self {
        Self { kind, tone, count: group.count, list, needs: group.rows.into_iter().map(need).collect() }
    }

    /// How many there are that are not shown.
    pub(super) fn rest(&self) -> usize {
        (self.count as usize).saturating_sub(self.needs.len())
    }
}

/// Returns what waits, what is broken first; kinds of which nothing waits are left out.
pub(super) fn waiting(needs: Needs, own: &str) -> Vec<Waiting> {
    let all = vec![
        Waiting::new(("Broken", "bad", BROKEN), needs.broken, |it| broken(&it, own)),
        Waiting::new(("Failed", "bad", "/connections?status=Failed"), needs.failed, |it| failed(&it)),
        Waiting::new(("Offer", "warn", "/connections?status=Offered&waiting=true"), needs.offers, |it| {
            offer(&it)
        }),
        Waiting::new(("Peering", "warn", "/peering?waiting=true"), needs.peerings, |it| peering(&it)),
        Waiting::new(("Grant", "warn", "/grants?waiting=true"), needs.grants, |it| grant(&it, own)),
        Waiting::new(("Certificate", "bad", "/servers?ending=certificate"), needs.certificates, certificate),
        Waiting::new(("Ready", "warn", "/connections?status=Ready"), needs.ready, |it| {
            let path = page_of(&it);
            need(it.route(), "is set up and waits to be activated".into(), path, "Open")
        }),
        Waiting::new(("Connector", "warn", "/servers?ending=connector"), needs.connectors, |it| {
            connector(&it)
        }),
        Waiting::new(("API token", "warn", "/account"), needs.api_tokens, api_token),
        Waiting::new(("Invitation", "warn", "/users"), needs.invitations, invitation),
    ];
    all.into_iter().filter(|group| group.count > 0).collect()
}

const BROKEN: &str = "/connections?status=Active&connectivity=Disconnected%2CNever+connected";

fn need(title: String, text: String, path: String, button: &'static str) -> Need {
    Need { title, text, until: None, path, button }
}

fn page_of(it: &Connection) -> String {
    format!("/connections/{}", it.id)
}

fn broken(it: &Connection, own: &str) -> Need {
    let beside = Beside { now_ms: now_ms(), ..Beside::default() };
    let finding = facts::first_failing(&facts::all(it, &beside), it, own);
    let text = finding.map_or_else(
        || format!("it is {}", it.connectivity),
        |finding| format!("{} ({}): {}", finding.title, isolated(&finding.side), finding.evidence),
    );
    need(it.route(), text, format!("{}/diagnose", page_of(it)), "Diagnose")
}

fn failed(it: &Connection) -> Need {
    let why = it.failure.clone().unwrap_or_else(|| "no reason is known".into());
    need(it.route(), why, format!("{}/diagnose", page_of(it)), "Diagnose")
}

fn offer(it: &Connection) -> Need {
    let admin = it.administration.as_ref();
    let by = admin
        .map_or_else(String::new, |admin| format!("{} offers you {}", isolated(&admin.offered_by), it.kind));
    let until = admin.and_then(|admin| admin.expires_at.clone());
    Need { until, ..need(it.route(), by, page_of(it), "Decide") }
}

fn peering(it: &Peering) -> Need {
    need(
        isolated(&it.requester.name).into_owned(),
        "asks for an agreement with you".into(),
        "/peering?waiting=true".into(),
        "Decide",
    )
}

fn grant(it: &Grant, own: &str) -> Need {
    let channel = it.channel.name.as_deref().unwrap_or("a channel");
    let (title, text) = if it.owner.id == own {
        (&it.holder.name, format!("asks to send to {}", isolated(channel)))
    } else {
        (&it.owner.name, format!("offers you its channel {}", isolated(channel)))
    };
    need(isolated(title).into_owned(), text, "/grants?waiting=true".into(), "Decide")
}

fn certificate(it: Server) -> Need {
    let text = "its agent does not renew its certificate: let it reach the gateway before that ends, or enrol it again";
    Need {
        until: it.certificate_expires_at,
        ..need(isolated(&it.name).into_owned(), text.into(), format!("/servers/{}", it.id), "Open")
    }
}

fn connector(it: &Server) -> Need {
    let text = "its connector configuration ends soon, and nobody has enrolled by it";
    need(isolated(&it.name).into_owned(), text.into(), format!("/servers/{}", it.id), "Open")
}

fn api_token(it: ApiToken) -> Need {
    let text = "your API token ends soon: issue another one for the program that shows it";
    Need {
        until: Some(it.expires_at),
        ..need(isolated(&it.name).into_owned(), text.into(), "/account".into(), "Open")
    }
}

fn invitation(it: Invitation) -> Need {
    let text = "is invited and has not come yet";
    Need { until: Some(it.expires_at), ..need(it.email, text.into(), "/users".into(), "Open") }
}
