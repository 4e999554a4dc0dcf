//! What one received batch leaves to send, in as few system calls as may be.
//!
//! Packets of one pair that lie side by side and have one length (the last may be shorter) go out
//! as the kernel gathered them, without a copy. Small runs of the same pair that other packets part
//! are copied together first: a copy of a few kilobytes costs less than a system call. Packets of
//! one pair keep their order.

use std::net::SocketAddr;

use quinn::udp::EcnCodepoint;

use adit_core::protocol::relay::PairId;

/// The kernel's bounds for one send: segments, and bytes of a UDP datagram over IPv6.
const SEGMENTS_MAX: usize = 64;
const BYTES_MAX: usize = 65_487;
/// Runs up to this length are worth copying together.
const COPIED_BYTES_MAX: usize = 8 * 1024;
/// How far ahead the next run of a pair is looked for.
const LOOK_AHEAD: usize = 64;

/// Packets of one pair, side by side in the received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    pair: PairId,
    to: SocketAddr,
    ecn: Option<EcnCodepoint>,
    start: usize,
    end: usize,
    /// Length of every packet but the last.
    stride: usize,
    is_sent: bool,
}

impl Run {
    const fn bytes(&self) -> usize {
        self.end - self.start
    }

    const fn segments(&self) -> usize {
        self.bytes().div_ceil(self.stride)
    }

    /// Returns whether another packet of the same length may follow the last one.
    const fn is_open(&self) -> bool {
        self.bytes().is_multiple_of(self.stride)
    }
}

/// One send: `contents` are packets of `stride` bytes, the last may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parcel<'a> {
    pub(super) pair: PairId,
    pub(super) to: SocketAddr,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) contents: &'a [u8],
    pub(super) stride: usize,
}

impl Parcel<'_> {
    pub(super) const fn segments(&self) -> usize {
        self.contents.len().div_ceil(self.stride)
    }
}

#[derive(Debug)]
pub(super) struct Outbox {
    runs: Vec<Run>,
    copied: Box<[u8]>,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self { runs: Vec::new(), copied: vec![0; BYTES_MAX].into() }
    }

    /// Takes the packet at `start..end` of what was received. Empty packets are none.
    #[inline]
    pub(super) fn push(
        &mut self,
        (pair, to, ecn): (PairId, SocketAddr, Option<EcnCodepoint>),
        start: usize,
        end: usize,
    ) {
        let length = end - start;
        if let Some(run) = self.runs.last_mut()
            && (run.pair, run.ecn, run.end) == (pair, ecn, start)
            && run.is_open()
            && length <= run.stride
            && end - run.start <= BYTES_MAX
            && run.segments() < SEGMENTS_MAX
        {
            run.end = end;
        } else if length > 0 {
            self.runs.push(Run { pair, to, ecn, start, end, stride: length, is_sent: false });
        }
    }

    /// Hands out everything that was pushed, and is empty again. A parcel has `segments_max`
    /// packets at most.
    pub(super) fn flush(&mut self, received: &[u8], segments_max: usize, mut send: impl FnMut(Parcel<'_>)) {
        let segments_max = segments_max.clamp(1, SEGMENTS_MAX);
        for index in 0..self.runs.len() {
            if self.runs[index].is_sent {
                continue;
            }
            let copied = self.copy_together(index, received, segments_max);
            let Run { pair, to, ecn, start, end, stride, .. } = self.runs[index];
            let contents = if copied > 0 { &self.copied[..copied] } else { &received[start..end] };
            for contents in contents.chunks(stride * segments_max) {
                send(Parcel { pair, to, ecn, contents, stride });
            }
        }
        self.runs.clear();
    }

    /// Copies the run and those of its pair that follow it together, as far as they fit; gives the
    /// length of all, 0 when none follows.
    fn copy_together(&mut self, index: usize, received: &[u8], segments_max: usize) -> usize {
        let first = self.runs[index];
        let mut length = first.bytes();
        if length > COPIED_BYTES_MAX || segments_max == 1 {
            return 0;
        }
        let mut copied = 0;
        for ahead in index + 1..self.runs.len().min(index + 1 + LOOK_AHEAD) {
            let run = self.runs[ahead];
            if run.pair != first.pair || run.is_sent {
                continue;
            }
            // A shorter packet may come last, and nothing after it.
            let is_alike = run.stride == first.stride || (run.segments() == 1 && run.stride < first.stride);
            let fits = run.bytes() <= COPIED_BYTES_MAX
                && length + run.bytes() <= BYTES_MAX
                && length / first.stride + run.segments() <= segments_max;
            if run.ecn != first.ecn || !length.is_multiple_of(first.stride) || !is_alike || !fits {
                break;
            }
            if copied == 0 {
                self.copied[..length].copy_from_slice(&received[first.start..first.end]);
            }
            copied = length + run.bytes();
            self.copied[length..copied].copy_from_slice(&received[run.start..run.end]);
            length = copied;
            self.runs[ahead].is_sent = true;
        }
        copied
    }
}

