use proptest::prelude::*;

use super::*;
use crate::domain::limits::MLLP_HEADER_BYTES_MAX;

const ADT: &[u8] =
    b"\x0bMSH|^~\\&|LAB|LAKESIDE|EPR|STMARY|20261124090000||ADT^A01^ADT_A01|7|P|2.5.1\rPID|1||4711\r\x1c\r";
const ACK: &[u8] =
    b"\x0bMSH|^~\\&|EPR|STMARY|LAB|LAKESIDE|20261124090001||ACK^A01|8|P|2.5.1\rMSA|AA|7\r\x1c\r";

#[test]
fn a_message_is_seen_with_its_acknowledgement_at_every_cut() {
    for cut in 0..ADT.len() {
        assert_eq!(requests(&[&ADT[..cut], &ADT[cut..]]), ["message ADT^A01"], "cut at byte {cut}");
    }
    for cut in 0..ACK.len() {
        assert_eq!(responses(&[&ACK[..cut], &ACK[cut..]]), ["ack AA of other"], "cut at byte {cut}");
    }
    assert_eq!(requests(&ADT.chunks(1).collect::<Vec<_>>()), ["message ADT^A01"]);
}

#[test]
fn the_type_is_read_from_msh_9_whatever_the_separators() {
    for (message, expected) in [
        ("MSH|^~\\&|a|b|c|d|e|f|ORU^R01|1", "ORU^R01"),
        ("MSH|^~\\&|a|b|c|d|e|f|ORU^R01^ORU_R01\rOBX|", "ORU^R01"),
        ("MSH|^~\\&|||||||ACK|1", "ACK"),
        ("MSH|^~\\&|||||||ACK^|1", "ACK"),
        ("MSH#:~\\&#a|b^c#######MDM:T02:MDM_T02#1", "other"),
        ("MSH#:~\\&#a|b^c######MDM:T02:MDM_T02#1", "MDM^T02"),
        ("MSH^|~\\&^^^^^^^SIU|S12|SIU_S12^1", "SIU^S12"),
        ("\rMSH|^~\\&|||||||ZZZ^Z99|1", "ZZZ^Z99"),
        // Too short, wrong or private: never a label.
        ("MSH|^~\\&|||||||", "other"),
        ("MSH|^~\\&|a\rPID|||||||X^Y|", "other"),
        ("MSH|^~\\&||||||||1", "other"),
        ("MSH|^~\\&|||||||adt^a01|1", "other"),
        ("MSH|^~\\&|||||||DOE JOHN|1", "other"),
        ("MSH|^~\\&|||||||ADT^A01~X|1", "other"),
        ("MSH|^~\\&|||||||M\u{fc}LLER|1", "other"),
        ("MSH|^~\\&|||||||ABCDEFGHIJKLMNOP|1", "other"),
        ("MSH|^~\\&|||||||ABCDEFG^HIJKLMN^X|1", "ABCDEFG^HIJKLMN"),
        ("MSH|^~\\&|||||||ABCDEFG^HIJKLMNO^X|1", "other"),
        ("MSH", "other"),
        ("MSHX", "other"),
        ("FHS|^~\\&|||||||ADT^A01|1", "other"),
        ("<?xml version=\"1.0\"?><ADT_A01/>", "other"),
        ("x", "other"),
    ] {
        check_type(message.as_bytes(), expected);
    }
}

#[test]
fn the_code_is_read_from_msa_1_of_the_response() {
    for (rest, expected) in [
        ("MSA|AA|1", AckCode::Aa),
        ("MSA|AE", AckCode::Ae),
        ("MSA|AR\r", AckCode::Ar),
        ("SFT|x\rMSA|CA|1", AckCode::Ca),
        ("\nMSA|CE|1", AckCode::Ce),
        ("MSA|CR|1|MSA|AA", AckCode::Cr),
        ("MSA|aa|1", AckCode::Other),
        ("MSA|AAA|1", AckCode::Other),
        ("MSA||1", AckCode::Other),
        ("MSA#AA#1", AckCode::Other),
        ("MSAX|AA|1", AckCode::Other),
        ("ERR|AA|1", AckCode::Other),
        ("", AckCode::Other),
    ] {
        let frame = [b"\x0bMSH|^~\\&|||||||ACK|1|P|2.3\r", rest.as_bytes(), b"\r\x1c\r"].concat();
        assert_eq!(responses(&[&frame]), [format!("ack {expected} of other")], "{rest:?}");
    }
    // Own separators, and a header that ends before its type.
    assert_eq!(responses(&[b"\x0bMSH#^~\\&#######ACK#1\rMSA#AR#1\r\x1c\r"]), ["ack AR of other"]);
    assert_eq!(responses(&[b"\x0bMSH|^~\\&|X\rMSA|AE|1\r\x1c\r"]), ["ack AE of other"]);
    assert_eq!(responses(&[b"\x0b\x06\x1c\r"]), ["ack other of other"]);
}

