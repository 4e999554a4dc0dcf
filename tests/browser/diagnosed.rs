//! Diagnose, with faults planted one after the other while both sides look at its page: the fact that fails, whose
//! it is, and whom each side calls.

use serde_json::json;

use super::driver::Browser;
use super::hosts::Hosts;
use super::stage::{LAKESIDE, Partnership, STMARY, Stage};

const DECIDED: &str = "Decided by people";
const BOTH: &str = "Lakeside Clinic and St Mary Hospital";
const SOURCE: &str = "Source's agent and gateway";
const TARGET: &str = "Target's agent and gateway";
const MIRTH: &str = "Target's agent and Mirth";

/// Ada's and Bob's pages.
struct Pages<'b>([(&'b Browser, &'static str); 2]);

impl Pages<'_> {
    /// Waits until both pages name this fact first, on this side, with this evidence, and each whom it is to call.
    async fn name(&self, fact: &str, side: &str, evidence: &str) {
        for (person, own) in self.0 {
            let call = match side {
                BOTH => "your own integration engineer, together with".to_owned(),
                _ if own == side => "your own integration engineer".to_owned(),
                _ => format!("the integration engineer of {side}"),
            };
            let wanted = [fact, side, evidence, &call];
            person
                .sees(&format!("the finding {wanted:?}"), async |page: &Browser| {
                    let found = page.contents("#diagnosis .notice").await.concat();
                    wanted.iter().all(|part| found.contains(part))
                })
                .await;
        }
    }

    async fn find_nothing(&self) {
        for (person, _) in self.0 {
            person.has("#diagnosis .notice.good").await;
        }
    }

    async fn miss_a_message(&self) {
        for (person, _) in self.0 {
            person.says("Nothing fails. Not seen yet: Messages are sent").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_planted_fault_is_named_on_its_side_on_both_pages() {
    let stage = Stage::start("standard").await;
    let (ada, bob) = stage.owners("free").await;
    let partnership = Partnership::make(&ada, &bob).await;
    let mut hosts = Hosts::ready(&stage, &ada, &bob, &partnership).await;
    let api = format!("/connections/{}", partnership.connection);
    for person in [&ada, &bob] {
        person.open(&api).await;
        person.press("Diagnose").await;
    }
    let marks = (ada.mark().await, bob.mark().await);
    let pages = Pages([(&ada, LAKESIDE), (&bob, STMARY)]);
    pages.name(DECIDED, BOTH, "nobody has switched it on").await;
    ada.does("POST", &format!("{api}/activate"), &json!({})).await;
    pages.name(SOURCE, LAKESIDE, "").await;
    hosts.source.start();
    pages.name(TARGET, STMARY, "").await;
    hosts.target.start();
    pages.miss_a_message().await;
    assert_eq!(hosts.send(1, 1).await, 1);
    pages.find_nothing().await;
    hosts.source.stop();
    pages.name(SOURCE, LAKESIDE, "not linked").await;
    hosts.source.start();
    pages.find_nothing().await;
    hosts.target.stop();
    pages.name(TARGET, STMARY, "not linked").await;
    hosts.target.start();
    pages.find_nothing().await;
    bob.does("POST", &format!("{api}/pause"), &json!({})).await;
    pages.name(DECIDED, STMARY, &format!("Paused by {STMARY}")).await;
    bob.does("POST", &format!("{api}/resume"), &json!({})).await;
    pages.find_nothing().await;
    hosts.mirth.shutdown().await;
    pages.name(MIRTH, STMARY, "does not accept").await;
    marks.0.is_still_there().await;
    marks.1.is_still_there().await;
}
