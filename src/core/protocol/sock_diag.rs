//! What the kernel is asked, and answers, about one TCP socket of this host: `sock_diag(7)` in the form
//! of `inet_diag`. Numbers are in this machine's byte order, ports and addresses in the network's.

use std::net::{IpAddr, SocketAddr};

/// `NLMSG_ERROR` of `netlink(7)`.
const ERROR: u16 = 2;
/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
const FLAG_REQUEST: u16 = 1;
const FAMILY_IPV4: u8 = 2;
const FAMILY_IPV6: u8 = 10;
const PROTOCOL_TCP: u8 = 6;
const NO_COOKIE: u8 = u8::MAX;

const HEADER_BYTES: usize = 16;
/// Two ports and two addresses.
const ENDS_BYTES: usize = 36;
/// These, an interface and a cookie.
const ID_BYTES: usize = ENDS_BYTES + 4 + 8;
pub const REQUEST_BYTES: usize = HEADER_BYTES + 8 + ID_BYTES;
/// An answer about one socket; what the kernel may append says nothing more that is wanted.
const ANSWER_BYTES: usize = HEADER_BYTES + 4 + ID_BYTES + 20;

/// States in which a socket still has what it sent to say, and a process holds it.
const ESTABLISHED: u8 = 1;
const FIN_WAIT_1: u8 = 4;
const FIN_WAIT_2: u8 = 5;

/// The two ends of a TCP connection, as the socket that is asked about has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

impl Ends {
    /// Makes a question: an IPv4 connection is one however its socket writes its addresses.
    #[must_use]
    pub fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Self { local: canonical(local), remote: canonical(remote) }
    }
}

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A process holds the socket; it was made by this user.
    HeldBy(u32),
    /// There is no such socket, or no process holds it any more: its user is not known.
    NotHeld,
    /// To another question.
    Unasked,
}

/// Asks for the socket with these ends.
#[must_use]
pub fn request(ends: &Ends, sequence: u32) -> [u8; REQUEST_BYTES] {
    let mut request = [0; REQUEST_BYTES];
    let length = u32::try_from(REQUEST_BYTES).unwrap_or_default();
    let fields: [&[u8]; 10] = [
        &length.to_ne_bytes(),
        &BY_FAMILY.to_ne_bytes(),
        &FLAG_REQUEST.to_ne_bytes(),
        &sequence.to_ne_bytes(),
        &[0; 4],
        &[family(ends), PROTOCOL_TCP, 0, 0],
        &u32::MAX.to_ne_bytes(),
        &written(ends, Ipv4Form::Own),
        &[0; 4],
        &[NO_COOKIE; 8],
    ];
    for (byte, field) in request.iter_mut().zip(fields.into_iter().flatten()) {
        *byte = *field;
    }
    request
}

/// Reads one answer to [`request`].
#[must_use]
pub fn read_answer(bytes: &[u8], ends: &Ends, sequence: u32) -> Answer {
    if number(bytes, 8) != Some(sequence) {
        return Answer::Unasked;
    }
    match bytes.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes) {
        Some(BY_FAMILY) => read_socket(bytes, ends).map_or(Answer::NotHeld, Answer::HeldBy),
        Some(ERROR) => Answer::NotHeld,
        Some(_) | None => Answer::Unasked,
    }
}