#[cfg(test)]
mod tests {

    use proptest::prelude::*;

    use super::*;

    /// Returns pairs: pairs can only be had from a relay.
    fn pairs() -> Vec<PairId> {
        crate::transport::relay::tests::pairs()
    }

    /// Flushes packets (which pair, how long, whether a gap precedes it) and gives what was sent:
    /// pair, stride, and the marks of the packets.
    fn sent(packets: &[(usize, usize, bool)], segments_max: usize) -> Vec<(usize, usize, Vec<u8>)> {
        let pairs = pairs();
        let mut outbox = Outbox::new();
        let mut received = Vec::new();
        for (mark, &(pair, length, is_apart)) in packets.iter().enumerate() {
            if is_apart {
                received.push(0);
            }
            let start = received.len();
            received.resize(start + length, u8::try_from(mark % 251).unwrap());
            let to = SocketAddr::from(([10, 0, 0, 1], u16::try_from(pair).unwrap()));
            outbox.push((pairs[pair], to, None), start, received.len());
        }
        let mut sent = Vec::new();
        outbox.flush(&received, segments_max, |parcel| {
            assert!(parcel.segments() <= segments_max && parcel.contents.len() <= BYTES_MAX);
            let pair = pairs.iter().position(|pair| *pair == parcel.pair).unwrap();
            assert_eq!(parcel.to.port(), u16::try_from(pair).unwrap());
            let marks = parcel.contents.chunks(parcel.stride).map(|packet| {
                assert!(packet.iter().all(|byte| *byte == packet[0]));
                packet[0]
            });
            sent.push((pair, parcel.stride, marks.collect()));
        });
        assert!(outbox.runs.is_empty());
        sent
    }

    #[test]
    fn packets_of_one_pair_side_by_side_are_one_send_up_to_a_shorter_one() {
        let same = [(0, 1_000, false), (0, 1_000, false), (0, 10, false), (0, 1_000, false)];
        assert_eq!(sent(&same, 64), [(0, 1_000, vec![0, 1, 2]), (0, 1_000, vec![3])]);
        let longer = [(0, 10, false), (0, 11, false), (1, 11, false), (1, 11, false)];
        assert_eq!(sent(&longer, 64), [(0, 10, vec![0]), (0, 11, vec![1]), (1, 11, vec![2, 3])]);
    }

    #[test]
    fn small_runs_that_others_part_are_sent_together_in_order() {
        let parted =
            [(0, 100, true), (1, 100, true), (0, 100, true), (1, 100, true), (0, 99, true), (0, 100, true)];
        let expected = [(0, 100, vec![0, 2, 4]), (1, 100, vec![1, 3]), (0, 100, vec![5])];
        assert_eq!(sent(&parted, 64), expected);
    }

    #[test]
    fn no_send_exceeds_what_the_kernel_takes() {
        let many = vec![(0, 100, false); 130];
        let lengths: Vec<_> = sent(&many, 64).iter().map(|(_, _, marks)| marks.len()).collect();
        assert_eq!(lengths, [64, 64, 2]);
        let large = vec![(0, 6_500, false); 21];
        let lengths: Vec<_> = sent(&large, 64).iter().map(|(_, _, marks)| marks.len()).collect();
        assert_eq!(lengths, [10, 10, 1]);
        // Without segmentation each goes alone.
        assert_eq!(sent(&[(0, 100, false), (0, 100, true)], 1).len(), 2);
        assert_eq!(sent(&[(0, 100, false), (0, 100, false)], 1).len(), 2);
    }

    #[test]
    fn an_empty_packet_is_none() {
        assert!(sent(&[(0, 0, false)], 64).is_empty());
    }

    proptest! {
        #[test]
        fn every_packet_is_sent_once_in_the_order_of_its_pair(
            packets in prop::collection::vec(
                (0_usize..3, prop_oneof![Just(100_usize), Just(1_452), 1_usize..9_000], any::<bool>()), 0..240,
            ),
            segments_max in 1_usize..65,
        ) {
            let sent = sent(&packets, segments_max);
            for pair in 0..3 {
                let expected: Vec<_> = (0..packets.len())
                    .filter(|&mark| packets[mark].0 == pair)
                    .map(|mark| u8::try_from(mark % 251).unwrap())
                    .collect();
                let marks: Vec<_> =
                    sent.iter().filter(|(of, ..)| *of == pair).flat_map(|(.., marks)| marks.clone()).collect();
                prop_assert_eq!(marks, expected);
            }
        }
    }
}
