//! One direction of an impaired wire, without sockets or a clock: packets and `now` in, packets out
//! when they are due. The same seed and the same order of packets give the same fates.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use crate::limits::SHIM_WAITING_BYTES_MAX;
use crate::messages::Draws;

/// How long a reordered packet is held back for those behind it to overtake.
pub const HELD_BACK: Duration = Duration::from_millis(1);
/// What Ethernet, IPv4 and UDP add to a packet's share of the rate.
pub const HEADER_BYTES: u64 = 14 + 20 + 8;

/// What a wire does to packets. Shares go from 0 (none) to 1 (all).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impairment {
    pub loss: f64,
    /// Held back for [`HELD_BACK`]; nothing else changes the order.
    pub reorder: f64,
    /// Arrives twice.
    pub duplicate: f64,
    /// Arrives with one to three neighbouring bits flipped.
    pub corrupt: f64,
    pub delay: Duration,
    /// Up to so much more delay, drawn for each packet; packets wait for those before them.
    pub jitter: Duration,
    pub rate: Option<Rate>,
    /// The longest UDP payload that passes; longer ones vanish.
    pub payload_bytes_max: usize,
    /// Nothing that enters arrives; what is under way still does.
    pub blackhole: bool,
}

/// A bottleneck with a queue that drops newcomers when it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub bits_per_second: NonZeroU64,
    pub queue_bytes: u64,
}

impl Impairment {
    /// A wire that does nothing to packets.
    pub const NONE: Self = Self {
        loss: 0.0,
        reorder: 0.0,
        duplicate: 0.0,
        corrupt: 0.0,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        rate: None,
        payload_bytes_max: usize::MAX,
        blackhole: false,
    };
    /// Passes what an Ethernet frame carries over UDP and IPv4; loopback would carry far more.
    pub const ETHERNET: Self = Self { payload_bytes_max: 1_472, ..Self::NONE };
    pub const BLACKHOLE: Self = Self { blackhole: true, ..Self::NONE };
}

/// What became of packets. All that entered, and their copies, are in `delivered`, `lost`,
/// `blackholed`, `too_long`, `overflowed` or still under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WireCounts {
    pub entered: u64,
    pub delivered: u64,
    pub lost: u64,
    pub blackholed: u64,
    pub too_long: u64,
    /// Found the queue of the rate, or the shim's memory, full.
    pub overflowed: u64,
    pub reordered: u64,
    pub duplicated: u64,
    pub corrupted: u64,
    /// Delivered, but not taken by the kernel.
    pub unsent: u64,
}

