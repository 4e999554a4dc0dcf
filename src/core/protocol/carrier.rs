//! How packets travel inside a carrier's WebSocket messages: each behind its length, many in a message.
//!
//! ```text
//! ┌────────┬────────────┬────────┬────────────┬┄
//! │ length │ packet     │ length │ packet     │    length: two bytes, big-endian, 1 to 6,500
//! └────────┴────────────┴────────┴────────────┴┄
//! ```
//!
//! A message that ends within a packet, or has one of length 0 or beyond the longest datagram, is none of
//! ours: the carrier ends. What the packets are is not looked at here.

use bytes::{BufMut, BytesMut};

use crate::domain::limits::{CARRIER_MESSAGE_BYTES_MAX, PROBE_BYTES_MAX};

/// Where a gateway serves carriers (RFC 6455 opening handshake).
pub const PATH: &str = "/api/v1/carrier";
/// The application protocol (RFC 7301) of a carrier's TLS: what every appliance knows.
pub const ALPN: &[u8] = b"http/1.1";
/// Bytes before each packet.
pub const LENGTH_BYTES: usize = 2;

/// Not what a carrier's end sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of the carrier holds no packets as they are framed")]
pub struct Misframed;

/// Appends a packet to a message; `false` where it is empty, too long, or the message has no room.
pub fn append(message: &mut BytesMut, packet: &[u8]) -> bool {
    let Ok(length) = u16::try_from(packet.len()) else { return false };
    let is_packet = (1..=PROBE_BYTES_MAX).contains(&packet.len());
    if !is_packet || message.len() + LENGTH_BYTES + packet.len() > CARRIER_MESSAGE_BYTES_MAX {
        return false;
    }
    message.put_u16(length);
    message.put_slice(packet);
    true
}

/// Walks the packets of one message.
#[derive(Debug, Clone)]
pub struct Packets<'a>(&'a [u8]);

/// Returns the packets of a message, in order; after the first error there is nothing more.
#[must_use]
pub const fn packets(message: &[u8]) -> Packets<'_> {
    Packets(message)
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<&'a [u8], Misframed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let packet = self.0.split_first_chunk().and_then(|(length, rest)| {
            let length = usize::from(u16::from_be_bytes(*length));
            (1..=PROBE_BYTES_MAX).contains(&length).then(|| rest.split_at_checked(length)).flatten()
        });
        let Some((packet, rest)) = packet else {
            self.0 = &[];
            return Some(Err(Misframed));
        };
        self.0 = rest;
        Some(Ok(packet))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_takes_packets_up_to_its_bound() {
        let mut message = BytesMut::new();
        assert!(!append(&mut message, &[]));
        assert!(!append(&mut message, &[0; PROBE_BYTES_MAX + 1]));
        assert!(message.is_empty());
        while append(&mut message, &[7; PROBE_BYTES_MAX]) {}
        assert_eq!(message.len() / (PROBE_BYTES_MAX + LENGTH_BYTES), 10);
        assert!(message.len() <= CARRIER_MESSAGE_BYTES_MAX);
        assert_eq!(packets(&message).flatten().count(), 10);
    }

    #[test]
    fn a_message_that_ends_within_a_packet_says_so_once() {
        for bad in [&[0][..], &[0, 0], &[0, 2, 1], &[0xff, 0xff, 1], &[0, 1, 5, 0]] {
            let found: Vec<_> = packets(bad).collect();
            assert_eq!(found.last(), Some(&Err(Misframed)), "{bad:?}");
            assert_eq!(found.iter().filter(|packet| packet.is_err()).count(), 1);
        }
    }

    proptest! {
        #[test]
        fn packets_come_out_as_they_went_in(sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..64)) {
            let mut message = BytesMut::new();
            prop_assert!(sent.iter().all(|packet| append(&mut message, packet)));
            let received: Result<Vec<_>, _> = packets(&message).map(|packet| packet.map(<[u8]>::to_vec)).collect();
            prop_assert_eq!(received, Ok(sent));
        }

        #[test]
        fn any_bytes_are_walked_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let total: usize = packets(&bytes).flatten().map(|packet| packet.len() + LENGTH_BYTES).sum();
            prop_assert!(total <= bytes.len());
        }
    }
}
