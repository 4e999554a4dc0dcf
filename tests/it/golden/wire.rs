//! What goes over the wire: control messages, enrolment, the tunnel's opening and frames, packets.

use std::fmt::Debug;

use adit_core::domain::connection::Side;
use adit_core::domain::id::{BootId, RouteId};
use adit_core::domain::limits::PROBE_BYTES_MAX;
use adit_core::domain::path::PathKind;
use adit_core::domain::word::Word;
use adit_core::protocol::capability::Capabilities;
use adit_core::protocol::control::{
    self, Change, ConfigMismatch, Decoder, PeerRefusal, Report, SessionReport, SessionStage, ToAgent,
    ToGateway,
};
use adit_core::protocol::enrol::{Granted, Refused, Request, TokenGood, TokenQuestion};
use adit_core::protocol::frame::{self, Code, TunnelFrame};
use adit_core::protocol::initial::{Ends, TagKey};
use adit_core::protocol::open::{self, Open, Reply};
use adit_core::protocol::packet::{PROBE_BYTES_MIN, Packet, PacketKey, PacketKind};
use bytes::BytesMut;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{CONNECTION, KEY, NOW, OTHER, PEER, SERVER, golden, is_written_alike, rules, secret};

fn to_gateway() -> Vec<ToGateway> {
    let report = |tunnel: Option<PathKind>, mirth, last_ack| ToGateway::Report {
        connection: CONNECTION,
        report: Report { tunnel: tunnel.map(Word::Known), mirth, last_ack, fault: None },
    };
    let session = |stage| ToGateway::AdminSession {
        connection: CONNECTION,
        session: SessionReport {
            number: 3,
            stage: Word::Known(stage),
            local_peer: "192.0.2.9".parse().unwrap(),
            requests: 9,
            refused: 2,
            changes: 1,
            audits: 4,
        },
        note: None,
    };
    let refused = |reason| ToGateway::RefusedPeer {
        connection: Some(CONNECTION),
        peer: Some(PEER),
        reason: Word::Known(reason),
        left_out: 7,
        note: None,
    };
    let mut messages = vec![
        ToGateway::Heartbeat { number: 7 },
        ToGateway::HiddenFrom { peers: vec![PEER] },
        ToGateway::Listening {
            addresses: vec!["[2001:db8::1]:4433".parse().unwrap(), "192.0.2.7:4433".parse().unwrap()],
        },
        ToGateway::FetchSecret { connection: CONNECTION },
        ToGateway::Missing { connections: vec![CONNECTION, OTHER] },
        ToGateway::SecretStored { connection: CONNECTION, epoch: 2 },
        report(Some(PathKind::Direct), None, None),
        report(Some(PathKind::Relay), Some(true), Some(NOW)),
        report(None, Some(false), None),
        ToGateway::RefusedPeer {
            connection: None,
            peer: None,
            reason: PeerRefusal::BadOpening.into(),
            left_out: 0,
            note: None,
        },
        ToGateway::Renew { csr: "3000".into() },
    ];
    messages.extend(
        [
            ConfigMismatch::Type,
            ConfigMismatch::Side,
            ConfigMismatch::Peer,
            ConfigMismatch::Protocol,
            ConfigMismatch::Access,
            ConfigMismatch::MirthTooOld,
        ]
        .map(|reason| ToGateway::ConfigMismatch { connection: CONNECTION, reason: Word::Known(reason) }),
    );
    messages.extend(
        [
            PeerRefusal::Revoked,
            PeerRefusal::UnknownConnection,
            PeerRefusal::Unlisted,
            PeerRefusal::WrongPeer,
            PeerRefusal::Paused,
            PeerRefusal::NotActive,
            PeerRefusal::Terminated,
            PeerRefusal::ChangedKey,
            PeerRefusal::UnverifiedKey,
            PeerRefusal::WrongSecret,
            PeerRefusal::BadOpening,
            PeerRefusal::RefusedOurKey,
        ]
        .map(refused),
    );
    messages.extend([SessionStage::Started, SessionStage::Running, SessionStage::Ended].map(session));
    messages
}

fn hello() -> ToGateway {
    ToGateway::Hello {
        version: 1,
        versions: Vec::new(),
        capabilities: Capabilities::default(),
        software: "0.1.0".into(),
        boot: BootId::from_bytes([0x55; 8]),
    }
}

