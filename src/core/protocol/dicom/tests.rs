use proptest::prelude::*;

use super::*;
use crate::domain::limits::{DICOM_ASSOCIATE_BYTES_MAX, DICOM_COMMAND_BYTES_MAX};

const COMMAND: u8 = 1;
const LAST: u8 = 2;
/// A marker that stands for a patient.
const PATIENT: &[u8] = b"DOE^JANE";

#[test]
fn an_association_that_stores_is_seen_at_every_cut() {
    let talk = storing(0x0000);
    let expected = [
        "requested CT1 at PACS",
        "accepted CT1 at PACS",
        "store requested",
        "stored 0000H success 8 bytes, timed",
        "released",
    ];
    assert_eq!(events(&talk, usize::MAX), expected);
    for size in 1..200 {
        assert_eq!(events(&talk, size), expected, "in pieces of {size}");
    }
}

/// What it is, what is said after the association was accepted, and the events of that.
type Crafted<'a> = (&'a str, Vec<(bool, Vec<u8>)>, &'a [&'a str]);

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn crafted_associations_give_their_events() {
    let opened = ["requested CT1 at PACS", "accepted CT1 at PACS"];
    let store = || (true, value(1, COMMAND | LAST, &store_request(7)));
    let object = || (true, value(1, LAST, PATIENT));
    let answer = |status| (false, value(1, COMMAND | LAST, &response(0x8001, 7, status)));
    let rows: [Crafted; 16] = [
        (
            "a warning",
            vec![store(), object(), answer(0xb000)],
            &["store requested", "stored B000H warning 8 bytes, timed"],
        ),
        (
            "a failure",
            vec![store(), object(), answer(0xa700)],
            &["store requested", "stored A700H failure 8 bytes, timed"],
        ),
        (
            "an answer before the object is whole",
            vec![store(), answer(0xc000), object()],
            &["store requested", "stored C000H failure 0 bytes, untimed"],
        ),
        ("an answer to nothing", vec![answer(0)], &["stored 0000H success 0 bytes, untimed"]),
        ("an echo", vec![(true, value(1, COMMAND | LAST, &request(0x0030, 1)))], &["called C-ECHO"]),
        (
            "a query with pending answers",
            vec![
                (true, value(3, COMMAND | LAST, &command(&[(0x0100, 0x20), (0x0110, 1), (0x0800, 1)]))),
                (true, value(3, LAST, b"0123")),
                (false, value(3, COMMAND | LAST, &pending_find())),
                (false, value(3, LAST, b"found")),
                (false, value(3, COMMAND | LAST, &response(0x8020, 1, 0))),
            ],
            &["called C-FIND"],
        ),
        ("a cancel", vec![(true, value(1, COMMAND | LAST, &cancel()))], &["called C-CANCEL"]),
        (
            "an unknown command",
            vec![(true, value(1, COMMAND | LAST, &request(0x0042, 1)))],
            &["called other"],
        ),
        (
            "an object that the acceptor sends (C-GET)",
            vec![
                (true, value(1, COMMAND | LAST, &request(0x0010, 9))),
                (false, value(5, COMMAND | LAST, &store_request(7))),
                (false, value(5, LAST, b"abcd")),
                (true, value(5, COMMAND | LAST, &response(0x8001, 7, 0))),
            ],
            &["called C-GET", "store requested", "stored 0000H success 4 bytes, timed"],
        ),
        (
            "command and data in one PDU, data in many",
            vec![
                (true, values(&[(1, COMMAND | LAST, &store_request(7)), (1, 0, b"ab"), (1, 0, b"")])),
                (true, values(&[(1, 0, b"cdef"), (1, LAST, b"")])),
                answer(0),
            ],
            &["store requested", "stored 0000H success 6 bytes, timed"],
        ),
        (
            "a command split over values and PDUs",
            {
                let command = store_request(7);
                vec![
                    (true, values(&[(1, COMMAND, &command[..3]), (1, COMMAND, &command[3..21])])),
                    (true, value(1, COMMAND, &command[21..])),
                    (true, value(1, COMMAND | LAST, b"")),
                    object(),
                    answer(0),
                ]
            },
            &["store requested", "stored 0000H success 8 bytes, timed"],
        ),
        (
            "an abort of the application",
            vec![store(), (true, pdu(7, &[0, 0, 0, 3]))],
            &["store requested", "aborted by the application"],
        ),
        (
            "an abort of the protocol",
            vec![(false, pdu(7, &[0, 0, 2, 2])), store()],
            &["aborted by the protocol: unexpected PDU"],
        ),
        (
            "a release from the acceptor",
            vec![(false, pdu(5, &[0; 4])), (true, pdu(6, &[0; 4]))],
            &["released"],
        ),
        (
            "what follows a release",
            vec![(true, pdu(5, &[0; 4])), (false, pdu(6, &[0; 4])), (true, vec![9])],
            &["released"],
        ),
        (
            "objects under way together, answered in another order",
            vec![
                (true, value(1, COMMAND | LAST, &store_request(1))),
                (true, value(1, LAST, b"one1")),
                (true, value(3, COMMAND | LAST, &store_request(2))),
                (true, value(3, LAST, b"two2222")),
                (false, value(3, COMMAND | LAST, &response(0x8001, 2, 0))),
                (false, value(1, COMMAND | LAST, &response(0x8001, 1, 0))),
            ],
            &[
                "store requested",
                "store requested",
                "stored 0000H success 7 bytes, timed",
                "stored 0000H success 4 bytes, timed",
            ],
        ),
    ];
    for (what, said, expected) in rows {
        let talk = [vec![(true, request_association()), (false, acceptance())], said].concat();
        let expected = [&opened[..], expected].concat();
        for size in [1, 7, usize::MAX] {
            assert_eq!(events(&talk, size), expected, "{what}, in pieces of {size}");
        }
    }
}

