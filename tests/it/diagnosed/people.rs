//! Two people of a lab's two organizations, who read the console's pages over HTTPS.

use std::net::SocketAddr;
use std::time::Duration;

use adit_core::domain::id::KeyFingerprint;
use adit_lab::admin_client::{open, shown_key};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use crate::lab::{Lab, SOURCE_OWNER, TARGET_OWNER, eventually};

const PASSWORD: &str = "correct horse battery";
/// Between two looks at a page: one address may ask only so often.
const LOOK_EVERY: Duration = Duration::from_millis(400);

/// On whose side a fault stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    Source,
    Target,
    Both,
}

pub(super) struct People {
    gateway: SocketAddr,
    key: KeyFingerprint,
    /// Of the source's organization, then of the target's.
    cookies: [String; 2],
}

impl People {
    /// Invites one of each organization, who sign in.
    pub(super) async fn of(lab: &Lab) -> Self {
        let gateway = lab.gateway_address();
        let key = shown_key(gateway).await.unwrap();
        let mut people = Self { gateway, key, cookies: [String::new(), String::new()] };
        for (index, owner) in [SOURCE_OWNER, TARGET_OWNER].into_iter().enumerate() {
            let email = format!("auditor{index}@example.org");
            let link = lab.admin(&["user", "invite", &email, "--as", owner, "--role", "auditor"]).await;
            let token = link.trim().rsplit('#').next().unwrap();
            let body = json!({ "token": token, "name": "A person", "password": PASSWORD }).to_string();
            let request = format!(
                "POST /api/v1/invitations/accept HTTP/1.1\r\nHost: {gateway}\r\nOrigin: https://{gateway}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let answer = people.exchange(&request).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            people.cookies[index] = cookies(&answer);
        }
        people
    }

    /// Waits until both read that this fails first, on this side, with these words, and whom each calls.
    pub(super) async fn are_told(&self, connection: &str, title: &str, side: Side, words: &str) {
        let path = format!("/connections/{connection}/diagnose");
        let mut last = String::new();
        eventually(&format!("`{title}` of {side:?} is told with `{words}`"), async || {
            sleep(LOOK_EVERY).await;
            let said = [self.finding(0, &path).await?, self.finding(1, &path).await?];
            if said[0] != last {
                println!("{}", said[0]);
                last.clone_from(&said[0]);
            }
            let is_told = said.iter().zip(calls(side)).all(|(said, call)| {
                said.contains(title)
                    && said.contains(&format!("On the side of {}", named(side)))
                    && said.contains(words)
                    && said.contains(&format!("Call {call}."))
            });
            is_told.then_some(())
        })
        .await;
    }

    /// Returns the sentence that stands first on a page, without its markup.
    async fn finding(&self, person: usize, path: &str) -> Option<String> {
        let page = self.page(person, path).await?;
        let text = page.split_once("<h2 id=\"finding\">")?.1.split_once("</section>")?.0;
        let mut is_markup = false;
        let plain = text.chars().filter(|letter| {
            let is_text = !is_markup && *letter != '<';
            is_markup = if *letter == '<' { true } else { is_markup && *letter != '>' };
            is_text
        });
        Some(plain.collect::<String>().replace("&#39;", "'"))
    }

    /// `None` while it is not shown.
    pub(super) async fn page(&self, person: usize, path: &str) -> Option<String> {
        let (gateway, cookies) = (self.gateway, &self.cookies[person]);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {gateway}\r\nCookie: {cookies}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
        );
        let answer = self.exchange(&request).await;
        answer.starts_with("HTTP/1.1 200").then_some(answer)
    }

    async fn exchange(&self, request: &str) -> String {
        let mut stream = open(self.gateway, Some(self.key)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Who ends a connection without a farewell has said all before.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn cookies(answer: &str) -> String {
    let lines = answer.lines().filter_map(|line| line.split_once(": "));
    let given = lines.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let pairs: Vec<_> = given.filter_map(|(_, value)| value.split(';').next()).collect();
    pairs.join("; ")
}

fn named(side: Side) -> String {
    match side {
        Side::Source => SOURCE_OWNER.into(),
        Side::Target => TARGET_OWNER.into(),
        Side::Both => format!("{SOURCE_OWNER} and {TARGET_OWNER}"),
    }
}

/// Whom the source's and the target's people call.
fn calls(side: Side) -> [String; 2] {
    let own = "your own integration engineer";
    let engineer = |of: &str| format!("the integration engineer of {of}");
    match side {
        Side::Source => [own.into(), engineer(SOURCE_OWNER)],
        Side::Target => [engineer(TARGET_OWNER), own.into()],
        Side::Both => {
            [TARGET_OWNER, SOURCE_OWNER].map(|other| format!("{own}, together with {}", engineer(other)))
        }
    }
}