fn to_agent() -> Vec<ToAgent> {
    let change = |revision, change| ToAgent::Change { revision, change };
    vec![
        ToAgent::Welcome { version: 1, now: NOW, capabilities: Capabilities::default() },
        ToAgent::RenewOnly { now: NOW },
        ToAgent::Heartbeat { number: 1, now: NOW },
        ToAgent::AnotherCopy { at: "192.0.2.8:4433".parse().unwrap() },
        ToAgent::SnapshotPart { rules: rules().into(), revoked: vec![KEY] },
        ToAgent::Snapshot { revision: 4, rules: rules().into(), revoked: vec![KEY] },
        ToAgent::Ended { connections: vec![OTHER] },
        change(5, Change::Rule { rule: rules().remove(0) }),
        change(6, Change::Ended { connection: CONNECTION }),
        change(7, Change::Unlisted { connection: CONNECTION }),
        change(8, Change::Revoked { key: KEY }),
        ToAgent::Candidates { peer: PEER, addresses: vec!["192.0.2.7:4433".parse().unwrap()] },
        ToAgent::Secret { connection: CONNECTION, epoch: 1, secret: secret(0x66).reveal_hex() },
        ToAgent::SecretUnavailable { connection: CONNECTION },
        ToAgent::Renewed { leaf: "3000".into() },
        ToAgent::Goodbye { reason: "the gateway is stopping".into(), stopping: true },
        ToAgent::Goodbye { reason: "refused".into(), stopping: false },
    ]
}

/// Messages as they stand behind their lengths, one a line.
pub(super) fn lines<M: Serialize>(messages: &[M]) -> Vec<u8> {
    let mut text = Vec::new();
    for message in messages {
        let mut wire = BytesMut::new();
        control::encode(message, &mut wire).unwrap();
        text.extend_from_slice(&wire[4..]);
        text.push(b'\n');
    }
    text
}

pub(super) fn read_lines<M: DeserializeOwned>(name: &str) -> Vec<M> {
    let text = golden(name);
    let mut decoder = Decoder::default();
    let mut messages = Vec::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        decoder.extend(&u32::try_from(line.len()).unwrap().to_be_bytes());
        decoder.extend(line);
        messages.push(decoder.next_message().unwrap().unwrap());
    }
    messages
}

#[test]
fn every_control_message_reads_as_it_was_meant() {
    is_written_alike("to-gateway.jsonl", &lines(&to_gateway()));
    assert_eq!(read_lines::<ToGateway>("to-gateway.jsonl"), to_gateway());
    is_written_alike("to-agent.jsonl", &lines(&to_agent()));
    assert_eq!(read_lines::<ToAgent>("to-agent.jsonl"), to_agent());
}

#[test]
fn a_hello_reads_as_it_was_meant() {
    is_written_alike("hello.jsonl", &lines(&[hello()]));
    assert_eq!(read_lines::<ToGateway>("hello.jsonl"), [hello()]);
}

/// 0.1.0 reads the fields that it knows and takes no notice of others.
#[test]
fn what_is_said_first_still_holds_all_that_0_1_0_reads() {
    let now = ToGateway::Hello {
        version: control::VERSION,
        versions: control::VERSIONS.to_vec(),
        capabilities: Capabilities::own(),
        software: "0.1.0".into(),
        boot: BootId::from_bytes([0x55; 8]),
    };
    let now = serde_json::to_value(now).unwrap();
    let then: Value = serde_json::from_slice(&golden("hello.jsonl")).unwrap();
    for (field, value) in then.as_object().unwrap() {
        assert_eq!(now[field], *value, "{field}");
    }
    let welcome = ToAgent::Welcome { version: 1, now: NOW, capabilities: Capabilities::own() };
    let welcome = serde_json::to_value(welcome).unwrap();
    let then: Value = serde_json::from_slice(&lines(&to_agent()[..1])).unwrap();
    for (field, value) in then.as_object().unwrap() {
        assert_eq!(welcome[field], *value, "{field}");
    }
}

#[test]
fn a_message_goes_behind_its_length() {
    let mut wire = BytesMut::new();
    control::encode(&ToGateway::Heartbeat { number: 7 }, &mut wire).unwrap();
    is_written_alike("framing.hex", hexadecimal(&[&wire]).as_bytes());
    assert_eq!(control::ALPN, b"adit-control/1");
}

/// A JSON body of enrolment.
#[track_caller]
fn body<T: Serialize + DeserializeOwned + Debug>(name: &str, value: &T) {
    is_written_alike(name, &serde_json::to_vec(value).unwrap());
    let read: T = serde_json::from_slice(&golden(name)).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(value).unwrap());
}

#[test]
fn enrolment_reads_as_it_was_meant() {
    let token = || Zeroizing::new("77".repeat(32));
    body("enrol-request.json", &Request { server: SERVER, token: token(), csr: "3000".into() });
    body("enrol-token-question.json", &TokenQuestion { server: SERVER, token: token(), key: Some(KEY) });
    let (route, gateway_route) = (RouteId::from_bytes([0x45; 8]), RouteId::from_bytes([0x46; 8]));
    body("enrol-token-good.json", &TokenGood { expires: NOW, gateway_route });
    let (leaf, ca, trust_domain) = ("3001".into(), "3002".into(), "example.org".into());
    body("enrol-granted.json", &Granted { leaf, ca, route, gateway_route, trust_domain, now: NOW });
    body("enrol-refused.json", &Refused { error: "the token has expired".into() });
}

