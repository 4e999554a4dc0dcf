//! Whether UDP gets to a gateway and back, asked without a key: a long header of a version that nobody
//! speaks, which a QUIC server answers with those it does (RFC 9000 §6). The answer is shorter.

use crate::domain::id::RouteId;

/// The least that is answered (RFC 9000 §14.1).
pub const QUESTION_BYTES: usize = 1_200;
/// Reserved to be refused (RFC 9000 §15).
const VERSION: u32 = 0x1a2a_3a4a;
/// Long header, fixed bit.
const FIRST_BYTE: u8 = 0xc0;
const ID_BYTES: usize = 20;
const OWN_ID_BYTES: usize = 8;
const ID_BYTES_WRITTEN: u8 = 20;
const OWN_ID_BYTES_WRITTEN: u8 = 8;

/// Returns a question to the gateway of `route`; `random` marks it and its answer.
#[must_use]
pub fn question(route: RouteId, random: [u8; ID_BYTES]) -> [u8; QUESTION_BYTES] {
    let mut packet = [0; QUESTION_BYTES];
    let (route, rest) = (route.as_bytes(), &random[OWN_ID_BYTES..]);
    let own = &random[..OWN_ID_BYTES];
    let fields: [&[u8]; 7] = [
        &[FIRST_BYTE],
        &VERSION.to_be_bytes(),
        &[ID_BYTES_WRITTEN],
        route,
        rest,
        &[OWN_ID_BYTES_WRITTEN],
        own,
    ];
    for (byte, field) in packet.iter_mut().zip(fields.into_iter().flatten()) {
        *byte = *field;
    }
    packet
}

/// Returns whether `packet` answers the question that `random` marks.
#[must_use]
pub fn is_answer(packet: &[u8], random: [u8; ID_BYTES]) -> bool {
    let is_long = packet.first().is_some_and(|first| first & 0x80 != 0);
    let names_none = packet.get(1..5) == Some(&[0; 4]);
    let to = packet.get(5) == Some(&OWN_ID_BYTES_WRITTEN);
    is_long && names_none && to && packet.get(6..6 + OWN_ID_BYTES) == Some(&random[..OWN_ID_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANDOM: [u8; ID_BYTES] = [7; ID_BYTES];
    const OWN_ID_STARTS: usize = 6 + ID_BYTES + 1;

    #[test]
    fn a_question_to_the_gateway_names_where_to_answer() {
        let packet = question(RouteId::from_bytes([1; 8]), RANDOM);
        assert_eq!(packet[5], 20);
        assert_eq!(packet[6..14], [1; 8]);
        assert_eq!(packet[OWN_ID_STARTS - 1], 8);
        assert_eq!(packet[OWN_ID_STARTS..OWN_ID_STARTS + 8], [7; 8]);
        assert!(packet[OWN_ID_STARTS + 8..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn only_an_answer_to_the_question_counts() {
        let mut answer = vec![0x8a, 0, 0, 0, 0, 8];
        answer.extend([7; 8]);
        assert!(is_answer(&answer, RANDOM));
        for changed in [0, 1, 5, 6, 13] {
            let mut other = answer.clone();
            other[changed] ^= 0xff;
            assert!(!is_answer(&other, RANDOM), "byte {changed}");
        }
        assert!((0..answer.len()).all(|cut| !is_answer(&answer[..cut], RANDOM)));
    }
}