/// Carries packets, each with a `T` that says whose it is.
#[derive(Debug)]
pub(super) struct Wire<T> {
    pub(super) impairment: Impairment,
    pub(super) counts: WireCounts,
    draws: Draws,
    /// When the bottleneck has sent what it took.
    busy_until: Option<Instant>,
    /// When the packet that entered last arrives; the next does not arrive before.
    last_due: Option<Instant>,
    /// Each in the order in which they arrive.
    in_order: VecDeque<Waiting<T>>,
    held_back: VecDeque<Waiting<T>>,
    waiting_bytes: usize,
    /// The packet handed out last; its buffer serves again.
    current: Vec<u8>,
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Waiting<T> {
    due: Instant,
    owner: T,
    bytes: Vec<u8>,
}

/// What the draws decide of one packet, whether or not the wire is so impaired now: a change of the
/// impairment must not shift the fates of later packets.
struct Fate {
    loss: f64,
    reorder: f64,
    duplicate: f64,
    corrupt: f64,
    jitter: f64,
    bits: Draws,
}

impl Fate {
    const fn draw(draws: &mut Draws) -> Self {
        Self {
            loss: share(draws),
            reorder: share(draws),
            duplicate: share(draws),
            corrupt: share(draws),
            jitter: share(draws),
            bits: Draws::new(draws.next()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "53 bits are what a float holds exactly")]
const fn share(draws: &mut Draws) -> f64 {
    (draws.next() >> 11) as f64 / (1_u64 << 53) as f64
}

impl<T: Copy> Wire<T> {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            impairment: Impairment::NONE,
            counts: WireCounts::default(),
            draws: Draws::new(seed),
            busy_until: None,
            last_due: None,
            in_order: VecDeque::new(),
            held_back: VecDeque::new(),
            waiting_bytes: 0,
            current: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Takes in a packet of `owner`.
    pub(super) fn enter(&mut self, bytes: &[u8], owner: T, now: Instant) {
        self.counts.entered += 1;
        let fate = Fate::draw(&mut self.draws);
        let impairment = self.impairment;
        if impairment.blackhole {
            self.counts.blackholed += 1;
            return;
        }
        if bytes.len() > impairment.payload_bytes_max {
            self.counts.too_long += 1;
            return;
        }
        if fate.loss < impairment.loss {
            self.counts.lost += 1;
            return;
        }
        let Some(sent) = self.pass_bottleneck(bytes.len(), now) else {
            self.counts.overflowed += 1;
            return;
        };
        let mut due = sent + impairment.delay + impairment.jitter.mul_f64(fate.jitter);
        due = self.last_due.map_or(due, |last| due.max(last));
        self.last_due = Some(due);
        let held_back = fate.reorder < impairment.reorder;
        if held_back {
            self.counts.reordered += 1;
            due += HELD_BACK;
        }
        let damage = (fate.corrupt < impairment.corrupt && !bytes.is_empty()).then_some(fate.bits);
        self.counts.corrupted += u64::from(damage.is_some());
        let twice = fate.duplicate < impairment.duplicate;
        self.counts.duplicated += u64::from(twice);
        for _ in 0..=u8::from(twice) {
            let Some(mut bytes) = self.store(bytes) else {
                self.counts.overflowed += 1;
                continue;
            };
            if let Some(bits) = &damage {
                flip_bits(&mut bytes, bits.clone());
            }
            let queue = if held_back { &mut self.held_back } else { &mut self.in_order };
            queue.push_back(Waiting { due, owner, bytes });
        }
    }

    /// Returns the next packet that has arrived.
    pub(super) fn poll_arrival(&mut self, now: Instant) -> Option<(T, &[u8])> {
        let due = self.poll_timeout().filter(|due| *due <= now)?;
        let held_is_next = self.held_back.front().is_some_and(|held| held.due == due);
        let queue = if held_is_next { &mut self.held_back } else { &mut self.in_order };
        let arrived = queue.pop_front()?;
        self.waiting_bytes -= arrived.bytes.capacity();
        self.counts.delivered += 1;
        let used = std::mem::replace(&mut self.current, arrived.bytes);
        // What is kept for reuse stays within the bound of what may wait.
        if used.capacity() == SMALL_BYTES && self.spare.len() < SPARE_MAX {
            self.spare.push(used);
        }
        Some((arrived.owner, &self.current))
    }

    /// Returns when the next packet arrives.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [&self.in_order, &self.held_back].into_iter().filter_map(|queue| Some(queue.front()?.due)).min()
    }

    /// Returns when the bottleneck has sent a packet of this length; `None` when its queue is full.
    fn pass_bottleneck(&mut self, length: usize, now: Instant) -> Option<Instant> {
        let Some(Rate { bits_per_second, queue_bytes }) = self.impairment.rate else { return Some(now) };
        let takes = |bytes: u64| {
            let nanos = u128::from(bytes) * 8 * 1_000_000_000 / u128::from(bits_per_second.get());
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        let length = length as u64 + HEADER_BYTES;
        let begins = self.busy_until.map_or(now, |busy| busy.max(now));
        let queued = begins.saturating_duration_since(now);
        if !queued.is_zero() && queued + takes(length) > takes(queue_bytes) {
            return None;
        }
        let sent = begins + takes(length);
        self.busy_until = Some(sent);
        Some(sent)
    }

    /// Stores a copy of a packet, while there is room for it.
    fn store(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = match self.spare.pop() {
            Some(spare) if bytes.len() <= SMALL_BYTES => spare,
            _ => Vec::with_capacity(bytes.len().max(SMALL_BYTES)),
        };
        if self.waiting_bytes + buffer.capacity() > SHIM_WAITING_BYTES_MAX {
            return None;
        }
        self.waiting_bytes += buffer.capacity();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        Some(buffer)
    }
}

/// A buffer that holds any packet of an Ethernet; larger ones get their own.
const SMALL_BYTES: usize = 2_048;
/// Buffers kept for reuse.
const SPARE_MAX: usize = 4_096;

fn flip_bits(bytes: &mut [u8], mut draws: Draws) {
    let bits = bytes.len() as u64 * 8;
    let first = draws.below(bits);
    for bit in first..=first + draws.below(3) {
        let place = usize::try_from(bit % bits / 8).expect("within the packet");
        bytes[place] ^= 1 << (bit % 8);
    }
}

#[cfg(test)]
mod tests;