#[test]
fn acknowledgements_are_timed_by_the_messages_in_their_order() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let oru = String::from_utf8(ADT.to_vec()).unwrap().replace("ADT^A01", "ORU^R01");
    let mut observer = MllpObserver::new();
    let mut events = Vec::new();
    let pipelined = [ADT, oru.as_bytes()].concat();
    observer.request(&pipelined, at(0), &mut |event| events.push(event));
    observer.response(ACK, at(40), &mut |event| events.push(event));
    observer.response(&ACK[..9], at(50), &mut |event| events.push(event));
    observer.response(&ACK[9..], at(90), &mut |event| events.push(event));
    observer.response(ACK, at(95), &mut |event| events.push(event));
    let ack = |kind, latency: Option<u64>| MllpEvent::Ack {
        code: AckCode::Aa,
        kind,
        latency: latency.map(Duration::from_millis),
    };
    let (adt, oru) = (kind(b"ADT", b"A01"), kind(b"ORU", b"R01"));
    let expected = [
        MllpEvent::Message { kind: adt },
        MllpEvent::Message { kind: oru },
        ack(adt, Some(40)),
        ack(oru, Some(90)),
        ack(MessageType::OTHER, None),
    ];
    assert_eq!(events, expected);
}

#[test]
fn something_is_owed_from_a_messages_first_byte_to_the_last_of_its_acknowledgement() {
    let now = Instant::now();
    let mut observer = MllpObserver::new();
    let mut none = |_| {};
    assert_eq!((observer.owes(), observer.is_within_message()), (Some(false), false));
    for (number, byte) in ADT.iter().enumerate() {
        observer.request(&[*byte], now, &mut none);
        let is_within = number + 1 < ADT.len();
        assert_eq!((observer.owes(), observer.is_within_message()), (Some(true), is_within), "byte {number}");
    }
    observer.request(b"\r\n", now, &mut none);
    assert!(!observer.is_within_message(), "what may stand between messages begins none");
    for (number, byte) in ACK.iter().enumerate() {
        observer.response(&[*byte], now, &mut none);
        assert_eq!(observer.owes(), Some(number + 1 < ACK.len()), "byte {number}");
    }
    observer.request(b"no MLLP", now, &mut none);
    assert_eq!(observer.owes(), None);
}

#[test]
fn of_messages_beyond_the_limit_only_the_latency_is_lost() {
    let now = Instant::now();
    let mut observer = MllpObserver::new();
    let (mut messages, mut timed, mut untimed) = (0, 0, 0);
    let mut count = |event| match event {
        MllpEvent::Message { .. } => messages += 1,
        MllpEvent::Ack { latency: Some(_), .. } => timed += 1,
        MllpEvent::Ack { latency: None, .. } => untimed += 1,
        MllpEvent::Off { why } => panic!("{why}"),
    };
    for _ in 0..=MLLP_AWAITED_MAX {
        observer.request(ADT, now, &mut count);
    }
    // Room again, but behind one that is not remembered: matching it would time the wrong message.
    observer.response(ACK, now, &mut count);
    observer.request(ADT, now, &mut count);
    for _ in 0..=MLLP_AWAITED_MAX {
        observer.response(ACK, now, &mut count);
    }
    observer.request(ADT, now, &mut count);
    observer.response(ACK, now, &mut count);
    assert_eq!((messages, timed, untimed), (MLLP_AWAITED_MAX + 3, MLLP_AWAITED_MAX + 1, 2));
}

#[test]
fn a_frame_ends_only_at_an_end_byte_before_a_carriage_return() {
    for (body, expected) in [
        (&b"\x1c\x1c\r"[..], 1),
        (b"\x1cX\x1c\r", 1),
        (b"\x1c\n\x1c\r", 1),
        (b"\r\rX\x1c", 0),
        (b"\x0bMSH|\x1c\r", 1),
    ] {
        let frame = [&ADT[..ADT.len() - 2], body].concat();
        for cut in 0..frame.len() {
            let events = requests(&[&frame[..cut], &frame[cut..]]);
            assert_eq!(events, vec!["message ADT^A01"; expected], "{body:?} cut at byte {cut}");
        }
    }
}

#[test]
fn empty_frames_mean_as_little_as_blanks_between_frames() {
    let wire = [b"\r\n \0\x0b\x1c\r\n", ADT, b"\r\n", ADT, b"\n\0"].concat();
    for cut in 0..wire.len() {
        let events = requests(&[&wire[..cut], &wire[cut..]]);
        assert_eq!(events, ["message ADT^A01", "message ADT^A01"], "cut at byte {cut}");
    }
}

#[test]
fn a_twenty_mebibyte_message_is_one_message() {
    let mut wire = ADT[..ADT.len() - 2].to_vec();
    wire.resize(20 * 1024 * 1024, b'x');
    wire.extend_from_slice(b"\x1c\r");
    let pieces: Vec<_> = wire.chunks(65_537).collect();
    assert_eq!(requests(&pieces), ["message ADT^A01"]);
}

