use proptest::prelude::*;

use super::*;
use crate::domain::secret::Secret;

#[test]
fn messages_cut_at_any_byte_decode_the_same() {
    let messages = to_agent();
    let wire = encode_all(&messages);
    for cut in 0..=wire.len() {
        let decoded = decode_all::<ToAgent>(&[&wire[..cut], &wire[cut..]]).unwrap();
        assert_eq!(decoded, messages, "cut at byte {cut}");
    }
    let single: Vec<_> = wire.chunks(1).collect();
    assert_eq!(decode_all::<ToAgent>(&single).unwrap(), messages);
}

#[test]
fn everything_an_agent_says_reads_back() {
    let (connection, peer) = (ConnectionId::from_bytes([1; 16]), ServerId::from_bytes([2; 16]));
    let messages = [
        ToGateway::Hello {
            version: VERSION,
            versions: vec![1, 2],
            capabilities: Capabilities::own(),
            software: "0.1.0".into(),
            boot: BootId::from_bytes([3; 8]),
        },
        ToGateway::Heartbeat { number: 7 },
        ToGateway::HiddenFrom { peers: vec![ServerId::from_bytes([4; 16])] },
        ToGateway::AllowedPaths {
            peers: vec![PeerPaths { peer, allowed: vec![PathKind::Tcp.into(), PathKind::Relay.into()] }],
        },
        ToGateway::Listening { addresses: vec!["[2001:db8::1]:4433".parse().unwrap()] },
        ToGateway::FetchSecret { connection },
        ToGateway::SecretStored { connection, epoch: 2 },
        ToGateway::Report {
            connection,
            report: Report {
                tunnel: Some(PathKind::Direct.into()),
                mirth: None,
                last_ack: None,
                fault: None,
            },
        },
        ToGateway::Report {
            connection,
            report: Report {
                tunnel: None,
                mirth: Some(true),
                last_ack: None,
                fault: Some(SideFault::NoPath.into()),
            },
        },
        ToGateway::ConfigMismatch { connection, reason: ConfigMismatch::Protocol.into() },
        ToGateway::RefusedPeer {
            connection: None,
            peer: Some(peer),
            reason: PeerRefusal::Unlisted.into(),
            left_out: 7,
            note: Some(NoteNumber(3)),
        },
        ToGateway::Renew { csr: "30".into() },
    ];
    assert_eq!(decode_all::<ToGateway>(&[&encode_all(&messages)]).unwrap(), messages);
}

#[test]
fn what_an_earlier_agent_says_has_no_number() {
    let text = r#"{"type":"refused_peer","connection":null,"peer":null,"reason":"paused"}"#;
    let read = decode_all::<ToGateway>(&[&wire(&[text])]).unwrap();
    assert!(matches!(read[..], [ToGateway::RefusedPeer { note: None, left_out: 0, .. }]), "{read:?}");
}

#[test]
fn a_message_passes_exactly_up_to_the_limit() {
    let message = |length| "x".repeat(length);
    let around = encode_all(&[message(0)]).len() - LENGTH_BYTES;
    let longest = message(CONTROL_MESSAGE_BYTES_MAX - around);
    let wire = encode_all(std::slice::from_ref(&longest));
    assert_eq!(wire.len(), LENGTH_BYTES + CONTROL_MESSAGE_BYTES_MAX);
    assert_eq!(decode_all::<String>(&[&wire]).unwrap(), [longest]);

    let mut to = BytesMut::from(&b"before"[..]);
    let error = encode(&message(CONTROL_MESSAGE_BYTES_MAX - around + 1), &mut to).unwrap_err();
    assert!(matches!(error, ControlError::OwnTooLong { length } if length == CONTROL_MESSAGE_BYTES_MAX + 1));
    assert_eq!(to, b"before"[..]);
}

