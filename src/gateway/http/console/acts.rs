//! What one may do with a connection, and why not. Only for who looks: the API decides when it is asked.

use super::shapes::{Connection, Session};

#[derive(Debug)]
pub(super) struct Act {
    pub(super) name: &'static str,
    pub(super) button: &'static str,
    /// What it does.
    pub(super) text: &'static str,
    /// The rule that forbids it now.
    pub(super) why_not: Option<&'static str>,
    pub(super) path: String,
    /// Whether it is asked about once more on a page of its own.
    pub(super) is_page: bool,
    pub(super) class: &'static str,
}

const AUDITOR: &str = "Your role is auditor: it sees, and never changes or reveals.";
const DECIDED: &str = "It is not open any more: it was decided or has expired.";
const TIER: &str =
    "It is held until your tier admits Admin RW; an owner changes the tier on the organization's page.";
const VIEWED: &str = "Your organization has viewed it, and it is shown once; Rotate Secrets makes a new one.";
const GONE: &str = "It is no longer available: the gateway has deleted it; Rotate Secrets makes a new one.";
/// What stands behind the name of who holds a pause until its tier fits again.
pub(super) const UNTIL_TIER: &str = " (until its tier admits Admin RW)";
const OVER: &str = "It has ended; nothing brings it back.";

/// Returns all that there is for its kind, in the order of its life.
pub(super) fn acts(it: &Connection, session: &Session) -> Vec<Act> {
    let own = &session.user.organization;
    let is_auditor = session.user.role == "auditor";
    let own_name = &session.user.organization_name;
    let is_held_by_own = it.held_by.iter().any(|by| by == own_name);
    let is_held_for_tier = it.held_by.iter().any(|by| is_for_tier(by, own_name));
    let status = it.status.as_str();
    let mut acts = if it.is_admin() { offers(it, own) } else { Vec::new() };
    acts.extend(switches(it, status, is_held_by_own));
    acts.extend(secrets(it, own));
    acts.push(
        Act::new("Terminate", "It ends for good, on both sides at once.").page(it, "terminate").harsh(),
    );
    for act in &mut acts {
        if is_held_for_tier && act.name == "Resume" {
            act.why_not = Some(TIER);
        }
        if it.has_ended() {
            act.why_not = Some(OVER);
        }
        if is_auditor {
            act.why_not = act.why_not.or(Some(AUDITOR));
        }
    }
    acts
}

/// Returns whether a hold is the one that a lower tier has made of this organization's.
fn is_for_tier(by: &str, own: &str) -> bool {
    by.strip_prefix(own).is_some_and(|rest| rest == UNTIL_TIER)
}

fn switches(it: &Connection, status: &str, is_held_by_own: bool) -> Vec<Act> {
    vec![
        Act::new("Activate", "Both agents may connect from then on.")
            .post(it, "activate")
            .unless(status != "Ready", "Only a connection that is Ready is activated.")
            .main(),
        Act::new(
            "Pause",
            "What runs may end, nothing new starts. It is your side's pause: you alone lift it.",
        )
        .post(it, "pause")
        .unless(!matches!(status, "Active" | "Paused"), "Only an Active connection is paused.")
        .unless(is_held_by_own, "Your side has paused it already."),
        Act::new("Resume", "Lifts your side's pause; it is Active again when nobody else holds it.")
            .post(it, "resume")
            .unless(status != "Paused", "It is not paused.")
            .unless(
                status == "Paused" && !is_held_by_own,
                "The other side has paused it; each lifts its own pause.",
            ),
        Act::new("Disconnect now", "Open tunnels are cut; the status stays, so they may come back.")
            .post(it, "disconnect")
            .harsh()
            .unless(
                !matches!(status, "Active" | "Paused"),
                "Only an Active or Paused connection has tunnels.",
            ),
        Act::new("Retry", "Makes it Ready again, with the same secret.")
            .post(it, "retry")
            .unless(status != "Failed", "It has not failed."),
    ]
}

/// An offer is accepted or declined by its recipient, at the source, and withdrawn by the managed server's owner.
fn offers(it: &Connection, own: &str) -> Vec<Act> {
    const RECIPIENTS: &str = "Its recipient alone accepts or declines it.";
    const OWNERS: &str = "The managed server's owner alone withdraws it.";
    let is_over = it.status != "Offered";
    let is_recipient = !it.is_target(own);
    vec![
        Act::new("Accept", "You name the server of yours whose agent carries the session.")
            .page_at(format!("/offers/{}/accept", it.id))
            .unless(is_over, DECIDED)
            .unless(!is_recipient, RECIPIENTS)
            .main(),
        Act::new("Decline", "The offer ends.")
            .post(it, "decline")
            .unless(is_over, DECIDED)
            .unless(!is_recipient, RECIPIENTS),
        Act::new("Withdraw", "The recipient can accept it no longer.")
            .post(it, "withdraw")
            .unless(is_over, DECIDED)
            .unless(is_recipient, OWNERS),
    ]
}

fn secrets(it: &Connection, own: &str) -> Vec<Act> {
    const OWNERS: &str = "The secret of an admin connection is the managed server's owner's alone.";
    let is_anothers = it.is_admin() && !it.is_target(own);
    vec![
        Act::new(
            "View Secret",
            "Once for each side of a P2P connection; only if you write it into the agent's file.",
        )
        .page(it, "view-secret")
        .unless(is_anothers, OWNERS)
        .forbidden(viewing_over(it)),
        Act::new("Rotate Secrets", "Replaces the secret; live tunnels go on until they reconnect.")
            .page(it, "rotate-secrets")
            .unless(is_anothers, OWNERS),
    ]
}

/// Returns the rule that forbids to view its secret, where there is nothing left to view.
pub(super) fn viewing_over(it: &Connection) -> Option<&'static str> {
    match it.secret_view.as_deref() {
        Some("viewed") => Some(VIEWED),
        Some("gone") => Some(GONE),
        _ => None,
    }
}

impl Act {
    const fn new(name: &'static str, text: &'static str) -> Self {
        Self { name, button: name, text, why_not: None, path: String::new(), is_page: false, class: "small" }
    }

    fn post(self, it: &Connection, command: &str) -> Self {
        Self { path: format!("/connections/{}/do/{command}", it.id), ..self }
    }

    fn page(self, it: &Connection, page: &str) -> Self {
        self.page_at(format!("/connections/{}/{page}", it.id))
    }

    fn page_at(self, path: String) -> Self {
        Self { path, is_page: true, ..self }
    }

    fn main(self) -> Self {
        Self { class: "small main", ..self }
    }

    fn harsh(self) -> Self {
        Self { class: "small harsh", ..self }
    }

    /// Forbids it by a rule, unless an earlier one does.
    fn unless(self, is_forbidden: bool, why: &'static str) -> Self {
        self.forbidden(is_forbidden.then_some(why))
    }

    fn forbidden(self, why: Option<&'static str>) -> Self {
        Self { why_not: self.why_not.or(why), ..self }
    }
}
