//! Viewing a DICOM message in the Administrator of a view-only partner: the connector message goes to a real
//! Jetty through two agents, and leaves its maps behind.

use std::time::Duration;

use adit_core::domain::access::Access;

use super::lab::HANG_LIMIT;
use super::origin::client::{Answer, Client, answers};
use super::origin::jetty::{Hit, Record};
use super::origin::managed::Managed;

/// Shortened from what the Administrator of 4.5.2 sent.
const REAL: &str = include_str!("../../src/mirth/data/dicom-view-body.xml");
const CHANNEL: &str = "11111111-0000-4000-8000-000000008104";
const PIXELS: &str = "QUJDREVGR0g=";
/// How long a refusal has to say nothing to Mirth.
const A_WHILE: Duration = Duration::from_millis(200);

struct View {
    managed: Managed,
}

impl View {
    async fn start() -> Self {
        let mut managed = Managed::start(Access::ReadOnly).await;
        managed.jetty.take();
        Self { managed }
    }

    async fn ask(&self, message: &str, body: &str) -> Answer {
        self.ask_in_pieces(message, body, body.len()).await
    }

    async fn ask_in_pieces(&self, message: &str, body: &str, piece: usize) -> Answer {
        let mut client = Client::connect(self.managed.address).await;
        let head = format!(
            "POST /api/4.5.2/channels/{CHANNEL}/messages/{message}/_getDICOMMessage HTTP/1.1\r\nHost: {}\r\n\
             X-Requested-With: x\r\nAccept: text/plain\r\nContent-Type: application/xml\r\n\
             Content-Length: {}\r\n\r\n",
            self.managed.host(),
            body.len()
        );
        assert!(client.send(head.as_bytes()).await);
        for piece in body.as_bytes().chunks(piece.max(1)) {
            assert!(client.send(piece).await, "the body is read to its end");
        }
        let is_answered =
            client.hears(HANG_LIMIT, |heard| !answers(&heard.bytes, false, heard.closed).is_empty());
        assert!(is_answered.await, "an answer comes");
        answers(&client.heard().bytes, false, false).remove(0)
    }

    /// Requests for a message that Jetty had.
    fn hits(&mut self) -> Vec<Hit> {
        let records = self.managed.jetty.take().into_iter();
        let hits = records.filter_map(|record| match record {
            Record::Request(hit) if hit.target.ends_with("/_getDICOMMessage") => Some(hit),
            _ => None,
        });
        hits.collect()
    }
}

fn compact(xml: &[u8]) -> String {
    let text = std::str::from_utf8(xml).unwrap();
    text.split_inclusive('>').map(str::trim).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_real_message_only_the_contents_with_their_ids_reach_mirth() {
    let mut view = View::start().await;
    for piece in [usize::MAX, 7] {
        let answer = view.ask_in_pieces("8", REAL, piece.min(REAL.len())).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let hits = view.hits();
        let [hit] = &hits[..] else { panic!("once: {hits:?}") };
        let body = compact(&hit.body);
        for kept in [
            "<connectorMessage><messageId>8</messageId><metaDataId>0</metaDataId>",
            "<channelId>11111111-0000-4000-8000-000000008104</channelId><raw>",
            "<content>QUJDREVGR0g=</content><dataType>DICOM</dataType></raw><encoded>",
        ] {
            assert!(body.contains(kept), "{kept} in {body}");
        }
        for left in ["Map", "java", "org.", "class", "linked", "response", "serialization"] {
            assert!(!body.contains(left), "{left} in {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_an_image_of_8_mb_is_viewed() {
    let mut view = View::start().await;
    let image = PIXELS.repeat(8 * 1024 * 1024 * 4 / 3 / PIXELS.len());
    let body = REAL.replace(PIXELS, &image);
    println!("the Administrator sends {} MB", body.len() >> 20);
    assert_eq!(view.ask("8", &body).await.status, 200);
    let hits = view.hits();
    let [hit] = &hits[..] else { panic!("once") };
    println!("Mirth gets {} MB", hit.length >> 20);
    let both = 2 * image.len() as u64;
    assert!((both..both + 2048).contains(&hit.length), "both contents and no more: {}", hit.length);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_not_that_of_the_path_reaches_mirth_with_no_byte() {
    let mut view = View::start().await;
    let other = REAL.replace("8104</channelId>", "8105</channelId>");
    let hidden = REAL.replacen(
        "<messageId>8</messageId>\n          <metaDataId>",
        "<messageId>9</messageId><metaDataId>",
        1,
    );
    assert_ne!(hidden, REAL);
    for (message, body) in [("9", REAL), ("8", other.as_str()), ("8", hidden.as_str())] {
        let before = view.managed.refusals();
        let answer = view.ask(message, body).await;
        assert_eq!(answer.status, 403, "{}", String::from_utf8_lossy(&answer.body));
        assert!(String::from_utf8_lossy(&answer.body).contains("than the path"), "says why");
        assert_eq!(view.managed.refusals(), before + 1);
    }
    tokio::time::sleep(A_WHILE).await;
    assert!(view.hits().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_class_that_a_hostile_map_names_reaches_mirth() {
    const CANARIES: [&str; 6] =
        ["ProcessBuilder", "EventHandler", "PriorityQueue", "JdbcRowSetImpl", "dynamic-proxy", "reference"];
    let mut view = View::start().await;
    let gadget = "<content class=\"java.util.PriorityQueue\"><dynamic-proxy><handler \
                  class=\"java.beans.EventHandler\"><target class=\"java.lang.ProcessBuilder\" \
                  reference=\"../../raw\"/></handler></dynamic-proxy><com.sun.rowset.JdbcRowSetImpl/></content>";
    let fields =
        ["sourceMapContent", "metaDataMap", "sent", "responseErrorContent", "receivedDate", "status"];
    for field in fields {
        let body = format!(
            "<connectorMessage><messageId>8</messageId><{field}>{gadget}</{field}></connectorMessage>"
        );
        assert_eq!(view.ask("8", &body).await.status, 200, "{field}");
    }
    let hits = view.hits();
    assert_eq!(hits.len(), fields.len());
    for hit in &hits {
        let body = String::from_utf8_lossy(&hit.body);
        assert!(!CANARIES.iter().any(|canary| body.contains(canary)), "{body}");
    }
    for field in ["raw", "encoded"] {
        let body = format!(
            "<connectorMessage><messageId>8</messageId><{field}>{gadget}</{field}></connectorMessage>"
        );
        assert_eq!(view.ask("8", &body).await.status, 403, "{field} goes on, so it is looked at");
    }
    assert!(view.hits().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_turns_bad_at_its_end_reaches_mirth_with_no_byte() {
    let mut view = View::start().await;
    let image = PIXELS.repeat(300_000);
    let good = REAL.replace(PIXELS, &image);
    let deep = format!("<metaDataMap>{}", "<a>".repeat(100_000));
    for bad in [
        good.replace("</connectorMessage>", "<orderId/></connectorMessage>"),
        good.replace("</connectorMessage>", "</connectormessage>"),
        good.replace("<metaDataMap/>", &deep),
        good.replace("<metaDataMap/>", "<metaDataMap>&xxe;</metaDataMap>"),
        good.replace("<metaDataMap/>", "<!DOCTYPE a [<!ENTITY xxe \"a\">]><metaDataMap/>"),
        good[..good.len() - 8].to_owned(),
    ] {
        assert_eq!(view.ask("8", &bad).await.status, 403);
    }
    tokio::time::sleep(A_WHILE).await;
    assert!(view.hits().is_empty());
    assert_eq!(view.ask("8", &good).await.status, 200, "and a good one passes afterwards");
}