#[test]
fn a_rejected_association_says_why() {
    for (body, expected) in [
        ([0, 1, 1, 7], "rejected for good: called AE title not recognized"),
        ([0, 1, 1, 3], "rejected for good: calling AE title not recognized"),
        ([0, 2, 3, 2], "rejected for now: local limit exceeded"),
        ([0, 1, 2, 9], "rejected for good: no reason given"),
    ] {
        let talk = [(true, request_association()), (false, pdu(3, &body)), (false, vec![1])];
        assert_eq!(events(&talk, 3), ["requested CT1 at PACS", expected]);
    }
}

/// Each row contradicts PS3.8 §9.3 or §E.1, or PS3.7 §6.3.1 and §9.3, in one place.
#[test]
fn what_contradicts_itself_turns_both_directions_off() {
    let whole = store_request(7);
    let without = |element: u16| command_without(&[(0x0100, 1), (0x0110, 7), (0x0800, 1)], element);
    let rows: Vec<(&str, bool, Vec<u8>)> = vec![
        ("an unknown PDU", true, pdu(8, &[0; 4])),
        ("a second request", true, request_association()),
        ("a second acceptance", false, acceptance()),
        ("an acceptance from the requestor", true, acceptance()),
        ("a rejection after the acceptance", false, pdu(3, &[0, 1, 1, 1])),
        ("a release answered unasked", false, pdu(6, &[0; 4])),
        ("a release that is too long", true, pdu(5, &[0; 5])),
        ("an abort that is too short", true, pdu(7, &[0; 3])),
        ("P-DATA without a value", true, pdu(4, &[])),
        ("P-DATA that ends in a header", true, pdu(4, &[0, 0, 0, 2, 1])),
        ("a value shorter than its own header", true, pdu(4, &[0, 0, 0, 1, 1, 3])),
        ("a value longer than its PDU", true, pdu(4, &[0, 0, 0, 3, 1, 3])),
        ("a value of four gigabytes", true, pdu(4, &[0xff, 0xff, 0xff, 0xff, 1, 3])),
        ("an even context", true, value(2, COMMAND | LAST, &whole)),
        ("context zero", true, value(0, COMMAND | LAST, &whole)),
        ("data before a command", true, value(1, LAST, b"ab")),
        ("data amid a command", true, values(&[(1, COMMAND, &whole), (1, LAST, b"ab")])),
        ("a command amid data", true, values(&[(1, COMMAND | LAST, &whole), (1, COMMAND, &whole)])),
        ("another context in between", true, values(&[(1, COMMAND | LAST, &whole), (3, LAST, b"ab")])),
        ("an empty command", true, value(1, COMMAND | LAST, b"")),
        ("a command that ends in an element", true, value(1, COMMAND | LAST, &whole[..whole.len() - 1])),
        ("a command that ends in a header", true, value(1, COMMAND | LAST, &whole[..17])),
        ("a value beyond the command", true, value(1, COMMAND | LAST, &uid_of_length(0xffff_fff0))),
        ("a group that is none of a command", true, value(1, COMMAND | LAST, b"\x08\0\x18\0\0\0\0\0")),
        ("elements out of order", true, value(1, COMMAND | LAST, &command(&[(0x110, 7), (0x100, 1)]))),
        ("a number of four bytes", true, value(1, COMMAND | LAST, b"\0\0\0\x01\x04\0\0\0\x01\0\0\0")),
        ("no command field", true, value(1, COMMAND | LAST, &without(0x0100))),
        ("no message id", true, value(1, COMMAND | LAST, &without(0x0110))),
        ("no data set type", true, value(1, COMMAND | LAST, &without(0x0800))),
        ("a response without a status", false, value(1, COMMAND | LAST, &request(0x8001, 7))),
    ];
    for (what, from_requestor, wire) in rows {
        let talk = [
            (true, request_association()),
            (false, acceptance()),
            (from_requestor, wire),
            (true, value(1, COMMAND | LAST, &request(0x0030, 1))),
        ];
        let expected = ["requested CT1 at PACS", "accepted CT1 at PACS", "off Unparsable"];
        for size in [1, usize::MAX] {
            let mut events = events(&talk, size);
            // Where the contradiction comes after a command that was whole.
            events.retain(|event| event != "store requested");
            assert_eq!(events, expected, "{what}, in pieces of {size}");
        }
    }
}