#[test]
fn the_opening_of_a_tunnel_is_the_same_bytes() {
    let proof = |side| open::proof(&secret(0x66), &[5; 32], CONNECTION, side, &[7; 32], &[8; 32]);
    let asked = Open { version: 1, connection: CONNECTION, proof: proof(Side::Source) };
    let answered = Reply { proof: proof(Side::Target) };
    let (mut ask, mut answer) = (BytesMut::new(), BytesMut::new());
    asked.encode(&mut ask);
    answered.encode(&mut answer);
    is_written_alike("opening.hex", hexadecimal(&[&ask, &answer]).as_bytes());
    let read = bytes_of("opening.hex");
    assert_eq!(Open::decode(&mut BytesMut::from(&read[0][..])), Ok(Some(asked)));
    assert_eq!(Reply::decode(&mut BytesMut::from(&read[1][..])), Ok(Some(answered)));
    assert_eq!(open::ALPN, b"adit/1");
}

#[test]
fn the_frames_of_a_tunnel_are_the_same_bytes() {
    let frames = [
        TunnelFrame::Credit { stream: 0, limit: 262_144 },
        TunnelFrame::Credit { stream: (1 << 62) - 1, limit: (1 << 62) - 1 },
        TunnelFrame::Cut { stream: 4, at: 64 },
        TunnelFrame::Mirth { answers: true },
        TunnelFrame::Mirth { answers: false },
        TunnelFrame::Stopping,
    ];
    let encoded = frames.map(|frame| {
        let mut wire = BytesMut::new();
        frame.encode(&mut wire);
        wire
    });
    is_written_alike("frames.hex", hexadecimal(&encoded.each_ref().map(|wire| &wire[..])).as_bytes());
    let mut decoder = frame::Decoder::default();
    for wire in bytes_of("frames.hex") {
        decoder.extend(&wire);
    }
    for expected in frames {
        assert_eq!(decoder.next_frame(), Ok(Some(expected)));
    }
    let codes: Vec<_> = Code::ALL.iter().map(|code| format!("{:#04x} {code:?}\n", code.to_u32())).collect();
    is_written_alike("codes.txt", codes.concat().as_bytes());
}

#[test]
fn packets_below_quic_are_the_same_bytes() {
    let kinds = PacketKind::ALL;
    let of_connection = PacketKey::of_connection(&secret(0x66));
    let of_link = PacketKey::of_link(&[0x67; 32]);
    let key = |kind| match kind {
        PacketKind::Probe | PacketKind::Answer => &of_connection,
        PacketKind::Register | PacketKind::Challenge | PacketKind::Confirm | PacketKind::Registered => {
            &of_link
        }
    };
    let packet = |kind| Packet {
        kind,
        destination: RouteId::from_bytes([1; 8]),
        source: RouteId::from_bytes([2; 8]),
        boot: BootId::from_bytes([3; 8]),
        nonce: [4; 16],
        length: PROBE_BYTES_MIN,
    };
    let sealed = kinds.map(|kind| key(kind).seal(&packet(kind), &mut [0; PROBE_BYTES_MAX]).to_vec());
    is_written_alike("packets.hex", hexadecimal(&sealed.each_ref().map(|wire| &wire[..])).as_bytes());
    for (kind, wire) in kinds.into_iter().zip(bytes_of("packets.hex")) {
        assert_eq!(key(kind).open(&wire), Some(packet(kind)));
    }
}

#[test]
fn the_tag_of_a_first_initial_is_the_same_bytes() {
    let ends = Ends {
        source: *b"source00chance",
        source_boot: BootId::from_bytes([3; 8]),
        target: RouteId::from_bytes(*b"target00"),
        target_boot: BootId::from_bytes([4; 8]),
    };
    let key = TagKey::of_connection(&secret(0x66));
    let tag = key.initial_id(9, &ends);
    is_written_alike("initial.hex", hexadecimal(&[&tag]).as_bytes());
    let read = bytes_of("initial.hex");
    assert!(key.verifies(read[0].first_chunk().unwrap(), &ends));
}

/// A line for each.
fn hexadecimal(all: &[&[u8]]) -> String {
    let mut lines: Vec<_> = all.iter().map(hex::encode).collect();
    lines.push(String::new());
    lines.join("\n")
}

fn bytes_of(name: &str) -> Vec<Vec<u8>> {
    String::from_utf8(golden(name)).unwrap().lines().map(|line| hex::decode(line).unwrap()).collect()
}