#[test]
fn foreign_protocols_are_named_once_at_every_cut() {
    for (first_bytes, expected) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], "off TlsClientHello"),
        (b"GET / HTTP/1.1\r\n", "off HttpRequest"),
        (b"POST /x HTTP/1.1\r\n", "off HttpRequest"),
        (b"OPTIONS * HTTP/1.1\r\n", "off HttpRequest"),
        (b"CONNECT a:1 HTTP/1.1\r\n", "off HttpRequest"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "off HttpRequest"),
        (b"\x16\x04\x01\x02\x00\x01", "off Unparsable"),
        (b"GETS something", "off Unparsable"),
        (b"MSH|^~\\&|no start block", "off Unparsable"),
        (b"\x01\x00\x00\x00\x00\xcd", "off Unparsable"),
    ] {
        for cut in 0..first_bytes.len() {
            let events = requests(&[&first_bytes[..cut], &first_bytes[cut..], ADT]);
            assert_eq!(events, [expected], "{} cut at byte {cut}", first_bytes.escape_ascii());
        }
    }
}

#[test]
fn bytes_outside_of_frames_turn_both_directions_off() {
    let now = Instant::now();
    let mut observer = MllpObserver::new();
    let mut events = Vec::new();
    let mut emit = |event| events.push(word(event));
    observer.request(ADT, now, &mut emit);
    observer.response(b"HTTP/1.1 200 OK\r\n", now, &mut emit);
    observer.request(ADT, now, &mut emit);
    observer.response(ACK, now, &mut emit);
    assert_eq!(events, ["message ADT^A01", "off Unparsable"]);
}

#[test]
fn a_header_is_read_exactly_up_to_the_limit() {
    for (over, expected) in [(0, "message ADT^A01"), (1, "off HeaderTooLong")] {
        let (head, tail) = ("MSH|^~\\&|", "||||||ADT^A01|");
        let filler = "x".repeat(MLLP_HEADER_BYTES_MAX - head.len() - tail.len() + over);
        let frame = format!("\x0b{head}{filler}{tail}1\r\x1c\r");
        assert_eq!(requests(&[frame.as_bytes()]), [expected]);
    }
}

#[test]
fn an_acknowledgement_beyond_the_limit_still_answers_its_message() {
    let (head, tail) = ("MSH|^~\\&|||||||ACK|1\rZZZ|", "\rMSA|AA|");
    for (over, expected) in [(0, "ack AA of other"), (1, "ack other of other")] {
        let filler = "x".repeat(MLLP_HEADER_BYTES_MAX - head.len() - tail.len() + over);
        let frame = format!("\x0b{head}{filler}{tail}1\r\x1c\r");
        assert_eq!(responses(&[frame.as_bytes(), ACK]), [expected, "ack AA of other"]);
    }
}

#[test]
fn nothing_of_a_message_but_its_type_is_kept() {
    let wire = b"\x0bMSH|^~\\&|LAB|||||DOE|ADT^A01|1|P|2.5.1\rPID|1||4711||DOE^JANE\r\x1c\r";
    let shown = format!("{:?}", b"DOE");
    let doe = &shown[1..shown.len() - 1];
    let mut observer = MllpObserver::new();
    for byte in wire.chunks(1) {
        observer.request(byte, Instant::now(), &mut |_| ());
        observer.response(byte, Instant::now(), &mut |_| ());
        let kept = format!("{observer:?}");
        assert!(!kept.contains(doe), "{kept}");
    }
}

#[track_caller]
fn check_type(message: &[u8], expected: &str) {
    let frame = [b"\x0b", message, b"\x1c\r"].concat();
    assert_eq!(requests(&[&frame]), [format!("message {expected}")], "{}", message.escape_ascii());
}

fn kind(code: &[u8], trigger: &[u8]) -> MessageType {
    MessageType::from_components(code, trigger).unwrap()
}

fn requests(pieces: &[&[u8]]) -> Vec<String> {
    let (mut observer, mut events) = (MllpObserver::new(), Vec::new());
    for piece in pieces {
        observer.request(piece, Instant::now(), &mut |event| events.push(word(event)));
    }
    events
}

fn responses(pieces: &[&[u8]]) -> Vec<String> {
    let (mut observer, mut events) = (MllpObserver::new(), Vec::new());
    for piece in pieces {
        observer.response(piece, Instant::now(), &mut |event| events.push(word(event)));
    }
    events
}

fn word(event: MllpEvent) -> String {
    match event {
        MllpEvent::Message { kind } => format!("message {kind}"),
        MllpEvent::Ack { code, kind, .. } => format!("ack {code} of {kind}"),
        MllpEvent::Off { why } => format!("off {why:?}"),
    }
}

/// Returns the bytes that matter to the observer, more often than chance would give them.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(ADT.to_vec()),
        Just(ACK.to_vec()),
        Just(vec![START]),
        Just(vec![END, CARRIAGE_RETURN]),
        Just(b"MSH|^~\\&|".to_vec()),
        Just(b"\rMSA|AA".to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn random_bytes_are_read_the_same_in_any_chunks(wire in wire(), size in 1_usize..40) {
        let chunks: Vec<_> = wire.chunks(size).collect();
        prop_assert_eq!(requests(&chunks), requests(&[&wire]));
        prop_assert_eq!(responses(&chunks), responses(&[&wire]));
    }
}