#[test]
fn nothing_is_understood_before_it_was_agreed() {
    let echo = value(1, COMMAND | LAST, &request(0x0030, 1));
    let mut version_2 = request_association();
    version_2[7] = 2;
    for (what, talk) in [
        ("P-DATA at once", vec![(true, request_association()), (true, echo.clone())]),
        ("a release at once", vec![(true, request_association()), (true, pdu(5, &[0; 4]))]),
        ("a request that is too short", vec![(true, pdu(1, &[0; 67]))]),
        ("another version", vec![(true, version_2)]),
        ("an acceptance of nothing", vec![(false, acceptance())]),
        ("an abort of nothing", vec![(false, pdu(7, &[0; 4]))]),
        ("an acceptor that greets", vec![(false, b"SSH-2.0-OpenSSH\r\n".to_vec())]),
    ] {
        let events = events(&talk, usize::MAX);
        assert_eq!(events.last().map(String::as_str), Some("off Unparsable"), "{what}: {events:?}");
    }
}

#[test]
fn foreign_protocols_are_named_once_at_every_cut() {
    for (first_bytes, expected) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], "off TlsClientHello"),
        (b"GET / HTTP/1.1\r\n", "off HttpRequest"),
        (b"POST /x HTTP/1.1\r\n", "off HttpRequest"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "off HttpRequest"),
        (b"\x0bMSH|^~\\&|LAB\r\x1c\r", "off NotDicom"),
        (b"\x04\0\0\0\0\x04", "off NotDicom"),
        (b"PUSH", "off NotDicom"),
        (b"\0\0\0\0", "off NotDicom"),
    ] {
        for cut in 0..first_bytes.len() {
            let (head, tail) = first_bytes.split_at(cut);
            let talk = [(true, head.to_vec()), (true, tail.to_vec()), (true, request_association())];
            assert_eq!(events(&talk, usize::MAX), [expected], "{} cut at {cut}", first_bytes.escape_ascii());
        }
    }
}

#[test]
fn an_ae_title_is_trimmed_or_else_unreadable() {
    for (field, expected) in [
        (b"PACS            ", "PACS"),
        (b"  CT 1 (A)      ", "CT 1 (A)"),
        (b"SIXTEEN_LETTERS!", "SIXTEEN_LETTERS!"),
        (b"PADDED\0\0\0\0\0\0\0\0\0\0", "PADDED"),
        (b"                ", "unreadable"),
        (b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "unreadable"),
        (b"BACK\\SLASH      ", "unreadable"),
        (b"LINE\nEND        ", "unreadable"),
        (b"NUL\0INSIDE      ", "unreadable"),
        (b"\x1b[31mRED        ", "unreadable"),
        (b"M\xfcLLER          ", "unreadable"),
    ] {
        assert_eq!(AeTitle::from_field(field).as_str(), expected);
    }
}

