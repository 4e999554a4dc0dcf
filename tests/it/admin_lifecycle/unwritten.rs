//! No audit record, no session (I9): an agent that cannot write its audit serves no admin connection,
//! and carries P2P messages as before.
//!
//! The file that cannot be written is as long as the file system lets a file be, by a hole that takes no
//! room: the agent's next line has no place behind it, as on a full disk. Cut to its length, it is
//! writable again.

use std::fs::{File, OpenOptions};

use adit_agent::AUDIT_FILE;
use adit_core::domain::access::Access;
use adit_core::domain::connection::Protocol;
use adit_lab::messages::Generator;
use adit_lab::sender::Sender;

use super::client::{Client, End, get};
use super::origin::Origin;
use crate::lab::{Lab, Part, mirth};
use crate::world::eventually;

struct Full {
    file: File,
    length: u64,
}

impl Full {
    fn of(lab: &Lab, part: Part) -> Self {
        let file = OpenOptions::new().write(true).open(lab.state(part).join(AUDIT_FILE)).unwrap();
        let length = file.metadata().unwrap().len();
        let (mut may, mut may_not) = (length, u64::MAX / 2 + 1);
        while may_not - may > 1 {
            let middle = may + (may_not - may) / 2;
            if file.set_len(middle).is_ok() { may = middle } else { may_not = middle }
        }
        file.set_len(may).unwrap();
        Self { file, length }
    }

    fn make_room(self) {
        self.file.set_len(self.length).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_audit_that_can_be_written_only_messages_go_on() {
    let (origin, receiver) = (Origin::start("4.5.2").await, mirth().await);
    let p2p = [(Protocol::Mllp, receiver.address())];
    let accesses = [Access::ReadOnly, Access::ReadWrite];
    let mut lab = Lab::written_managing(&p2p, origin.address, &accesses).await;
    lab.start_all().await;
    lab.port_open(0).await;
    for part in [Part::A, Part::B] {
        lab.admin_port_opens(0).await;
        lab.admin_port_opens(1).await;
        let full = Full::of(&lab, part);
        let heard = origin.arrived().len();
        for index in 0..2 {
            for target in ["/api/channels", "/api/server/encryption"] {
                let (status, why) = get(lab.admin_port(index), target).await;
                assert_eq!(status, 503, "{part:?} {target}: {why}");
                assert!(why.contains("audit cannot be written"), "{why}");
            }
        }
        assert_eq!(origin.arrived().len(), heard, "Mirth hears nothing");
        let report = Sender::to(lab.port(0)).send(Generator::new(91).take(20)).await;
        assert_eq!(report.accepted(), 20, "{:?}", report.sent);
        lab.logs(part, "the audit file cannot be written").await;

        full.make_room();
        for index in 0..2 {
            assert_eq!(get(lab.admin_port(index), "/api/channels").await.0, 200, "{part:?}");
        }
        // New sessions for the other agent's turn.
        for part in [Part::A, Part::B] {
            lab.kill(part);
            lab.start(part);
        }
        lab.port_open(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_session_stops_only_while_its_audit_cannot_be_written() {
    let origin = Origin::start("4.5.2").await;
    let lab = Lab::managing(origin.address, &[Access::ReadWrite, Access::ReadOnly]).await;
    let mut clients = Vec::new();
    for index in [0, 1, 0, 1] {
        let mut client = Client::to(lab.admin_port(index)).await;
        client.get("/api/channels").await;
        assert_eq!(client.answer().await.0, 200);
        clients.push(client);
    }
    let full = Full::of(&lab, Part::B);
    let heard = origin.arrived().len();
    // A change with full control, a refusal in view-only, and then what needs no line of its own.
    for (client, method) in clients.iter_mut().zip(["POST", "POST", "GET", "GET"]) {
        let path = if method == "POST" { "/api/channels/_redeployAll" } else { "/api/channels" };
        let more = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
        client.ask(method, path, more).await;
        let (status, why) = client.answer().await;
        assert_eq!(status, 503, "{method}: {why}");
        assert!(why.contains("audit cannot be written"), "{why}");
        assert_eq!(client.rest().await, (vec![], End::Whole));
    }
    assert_eq!(origin.arrived().len(), heard);
    full.make_room();
    let mut client = Client::to(lab.admin_port(0)).await;
    client.ask("POST", "/api/channels/_redeployAll", "Content-Length: 0\r\n").await;
    assert_eq!(client.answer().await.0, 200);
    let audit = lab.own_audit(Part::B);
    assert!(audit.contains("redeployAllChannels"), "{audit}");
    assert!(audit.contains("\"audit_resumed\""), "the gap is told: {audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_no_gateway_has_confirmed_serve_messages_but_no_admin_session() {
    let (origin, receiver) = (Origin::start("4.5.2").await, mirth().await);
    let p2p = [(Protocol::Mllp, receiver.address())];
    let mut lab = Lab::written_managing(&p2p, origin.address, &[Access::ReadOnly]).await;
    lab.start_all().await;
    lab.admin_port_opens(0).await;
    let mut client = Client::to(lab.admin_port(0)).await;
    // The gateway goes: for an hour its word is good.
    lab.kill(Part::Gateway);
    client.get("/api/channels").await;
    assert_eq!(client.answer().await.0, 200);
    // An agent that started again has never heard it.
    lab.kill(Part::B);
    lab.start(Part::B);
    lab.tunnel_anew(Part::B, 0).await;
    lab.port_open(0).await;
    let (status, why) = get(lab.admin_port(0), "/api/channels").await;
    assert_eq!(status, 503, "{why}");
    assert!(why.contains("the gateway has not confirmed"), "{why}");
    assert_eq!(origin.arrived().len(), 1);
    let report = Sender::to(lab.port(0)).send(Generator::new(92).take(20)).await;
    assert_eq!(report.accepted(), 20, "{:?}", report.sent);

    lab.start(Part::Gateway);
    lab.linked().await;
    // Its rules come after the link.
    eventually(async || get(lab.admin_port(0), "/api/channels").await.0 == 200).await;
}