/// Returns the user of the very socket that was asked for: where there is none, the kernel answers with one
/// that listens there. A socket that its process has let go shows no file and, as it were, root.
fn read_socket(bytes: &[u8], ends: &Ends) -> Option<u32> {
    let socket = bytes.get(HEADER_BYTES..ANSWER_BYTES)?;
    let state = *socket.get(1)?;
    let is_open = matches!(state, ESTABLISHED | FIN_WAIT_1 | FIN_WAIT_2);
    let found = socket.get(4..4 + ENDS_BYTES)?;
    let user = number(socket, 4 + ID_BYTES + 12)?;
    let file = number(socket, 4 + ID_BYTES + 16)?;
    let form = if *socket.first()? == FAMILY_IPV6 { Ipv4Form::Mapped } else { Ipv4Form::Own };
    (is_open && file != 0 && written(ends, form) == *found).then_some(user)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

const fn family(ends: &Ends) -> u8 {
    if ends.local.is_ipv4() { FAMILY_IPV4 } else { FAMILY_IPV6 }
}

/// How an IPv4 address is written: an IPv6 socket may carry an IPv4 connection.
#[derive(Clone, Copy)]
enum Ipv4Form {
    Own,
    Mapped,
}

fn written(ends: &Ends, form: Ipv4Form) -> [u8; ENDS_BYTES] {
    let address = |end: SocketAddr| match (end.ip(), form) {
        (IpAddr::V4(ip), Ipv4Form::Own) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            bytes
        }
        (IpAddr::V4(ip), Ipv4Form::Mapped) => ip.to_ipv6_mapped().octets(),
        (IpAddr::V6(ip), _) => ip.octets(),
    };
    let mut bytes = [0; ENDS_BYTES];
    bytes[..2].copy_from_slice(&ends.local.port().to_be_bytes());
    bytes[2..4].copy_from_slice(&ends.remote.port().to_be_bytes());
    bytes[4..20].copy_from_slice(&address(ends.local));
    bytes[20..].copy_from_slice(&address(ends.remote));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEQUENCE: u32 = 7;

    fn ends(local: &str, remote: &str) -> Ends {
        Ends::new(local.parse().unwrap(), remote.parse().unwrap())
    }

    fn usual() -> Ends {
        ends("127.0.0.1:40000", "127.0.0.1:6661")
    }

    /// Returns an answer as the kernel answers for a socket with these ends.
    fn answer(family: u8, state: u8, found: &[u8; ENDS_BYTES], user: u32, file: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(u32::try_from(ANSWER_BYTES).unwrap().to_ne_bytes());
        bytes.extend(BY_FAMILY.to_ne_bytes());
        bytes.extend([0; 2]);
        bytes.extend(SEQUENCE.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend([family, state, 0, 0]);
        bytes.extend(found);
        bytes.extend([9; 12 + 12]);
        bytes.extend(user.to_ne_bytes());
        bytes.extend(file.to_ne_bytes());
        bytes
    }

    fn own_id(ends: &Ends) -> [u8; ENDS_BYTES] {
        written(ends, Ipv4Form::Own)
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: Answer) {
        assert_eq!(read_answer(bytes, &usual(), SEQUENCE), expected);
    }

    #[test]
    fn a_socket_that_a_process_holds_tells_its_user() {
        for state in [ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2] {
            check(&answer(FAMILY_IPV4, state, &own_id(&usual()), 1_000, 5), Answer::HeldBy(1_000));
        }
        check(&answer(FAMILY_IPV4, ESTABLISHED, &own_id(&usual()), 0, 5), Answer::HeldBy(0));
        check(
            &answer(FAMILY_IPV6, ESTABLISHED, &written(&usual(), Ipv4Form::Mapped), 1_000, 5),
            Answer::HeldBy(1_000),
        );
    }

    #[test]
    fn a_socket_without_a_holder_is_not_taken_for_roots() {
        check(&answer(FAMILY_IPV4, FIN_WAIT_1, &own_id(&usual()), 0, 0), Answer::NotHeld);
        // TIME_WAIT, SYN_RECV, SYN_SENT.
        for state in [6, 3, 2] {
            check(&answer(FAMILY_IPV4, state, &own_id(&usual()), 0, 5), Answer::NotHeld);
        }
    }

    #[test]
    fn another_socket_than_the_one_asked_for_counts_for_nothing() {
        for other in
            ["127.0.0.1:40000 127.0.0.1:6662", "127.0.0.2:40000 127.0.0.1:6661", "127.0.0.1:40000 0.0.0.0:0"]
        {
            let (local, remote) = other.split_once(' ').unwrap();
            check(
                &answer(FAMILY_IPV4, ESTABLISHED, &own_id(&ends(local, remote)), 1_000, 5),
                Answer::NotHeld,
            );
        }
        // A listener.
        check(&answer(FAMILY_IPV4, 10, &own_id(&usual()), 1_000, 5), Answer::NotHeld);
    }

    #[test]
    fn an_error_means_no_socket_where_an_old_answer_means_nothing() {
        let mut error = answer(FAMILY_IPV4, ESTABLISHED, &own_id(&usual()), 1_000, 5);
        error[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        check(&error, Answer::NotHeld);
        let mut old = answer(FAMILY_IPV4, ESTABLISHED, &own_id(&usual()), 1_000, 5);
        old[8] ^= 1;
        check(&old, Answer::Unasked);
    }

    #[test]
    fn an_answer_cut_at_any_byte_names_no_user() {
        let whole = answer(FAMILY_IPV4, ESTABLISHED, &own_id(&usual()), 1_000, 5);
        for cut in 0..whole.len() {
            let read = read_answer(&whole[..cut], &usual(), SEQUENCE);
            assert!(!matches!(read, Answer::HeldBy(_)), "cut at byte {cut}");
        }
    }

    #[test]
    fn a_mapped_address_asks_as_the_ipv4_address_it_is() {
        let mapped = ends("[::ffff:127.0.0.1]:40000", "[::ffff:127.0.0.1]:6661");
        assert_eq!(request(&mapped, 1), request(&usual(), 1));
        assert_eq!(request(&usual(), 1)[16], FAMILY_IPV4);
        assert_eq!(request(&ends("[::1]:1", "[::1]:2"), 1)[16], FAMILY_IPV6);
    }
}