#[test]
fn every_status_has_its_class() {
    for (code, class) in [
        (0x0000, StatusClass::Success),
        (0x0001, StatusClass::Warning),
        (0x0107, StatusClass::Warning),
        (0x0116, StatusClass::Warning),
        (0xafff, StatusClass::Failure),
        (0xb000, StatusClass::Warning),
        (0xbfff, StatusClass::Warning),
        (0xc000, StatusClass::Failure),
        (0xa700, StatusClass::Failure),
        (0x0110, StatusClass::Failure),
        (0x0122, StatusClass::Failure),
        (0xfe00, StatusClass::Failure),
        (0xff00, StatusClass::Failure),
    ] {
        assert_eq!(Status(code).class(), class, "{code:04x}");
    }
}

#[test]
fn a_store_is_timed_from_the_last_byte_of_its_object() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut observer = opened();
    let mut stored = Vec::new();
    let mut emit = |event| note_latency(&mut stored, event);
    let object = value(1, LAST, PATIENT);
    observer.request(&value(1, COMMAND | LAST, &store_request(7)), at(0), &mut emit);
    observer.request(&object[..9], at(10), &mut emit);
    observer.request(&object[9..], at(100), &mut emit);
    let answer = value(1, COMMAND | LAST, &response(0x8001, 7, 0));
    observer.response(&answer[..30], at(120), &mut emit);
    observer.response(&answer[30..], at(130), &mut emit);
    assert_eq!(stored, [Some(Duration::from_millis(30))]);
}

#[test]
fn of_stores_beyond_the_limit_only_the_measures_are_lost() {
    let now = Instant::now();
    let mut observer = opened();
    let mut measured = Vec::new();
    let mut emit = |event| note_latency(&mut measured, event);
    let ids = || (0..).take(DICOM_AWAITED_MAX + 1);
    for id in ids() {
        let store = [value(1, COMMAND | LAST, &store_request(id)), value(1, LAST, PATIENT)].concat();
        observer.request(&store, now, &mut emit);
    }
    for id in ids() {
        observer.response(&value(1, COMMAND | LAST, &response(0x8001, id, 0)), now, &mut emit);
    }
    let mut expected = vec![Some(Duration::ZERO); DICOM_AWAITED_MAX];
    expected.push(None);
    assert_eq!(measured, expected);
}

#[test]
fn an_association_request_is_read_exactly_up_to_the_limit() {
    let limit = DICOM_ASSOCIATE_BYTES_MAX;
    for (length, expected) in [(limit, "requested CT1 at PACS"), (limit + 1, "off TooLong")] {
        let mut wire = request_association();
        wire[2..6].copy_from_slice(&length.to_be_bytes());
        wire.resize(6 + length as usize, 0);
        assert_eq!(events(&[(true, wire)], 4_096), [expected]);
    }
}

#[test]
fn a_command_is_read_exactly_up_to_the_limit() {
    for (over, expected) in [(0, "called C-ECHO"), (1, "off TooLong")] {
        let mut wire = request(0x0030, 1);
        let filler = DICOM_COMMAND_BYTES_MAX - wire.len() - 8 + over;
        wire.extend_from_slice(&[0, 0, 2, 9]);
        wire.extend_from_slice(&u32::try_from(filler).unwrap().to_le_bytes());
        wire.resize(wire.len() + filler, b'x');
        let talk = [(true, request_association()), (false, acceptance()), (true, value(1, 3, &wire))];
        assert_eq!(events(&talk, 999).last().map(String::as_str), Some(expected));
    }
}

#[test]
fn a_command_that_never_ends_turns_it_off_however_small_its_fragments() {
    // An error comment, (0000,0902), of two gigabytes, two bytes at a time.
    let head = value(1, COMMAND, &[0, 0, 2, 9, 0xff, 0xff, 0xff, 0x7f]);
    let more = value(1, COMMAND, b"xx").repeat(DICOM_COMMAND_BYTES_MAX / 2);
    let talk = [(true, request_association()), (false, acceptance()), (true, head), (true, more)];
    assert_eq!(events(&talk, 1_000).last().map(String::as_str), Some("off TooLong"));
}

