//! What a view-only partner sees of credentials: nothing. A stand-in serves what Mirth serves of every
//! connector, with a canary in each credential field; all else must arrive by the byte.

use adit_core::domain::access::Access;

use super::client::{Client, End};
use super::observed::said;
use super::origin::Origin;
use crate::lab::{Lab, Part, edit};

const XML: &str = "application/xml";
const JSON: &str = "application/json";

/// Where Mirth serves it, as what, and what.
const ANSWERS: [(&str, &str, &str); 12] = [
    ("/api/4.5.2/channels", XML, include_str!("../data/masking/channels.xml")),
    ("/api/channels", JSON, include_str!("../data/masking/channels.json")),
    ("/api/channels/3f2504e0", "application/xml;charset=utf-8", include_str!("../data/masking/channels.xml")),
    ("/api/connectors/jms/templates", XML, include_str!("../data/masking/templates.xml")),
    ("/api/server/settings", XML, include_str!("../data/masking/settings.xml")),
    ("/api/extensions/Data%20Pruner/properties", XML, include_str!("../data/masking/properties.xml")),
    ("/api/extensions/LDAP/properties", JSON, include_str!("../data/masking/properties.json")),
    ("/api/server/configurationMap", XML, include_str!("../data/masking/map.xml")),
    ("/api/4.5.2/server/configurationMap", JSON, include_str!("../data/masking/map.json")),
    ("/api/channels/3f2504e0/messages", XML, include_str!("../data/masking/messages.xml")),
    (
        "/api/extensions/globalmapviewer/maps/global",
        "text/plain",
        include_str!("../data/masking/templates.xml"),
    ),
    ("/api/server/configuration", XML, include_str!("../data/masking/configuration.xml")),
];
const FRAMINGS: [Framing; 3] = [Framing::Length, Framing::Chunks, Framing::UntilClose];

/// Of the connections of [`managed`].
const UNMASKED: usize = 0;
const MASKED: usize = 1;
const FULL: usize = 2;

#[derive(Debug, Clone, Copy)]
enum Framing {
    Length,
    Chunks,
    UntilClose,
}

/// Two view-only connections, of which the first is not masked, and one with full control.
async fn managed(origin: &Origin) -> Lab {
    let accesses = [Access::ReadOnly, Access::ReadOnly, Access::ReadWrite];
    let mut lab = Lab::written_managing(&[], origin.address, &accesses).await;
    edit(&lab.config(Part::B), |text| {
        let shown = text.replace("max_access", "show = [\"server-configuration\"]\nmax_access");
        shown.replacen("max_access", "mask = false\nmax_access", 1)
    });
    lab.start_all().await;
    for index in 0..accesses.len() {
        lab.admin_port_opens(index).await;
    }
    lab
}