#[test]
fn a_length_over_the_limit_is_refused_before_its_message_arrives() {
    for length in [u32::try_from(CONTROL_MESSAGE_BYTES_MAX).unwrap() + 1, u32::MAX] {
        let error = decode_all::<ToAgent>(&[&length.to_be_bytes()]).unwrap_err();
        assert!(matches!(error, ControlError::PeerTooLong { .. }), "{error}");
    }
}

/// A stolen gateway's worst names make one rule unnamed, and no other.
#[test]
fn a_bad_name_makes_one_rule_unnamed_without_spoiling_the_message() {
    let long = "x".repeat(400_000);
    for bad in [long.as_str(), "", "two\nlines", "\u{1b}[2J"] {
        let ToAgent::Snapshot { rules, .. } = &to_agent()[3] else { panic!("a snapshot") };
        let rules = &rules.usable;
        let named = Rule { peer_organization: Some(bad.into()), target_name: bad.into(), ..rules[0].clone() };
        let sent =
            ToAgent::Snapshot { revision: 1, rules: vec![named, rules[0].clone()].into(), revoked: vec![] };
        let [ToAgent::Snapshot { rules: read, .. }] = &decode_all(&[&encode_all(&[sent])]).unwrap()[..]
        else {
            panic!("a snapshot")
        };
        let read = &read.usable;
        assert_eq!(read[0].peer_organization.as_deref(), Some(text::UNNAMED));
        assert_eq!(read[0].target_name, text::UNNAMED);
        assert_eq!(read[0].source_name, rules[0].source_name);
        assert_eq!(read[1], rules[0]);
    }
}