#[test]
fn an_object_of_many_gigabytes_is_counted_to_the_byte() {
    let mut observer = opened();
    let (mut stored, now) = (Vec::new(), Instant::now());
    let mut emit = |event| stored.push(event);
    observer.request(&value(1, COMMAND | LAST, &store_request(7)), now, &mut emit);
    let block = vec![0; 1 << 20];
    // Three PDUs of nearly 4 GB, as a peer without a limit may send them.
    let length = u32::MAX - 5;
    for control in [0, 0, LAST] {
        let mut head = vec![4, 0];
        head.extend_from_slice(&(length + 4).to_be_bytes());
        head.extend_from_slice(&length.to_be_bytes());
        head.extend_from_slice(&[1, control]);
        observer.request(&head, now, &mut emit);
        let mut left = length as usize - 2;
        while left > 0 {
            let piece = left.min(block.len());
            observer.request(&block[..piece], now, &mut emit);
            left -= piece;
        }
    }
    observer.response(&value(1, COMMAND | LAST, &response(0x8001, 7, 0)), now, &mut emit);
    let bytes = 3 * (u64::from(length) - 2);
    let latency = Some(Duration::ZERO);
    let expected = [DicomEvent::StoreRequested, DicomEvent::Stored { status: Status(0), bytes, latency }];
    assert_eq!(stored, expected);
}

#[test]
fn nothing_of_a_data_set_or_a_command_s_texts_is_kept() {
    let mut command = command(&[(0x0100, 0x0001), (0x0110, 7), (0x0800, 1)]);
    // The error comment, (0000,0902).
    command.extend_from_slice(b"\0\0\x02\x09\x08\0\0\0");
    command.extend_from_slice(PATIENT);
    let wire = [value(1, COMMAND | LAST, &command), value(1, LAST, PATIENT)].concat();
    let shown = format!("{:?}", &PATIENT[..3]);
    let patient = &shown[1..shown.len() - 1];
    let mut observer = opened();
    for byte in wire.chunks(1) {
        observer.request(byte, Instant::now(), &mut |_| ());
        let kept = format!("{observer:?}");
        assert!(!kept.contains(patient), "{kept}");
    }
}

/// Said by the requestor or the acceptor, in this order.
type Talk = [(bool, Vec<u8>)];

fn events(talk: &Talk, size: usize) -> Vec<String> {
    let (mut observer, mut events) = (DicomObserver::new(), Vec::new());
    for (from_requestor, bytes) in talk {
        for piece in bytes.chunks(size) {
            let mut emit = |event| events.push(word(event));
            if *from_requestor {
                observer.request(piece, Instant::now(), &mut emit);
            } else {
                observer.response(piece, Instant::now(), &mut emit);
            }
        }
    }
    events
}

fn word(event: DicomEvent) -> String {
    match event {
        DicomEvent::Requested { titles } => format!("requested {} at {}", titles.calling, titles.called),
        DicomEvent::Accepted { titles } => format!("accepted {} at {}", titles.calling, titles.called),
        DicomEvent::Rejected { rejection, .. } => format!("rejected {rejection}"),
        DicomEvent::StoreRequested => "store requested".into(),
        DicomEvent::Stored { status, bytes, latency } => {
            let timed = if latency.is_some() { "timed" } else { "untimed" };
            format!("stored {status} {} {bytes} bytes, {timed}", status.class().as_str())
        }
        DicomEvent::Called { operation } => format!("called {operation}"),
        DicomEvent::Released => "released".into(),
        DicomEvent::Aborted { abort } => format!("aborted {abort}"),
        DicomEvent::Off { why } => format!("off {why:?}"),
    }
}

/// Notes the latency of each response.
fn note_latency(latencies: &mut Vec<Option<Duration>>, event: DicomEvent) {
    if let DicomEvent::Stored { latency, .. } = event {
        latencies.push(latency);
    }
}

fn opened() -> DicomObserver {
    let mut observer = DicomObserver::new();
    observer.request(&request_association(), Instant::now(), &mut |_| ());
    observer.response(&acceptance(), Instant::now(), &mut |_| ());
    observer
}

/// Returns one object stored and the association released.
fn storing(status: u16) -> Vec<(bool, Vec<u8>)> {
    vec![
        (true, request_association()),
        (false, acceptance()),
        (true, value(1, COMMAND | LAST, &store_request(7))),
        (true, values(&[(1, 0, &PATIENT[..3]), (1, LAST, &PATIENT[3..])])),
        (false, value(1, COMMAND | LAST, &response(0x8001, 7, status))),
        (true, pdu(5, &[0; 4])),
        (false, pdu(6, &[0; 4])),
    ]
}

fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&[kind, 0][..], &length.to_be_bytes(), body].concat()
}

fn association(kind: u8) -> Vec<u8> {
    // An application context item follows, which nobody looks at.
    let items = b"\x10\0\0\x151.2.840.10008.3.1.1.1";
    pdu(kind, &[&[0, 1, 0, 0][..], b"PACS            CT1             ", &[0; 32], items].concat())
}

fn request_association() -> Vec<u8> {
    association(1)
}

fn acceptance() -> Vec<u8> {
    association(2)
}

/// Returns a P-DATA PDU with one value.
fn value(context: u8, control: u8, fragment: &[u8]) -> Vec<u8> {
    values(&[(context, control, fragment)])
}

fn values(values: &[(u8, u8, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (context, control, fragment) in values {
        body.extend_from_slice(&u32::try_from(fragment.len() + 2).unwrap().to_be_bytes());
        body.extend_from_slice(&[*context, *control]);
        body.extend_from_slice(fragment);
    }
    pdu(4, &body)
}

fn element(number: u16, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap();
    [&[0, 0][..], &number.to_le_bytes(), &length.to_le_bytes(), value].concat()
}

/// Returns a command of numbers, its group length first.
fn command(numbers: &[(u16, u16)]) -> Vec<u8> {
    let rest: Vec<u8> =
        numbers.iter().flat_map(|(number, value)| element(*number, &value.to_le_bytes())).collect();
    let length = u32::try_from(rest.len()).unwrap();
    [element(0, &length.to_le_bytes()), rest].concat()
}

fn command_without(numbers: &[(u16, u16)], missing: u16) -> Vec<u8> {
    let kept: Vec<_> = numbers.iter().copied().filter(|(number, _)| *number != missing).collect();
    command(&kept)
}

fn request(field: u16, message: u16) -> Vec<u8> {
    command(&[(0x0100, field), (0x0110, message), (0x0800, 0x0101)])
}

/// Returns a store request as PS3.7 §9.3.1.1 has it, with its UIDs.
fn store_request(message: u16) -> Vec<u8> {
    [
        element(0x0002, b"1.2.840.10008.5.1.4.1.1.2\0"),
        element(0x0100, &1_u16.to_le_bytes()),
        element(0x0110, &message.to_le_bytes()),
        element(0x0700, &[0, 0]),
        element(0x0800, &[0, 0]),
        element(0x1000, b"1.2.3.4\0"),
    ]
    .concat()
}

fn response(field: u16, to: u16, status: u16) -> Vec<u8> {
    command(&[(0x0100, field), (0x0120, to), (0x0800, 0x0101), (0x0900, status)])
}

/// Returns a match of a query, which a data set follows.
fn pending_find() -> Vec<u8> {
    command(&[(0x0100, 0x8020), (0x0120, 1), (0x0800, 1), (0x0900, 0xff00)])
}

fn cancel() -> Vec<u8> {
    command(&[(0x0100, 0x0fff), (0x0120, 1), (0x0800, 0x0101)])
}

fn uid_of_length(length: u32) -> Vec<u8> {
    [&[0, 0, 2, 0][..], &length.to_le_bytes(), b"1.2"].concat()
}

/// Returns what either side may say, more often than chance would give it.
fn said() -> impl Strategy<Value = (bool, Vec<u8>)> {
    let piece = prop_oneof![
        Just(request_association()),
        Just(acceptance()),
        Just(pdu(5, &[0; 4])),
        Just(pdu(7, &[0, 0, 2, 1])),
        (0_u16..3).prop_map(|id| value(1, COMMAND | LAST, &store_request(id))),
        (0_u16..3).prop_map(|id| value(1, COMMAND | LAST, &response(0x8001, id, 0))),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|data| value(1, 0, &data)),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|data| value(1, LAST, &data)),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|data| value(1, COMMAND, &data)),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|body| pdu(4, &body)),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    (any::<bool>(), piece)
}

proptest! {
    #[test]
    fn random_bytes_are_read_the_same_in_any_chunks(
        said in prop::collection::vec(said(), 0..12),
        size in 1_usize..40,
    ) {
        let talk = [vec![(true, request_association()), (false, acceptance())], said.clone()].concat();
        prop_assert_eq!(events(&talk, size), events(&talk, usize::MAX));
        prop_assert_eq!(events(&said, size), events(&said, usize::MAX));
    }
}