fn answer(content_type: &str, more: &str, body: &[u8], framing: Framing) -> Vec<u8> {
    let (framed, body) = match framing {
        Framing::Length => (format!("Content-Length: {}\r\n", body.len()), body.to_vec()),
        Framing::UntilClose => ("Connection: close\r\n".into(), body.to_vec()),
        Framing::Chunks => {
            let mut chunks = Vec::new();
            for chunk in body.chunks(1_111) {
                chunks.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
            }
            chunks.extend(b"0\r\n\r\n");
            ("Transfer-Encoding: chunked\r\n".into(), chunks)
        }
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{more}{framed}\r\n");
    [head.into_bytes(), body].concat()
}

/// Every canary, up to where its value ends.
fn masked(body: &str) -> String {
    let mut masked = String::new();
    let mut rest = body;
    while let Some(found) = rest.find("CANARY") {
        let start = rest[..found].rfind(['>', '"', ';']).map_or(found, |at| at + 1);
        let escaped = found + rest[found..].find("&lt;").unwrap_or(rest.len() - found);
        let ends = rest[found..].find(['<', ',', ']', '}']).map_or(rest.len(), |at| found + at).min(escaped);
        // A quote before the end is JSON's own.
        let ends = if rest[..ends].ends_with('"') { ends - 1 } else { ends };
        let start = if rest[start..found].contains('&') { found } else { start };
        masked.extend([&rest[..start], "********"]);
        rest = &rest[ends..];
    }
    masked + rest
}

/// What one request brings: status, head and body without framing.
async fn fetch(lab: &Lab, index: usize, target: &str) -> (String, String) {
    let mut client = Client::to(lab.admin_port(index)).await;
    client.ask("GET", target, "Accept-Encoding: gzip\r\nRange: bytes=0-9\r\nConnection: close\r\n").await;
    let (bytes, end) = client.rest().await;
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(end, End::Whole, "{target}: {text}");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let body = if head.contains("Transfer-Encoding: chunked") { without_chunks(body) } else { body.into() };
    if let Some((_, length)) = head.split_once("Content-Length: ") {
        assert_eq!(length.lines().next(), Some(body.len().to_string().as_str()), "{target}");
    }
    (head.to_owned(), body)
}

fn without_chunks(mut wire: &str) -> String {
    let mut body = String::new();
    loop {
        let (size, rest) = wire.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return body;
        }
        body += &rest[..size];
        wire = rest[size..].strip_prefix("\r\n").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_answer_only_the_canaries_in_credential_fields_reach_no_view_only_partner() {
    let origin = Origin::start("4.5.2").await;
    let lab = managed(&origin).await;
    for framing in FRAMINGS {
        for (target, content_type, body) in ANSWERS {
            origin.set_answer(target, answer(content_type, "ETag: \"x\"\r\n", body.as_bytes(), framing));
            let (head, seen) = fetch(&lab, MASKED, target).await;
            assert!(!head.contains("CANARY") && !head.contains("ETag"), "{target}: {head}");
            assert!(!seen.contains("CANARY"), "{target}, {framing:?}: {seen}");
            assert_eq!(seen, masked(body), "{target}, {framing:?}");
        }
    }
    for head in origin.arrived().iter().map(|head| head.to_lowercase()) {
        assert!(!head.contains("accept-encoding") && !head.contains("range:"), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_does_not_mask_shows_answers_by_the_byte() {
    let origin = Origin::start("4.5.2").await;
    let lab = managed(&origin).await;
    shows_all(&origin, &lab, UNMASKED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_control_is_never_masked() {
    let origin = Origin::start("4.5.2").await;
    let lab = managed(&origin).await;
    shows_all(&origin, &lab, FULL).await;
}

async fn shows_all(origin: &Origin, lab: &Lab, index: usize) {
    for framing in FRAMINGS {
        for (target, content_type, body) in ANSWERS {
            origin.set_answer(target, answer(content_type, "", body.as_bytes(), framing));
            assert_eq!(fetch(lab, index, target).await.1, body, "{target}, {framing:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_answer_that_cannot_be_masked_is_refused_in_one_sentence() {
    let origin = Origin::start("4.5.2").await;
    let lab = managed(&origin).await;
    let wide: Vec<u8> = "<password>CANARY</password>".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let cases: [(&str, &str, &[u8]); 7] = [
        (XML, "Content-Encoding: gzip\r\n", b"\x1f\x8bCANARY"),
        ("application/xml;charset=utf-16", "", &wide),
        (XML, "", &wide),
        ("text/plain", "", &wide),
        (XML, "", b"<a><b>CANARY</b>"),
        (XML, "", b"<!DOCTYPE a [<!ENTITY b 'CANARY'>]><a>&b;</a>"),
        (JSON, "", b"{\"a\":\"CANARY\" \"password\"}"),
    ];
    for (content_type, more, body) in cases {
        origin.set_answer("/api/channels", answer(content_type, more, body, Framing::Length));
        let (head, said) = fetch(&lab, MASKED, "/api/channels").await;
        assert!(head.starts_with("HTTP/1.1 502"), "{content_type} {more}: {head}");
        assert!(said.contains("cannot be masked") && !said.contains("CANARY"), "{said}");
    }
    let complaint = lab.admin_complains(Part::B, MASKED, "cannot be masked").await;
    assert!(complaint.contains("/channels") && !complaint.contains("CANARY"), "{complaint}");
    assert!(lab.own_audit(Part::B).contains("cannot be masked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_that_turns_out_to_be_unmaskable_is_cut() {
    let origin = Origin::start("4.5.2").await;
    let lab = managed(&origin).await;
    let channel = "<channel><password>CANARY</password></channel>".repeat(5_000);
    let body = format!("<list>{channel}</broken<password>CANARY</password></list>");
    for framing in FRAMINGS {
        origin.set_answer("/api/channels", answer(XML, "", body.as_bytes(), framing));
        let mut client = Client::to(lab.admin_port(MASKED)).await;
        client.get("/api/channels").await;
        let (seen, end) = client.rest().await;
        assert_eq!(end, End::Reset, "{framing:?}");
        assert!(!String::from_utf8_lossy(&seen).contains("CANARY"), "{framing:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_whether_credentials_are_masked() {
    let origin = Origin::start("4.5.2").await;
    let lab = managed(&origin).await;
    let status = said(&lab.agent_command(Part::B, &["status"]).await);
    assert!(status.contains("credentials in Mirth's answers are masked"), "{status}");
    assert!(status.contains("shown to the partner (mask = false)"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_whether_an_answer_is_masked() {
    let origin = Origin::start("4.5.2").await;
    let lab = managed(&origin).await;
    for (index, words) in [
        (MASKED, "credentials in it are masked"),
        (UNMASKED, "as Mirth gives it"),
        (FULL, "written down before it is sent on"),
    ] {
        let name = lab.admin_name(Part::B, index);
        let method = if index == FULL { "POST" } else { "GET" };
        let said = said(&lab.agent_command(Part::B, &["explain", &name, method, "/api/channels"]).await);
        assert!(said.contains(words), "{said}");
    }
}