#[test]
fn texts_of_a_message_are_bounded_where_they_are_read() {
    let hello = |software: &str| {
        let text =
            format!(r#"{{"type":"hello","version":1,"software":"{software}","boot":"0101010101010101"}}"#);
        let wire = [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat();
        decode_all::<ToGateway>(&[&wire])
    };
    assert!(hello("0.1.0").is_ok());
    assert!(hello(&"x".repeat(65)).is_err());
    assert!(hello("two\\nlines").is_err());

    let reason = ToAgent::Goodbye { reason: "y".repeat(1_000_000), stopping: false };
    let [ToAgent::Goodbye { reason, .. }] = &decode_all(&[&encode_all(&[reason])]).unwrap()[..] else {
        panic!("a goodbye")
    };
    assert_eq!(reason.len(), crate::domain::limits::REASON_CHARS_MAX);
    let csr = ToGateway::Renew { csr: "0".repeat(crate::domain::limits::DIGITS_MAX + 1) };
    assert!(decode_all::<ToGateway>(&[&encode_all(&[csr])]).is_err());
}

#[test]
fn an_unreadable_message_is_named_without_repeating_it() {
    let hidden = "5e".repeat(32);
    for text in [
        format!(r#"{{"type":"secret","connection":"{hidden}","epoch":1,"secret":"{hidden}"}}"#),
        r#"{"type":"secret","#.into(),
        r#"{"epoch":1}"#.into(),
        "[]".into(),
        String::new(),
    ] {
        let wire = [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat();
        let error = decode_all::<ToAgent>(&[&wire]).unwrap_err();
        assert!(matches!(error, ControlError::PeerMalformed { .. }), "{text}");
        assert!(!format!("{error} {error:?}").contains("5e5e"), "{error}");
    }
}

/// The stream of a newer peer.
fn wire(texts: &[&str]) -> Vec<u8> {
    let with_length = |text: &&str| {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        [&length[..], text.as_bytes()].concat()
    };
    texts.iter().flat_map(with_length).collect()
}

#[test]
fn a_message_of_a_newer_build_is_named_between_others_that_are_read() {
    let heartbeat = r#"{"type":"heartbeat","number":1,"now":1795510800000,"mood":{"good":true}}"#;
    let newer = r#"{"type":"relays","relays":[{"at":"192.0.2.1:443"}]}"#;
    let mut decoder = Decoder::default();
    decoder.extend(&wire(&[heartbeat, newer, heartbeat]));
    let beats = |message| matches!(message, Some(ToAgent::Heartbeat { number: 1, .. }));
    assert!(beats(decoder.next_message().unwrap()));
    assert_eq!(decoder.next_message::<ToAgent>().unwrap(), Some(ToAgent::Unknown));
    assert_eq!(decoder.tag().to_string(), "relays");
    assert!(beats(decoder.next_message().unwrap()));
    let from_agent = decode_all::<ToGateway>(&[&wire(&[newer, r#"{"type":"heartbeat","number":1}"#])]);
    assert_eq!(from_agent.unwrap(), [ToGateway::Unknown, ToGateway::Heartbeat { number: 1 }]);
}

#[test]
fn a_word_of_a_newer_agent_costs_no_more_than_itself() {
    let id = ConnectionId::from_bytes([1; 16]);
    let read = |text: String| decode_all::<ToGateway>(&[&wire(&[&text])]).unwrap().remove(0);
    let report = read(format!(
        r#"{{"type":"report","connection":"{id}","report":{{"tunnel":"satellite","mirth":true,"last_ack":null,"mtu":1400}}}}"#
    ));
    let ToGateway::Report { report, .. } = report else { panic!("{report:?}") };
    assert_eq!(report.tunnel.unwrap().to_string(), "satellite");
    let unfit = read(format!(r#"{{"type":"unfit","connection":"{id}","reason":"mirth_too_new"}}"#));
    let ToGateway::ConfigMismatch { reason, .. } = unfit else { panic!("{unfit:?}") };
    assert!(reason.sentence().contains("does not know: `mirth_too_new`"), "{}", reason.sentence());
    let refused =
        read(r#"{"type":"refused_peer","connection":null,"peer":null,"reason":"too_tired"}"#.into());
    assert!(matches!(refused, ToGateway::RefusedPeer { reason: Word::Other(_), .. }), "{refused:?}");
    let listening = read(r#"{"type":"listening","addresses":["192.0.2.7:1","tcp://x",{"via":1}]}"#.into());
    assert_eq!(listening, ToGateway::Listening { addresses: vec!["192.0.2.7:1".parse().unwrap()] });
}

#[test]
fn a_rule_of_a_newer_gateway_costs_its_own_connection() {
    let ToAgent::Snapshot { rules, .. } = &to_agent()[3] else { panic!("a snapshot") };
    let good = serde_json::to_value(&rules.usable[0]).unwrap();
    let mut newer = good.clone();
    newer["protocol"] = "fhir".into();
    newer["connection"] = serde_json::to_value(ConnectionId::from_bytes([2; 16])).unwrap();
    let snapshot = serde_json::json!({
        "type": "snapshot", "revision": 1, "rules": [newer, good, { "for": "nobody" }], "revoked": ["md5:00"],
    });
    let change = serde_json::json!({
        "type": "change", "revision": 2, "change": { "change": "rule", "rule": newer },
    });
    let other = serde_json::json!({
        "type": "change", "revision": 3, "change": { "change": "moved", "to": "elsewhere" },
    });
    let texts = [snapshot, change, other].map(|message| message.to_string());
    let read = decode_all::<ToAgent>(&[&wire(&texts.each_ref().map(String::as_str))]).unwrap();
    let ToAgent::Snapshot { rules: found, revoked, .. } = &read[0] else { panic!("{read:?}") };
    assert_eq!((&found.usable, found.unusable.len(), found.nameless), (&rules.usable, 1, 1));
    assert_eq!(*revoked, []);
    let ToAgent::Change { change: Change::Unusable { rule }, .. } = &read[1] else { panic!("{read:?}") };
    assert_eq!(rule, &found.unusable[0]);
    assert_eq!(read[2], ToAgent::Change { revision: 3, change: Change::Unknown });
}

#[test]
fn a_hello_is_read_whether_it_lists_its_versions_or_not() {
    let boot = "0303030303030303";
    let old = format!(r#"{{"type":"hello","version":1,"software":"0.1.0","boot":"{boot}"}}"#);
    let newer = format!(
        r#"{{"type":"hello","version":1,"versions":[1,2,"x"],"capabilities":["skips-unknown","fly"],"software":"9","boot":"{boot}","extra":1}}"#
    );
    let read = decode_all::<ToGateway>(&[&wire(&[&old, &newer])]).unwrap();
    let ToGateway::Hello { version: 1, versions, capabilities, .. } = &read[0] else { panic!("{read:?}") };
    assert!(versions.is_empty() && capabilities.is_empty());
    let ToGateway::Hello { versions, capabilities, .. } = &read[1] else { panic!("{read:?}") };
    assert_eq!((&versions[..], capabilities.to_string().as_str()), (&[1, 2][..], "skips-unknown,fly"));
}

#[test]
fn a_secret_on_its_way_is_never_shown() {
    let secret = Secret::from_bytes([0x5e; 32]).reveal_hex();
    let message = ToAgent::Secret { connection: ConnectionId::from_bytes([1; 16]), epoch: 1, secret };
    assert!(!format!("{message:?}").contains("5e5e"));
    let mut decoder = Decoder::default();
    decoder.extend(&encode_all(&[message]));
    assert!(!format!("{decoder:?}").contains("5e5e"));
}

fn to_agent() -> Vec<ToAgent> {
    let rule = Rule { source_name: "Klinik Süd".into(), ..fixture::rule(1) };
    let connection = rule.connection;
    let key = KeyFingerprint::from_bytes([4; 32]);
    let now = Timestamp::from_millis(1_795_510_800_000);
    vec![
        ToAgent::Welcome { version: VERSION, now, capabilities: Capabilities::own() },
        ToAgent::RenewOnly { now },
        ToAgent::Heartbeat { number: 1, now },
        ToAgent::Snapshot { revision: 4, rules: vec![rule.clone()].into(), revoked: vec![key] },
        ToAgent::Change { revision: 5, change: Change::Rule { rule } },
        ToAgent::Change { revision: 6, change: Change::Ended { connection } },
        ToAgent::Change { revision: 7, change: Change::Revoked { key } },
        ToAgent::Database { away_since: Some(now) },
        ToAgent::Database { away_since: None },
        ToAgent::Noted { note: NoteNumber(3) },
        ToAgent::Candidates { peer: ServerId::from_bytes([2; 16]), addresses: Vec::new() },
        ToAgent::Secret { connection, epoch: 1, secret: Secret::from_bytes([5; 32]).reveal_hex() },
        ToAgent::SecretUnavailable { connection },
        ToAgent::Renewed { leaf: "30".into() },
        ToAgent::Goodbye { reason: "stopping".into(), stopping: true },
        ToAgent::Goodbye { reason: "refused".into(), stopping: false },
    ]
}

fn encode_all<M: Serialize>(messages: &[M]) -> BytesMut {
    let mut wire = BytesMut::new();
    for message in messages {
        encode(message, &mut wire).unwrap();
    }
    wire
}

fn decode_all<M: DeserializeOwned>(pieces: &[&[u8]]) -> Result<Vec<M>, ControlError> {
    let mut decoder = Decoder::default();
    let mut messages = Vec::new();
    for piece in pieces {
        decoder.extend(piece);
        while let Some(message) = decoder.next_message()? {
            messages.push(message);
        }
    }
    Ok(messages)
}

proptest! {
    #[test]
    fn random_bytes_never_panic(mut wire in any::<Vec<u8>>(), length in 0_u8..64) {
        for (byte, small) in wire.iter_mut().zip([0, 0, 0, length]) {
            *byte = small;
        }
        let _ = decode_all::<ToAgent>(&[&wire]);
        let _ = decode_all::<ToGateway>(&[&wire]);
    }

    #[test]
    fn a_message_with_a_byte_changed_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut wire = encode_all(&to_agent());
        let at = at.index(wire.len());
        wire[at] = byte;
        let _ = decode_all::<ToAgent>(&[&wire]);
    }
}
