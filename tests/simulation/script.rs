//! What befalls a run: drawn from its seed before it begins, so that it can be printed whole.

use std::fmt;
use std::time::Duration;

use adit_core::config::agent::Congestion;
use adit_core::domain::path::PathPreference;

use crate::random::Random;
use crate::traffic::Workload;
use crate::wire::{Node, Weather};

/// Faults begin after this, and end before [`Script::calm`].
const QUIET_START: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Weather {
        from: Node,
        to: Node,
        weather: Weather,
    },
    /// Nothing passes this way for so long.
    BlackHole {
        from: Node,
        to: Node,
        lasts: Duration,
    },
    /// A firewall lets none of this agent's UDP pass.
    BlockUdp {
        agent: Node,
        lasts: Duration,
    },
    /// A dead proxy: nothing passes over TCP, and nobody is told.
    BlockTcp {
        agent: Node,
        lasts: Duration,
    },
    /// A proxy ends the carrier.
    CutCarrier {
        agent: Node,
    },
    /// The path carries datagrams of so many bytes.
    Mtu {
        one: Node,
        other: Node,
        bytes: usize,
    },
    Rebind {
        agent: Node,
        seen_by: Node,
    },
    Freeze {
        agent: Node,
        lasts: Duration,
    },
    /// Everybody's clock moves at once.
    Leap {
        by: Duration,
    },
    RestartAgent {
        agent: Node,
    },
    /// The gateway's process is gone for so long, with all that it knew.
    StopGateway {
        lasts: Duration,
    },
    Choose {
        agent: Node,
        choice: PathPreference,
        lasts: Duration,
    },
    /// The rules forbid the two to talk for so long; only the relay follows them here.
    Forbid {
        lasts: Duration,
    },
    /// A stranger on the way sends a copy of all that goes below QUIC ahead of it.
    Rush {
        lasts: Duration,
    },
    /// Strangers send so many packets within a second: noise, replays, forgeries; or one and the same
    /// packet to the relay.
    Strangers {
        packets: u32,
        floods: bool,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub stall: Duration,
    pub congestion: Congestion,
    pub workload: Workload,
    /// How long it takes the gateway to tell an agent that its peer has moved.
    pub announce_after: Duration,
    /// Every path carries the same, all the time.
    pub is_even: bool,
    /// Each agent keeps a carrier, though nothing needs it.
    pub keeps_carriers: bool,
    pub faults: Vec<(Duration, Fault)>,
    /// From here on nothing is wrong any more.
    pub calm: Duration,
}

impl Script {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed).fork("script");
        let calm = QUIET_START + random.millis(5_000, 45_000);
        let mut script = Self {
            // MLLP's limit, and that of all others.
            stall: Duration::from_secs(random.pick(&[4, 60, 60])),
            congestion: random.pick(&[Congestion::Bbr, Congestion::Bbr, Congestion::Cubic]),
            workload: Workload::draw(&mut random),
            announce_after: random.millis(50, 5_000),
            is_even: random.hits(700),
            keeps_carriers: true,
            faults: Vec::new(),
            calm,
        };
        // One that must be dialled first comes too late for MLLP's limit.
        script.keeps_carriers = script.stall < Duration::from_secs(60) || random.hits(500);
        let even = draw_mtu(&mut random);
        for (one, other) in PAIRS {
            script.draw_weather(Duration::ZERO, one, other, &mut random);
            let bytes = if script.is_even { even } else { draw_mtu(&mut random) };
            script.faults.push((Duration::ZERO, Fault::Mtu { one, other, bytes }));
        }
        for _ in 0..random.between(1, 12) {
            let at = QUIET_START + calm.saturating_sub(QUIET_START).mul_f64(random.draw());
            script.draw_fault(at, &mut random);
        }
        script.faults.sort_by_key(|(at, _)| *at);
        script
    }

    /// Nothing happens of its own accord, and a stream is opened every second.
    pub(crate) fn quiet(stall: Duration) -> Self {
        Self {
            stall,
            congestion: Congestion::Cubic,
            workload: Workload::steady(),
            announce_after: Duration::from_secs(1),
            is_even: true,
            keeps_carriers: true,
            faults: Vec::new(),
            calm: Duration::from_secs(1_000_000),
        }
    }

    fn draw_fault(&mut self, at: Duration, random: &mut Random) {
        let agent = random.pick(&Node::AGENTS);
        let left = self.calm.saturating_sub(at);
        let fault = match random.below(120) {
            0..40 => return self.draw_black_hole(at, random),
            40..50 => {
                let (one, other) = random.pick(&PAIRS);
                return self.draw_weather(at, one, other, random);
            }
            50..56 if self.is_even => return self.draw_black_hole(at, random),
            50..56 => {
                let (one, other) = random.pick(&PAIRS);
                Fault::Mtu { one, other, bytes: draw_mtu(random) }
            }
            56..66 => Fault::Rebind { agent, seen_by: random.pick(&[agent.peer(), Node::Gateway]) },
            66..72 => Fault::Freeze { agent, lasts: random.millis(100, 8_000).min(left) },
            72..76 => Fault::Leap { by: random.pick(&LEAPS_MILLIS.map(Duration::from_millis)) },
            76..80 => Fault::RestartAgent { agent },
            80..86 => Fault::StopGateway { lasts: random.millis(100, 20_000).min(left) },
            86..92 => {
                let preference =
                    random.pick(&["direct", "relay", "tcp", "relay,direct", "tcp,relay,direct", "relay,tcp"]);
                let choice: PathPreference = preference.parse().unwrap();
                Fault::Choose { agent, choice, lasts: random.millis(500, 20_000).min(left) }
            }
            92..94 => Fault::Rush { lasts: random.millis(500, 30_000).min(left) },
            94..96 => Fault::Forbid { lasts: random.millis(500, 10_000).min(left) },
            100..108 => Fault::BlockUdp { agent, lasts: random.millis(500, 40_000).min(left) },
            108..114 => Fault::BlockTcp { agent, lasts: random.millis(500, 20_000).min(left) },
            114..120 => Fault::CutCarrier { agent },
            _ => Fault::Strangers { packets: random.pick(&[10, 60, 400]), floods: random.hits(300) },
        };
        self.faults.push((at, fault));
    }

    /// In one direction or both, of one path or of all.
    fn draw_black_hole(&mut self, at: Duration, random: &mut Random) {
        let longest = random.pick(&[1_000, 4_000, 10_000, 30_000]);
        let lasts = random.millis(50, longest).min(self.calm.saturating_sub(at));
        let both = random.hits(600);
        let all = random.hits(150);
        if all && random.hits(700) {
            self.faults.extend(Node::AGENTS.map(|agent| (at, Fault::BlockTcp { agent, lasts })));
        }
        let pairs: &[_] = if all { &PAIRS } else { &[random.pick(&PAIRS)] };
        for &(one, other) in pairs {
            let (from, to) = if random.hits(500) { (one, other) } else { (other, one) };
            self.faults.push((at, Fault::BlackHole { from, to, lasts }));
            if both {
                self.faults.push((at, Fault::BlackHole { from: to, to: from, lasts }));
            }
        }
    }

    fn draw_weather(&mut self, at: Duration, one: Node, other: Node, random: &mut Random) {
        for (from, to) in [(one, other), (other, one)] {
            self.faults.push((at, Fault::Weather { from, to, weather: Weather::draw(random) }));
        }
    }
}

fn draw_mtu(random: &mut Random) -> usize {
    random.pick(&[1_200, 1_252, 1_400, 1_472, 9_000])
}

pub(crate) const PAIRS: [(Node, Node); 3] =
    [(Node::Source, Node::Target), (Node::Source, Node::Gateway), (Node::Target, Node::Gateway)];
/// As after a stutter, a suspend, and one that outlasts every idle timer.
const LEAPS_MILLIS: [u64; 5] = [300, 2_000, 10_000, 50_000, 240_000];

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  stall limit {} s, {:?}, {:?}", self.stall.as_secs(), self.congestion, self.workload)?;
        for (at, fault) in &self.faults {
            writeln!(f, "{:10.3} s  {fault}", at.as_secs_f64())?;
        }
        writeln!(f, "{:10.3} s  calm", self.calm.as_secs_f64())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weather {
                from,
                to,
                weather: Weather { loss, reorder, duplicate, corrupt, delay, jitter },
            } => {
                write!(
                    f,
                    "{from:?} → {to:?}: of 1,000 lost {loss}, overtaken {reorder}, doubled {duplicate}, \
                     corrupt {corrupt}; {delay:?} to {:?}",
                    *delay + *jitter
                )
            }
            Self::BlackHole { from, to, lasts } => {
                write!(f, "{from:?} → {to:?}: nothing passes for {lasts:?}")
            }
            Self::BlockUdp { agent, lasts } => write!(f, "{agent:?}: no UDP passes for {lasts:?}"),
            Self::BlockTcp { agent, lasts } => write!(f, "{agent:?}: nothing passes over TCP for {lasts:?}"),
            Self::CutCarrier { agent } => write!(f, "{agent:?}: the carrier is cut"),
            Self::Mtu { one, other, bytes } => write!(f, "{one:?} ↔ {other:?}: carries {bytes} bytes"),
            Self::Rebind { agent, seen_by } => write!(f, "{agent:?}: has a new address towards {seen_by:?}"),
            Self::Freeze { agent, lasts } => write!(f, "{agent:?}: is frozen for {lasts:?}"),
            Self::Leap { by } => write!(f, "all clocks leap by {by:?}"),
            Self::RestartAgent { agent } => write!(f, "{agent:?}: is restarted"),
            Self::StopGateway { lasts } => write!(f, "Gateway: is gone for {lasts:?}"),
            Self::Choose { agent, choice, lasts } => write!(f, "{agent:?}: allows {choice} for {lasts:?}"),
            Self::Forbid { lasts } => write!(f, "Gateway: lets nobody talk for {lasts:?}"),
            Self::Rush { lasts } => {
                write!(f, "a stranger sends copies of all packets below QUIC ahead of them for {lasts:?}")
            }
            Self::Strangers { packets, floods } => {
                let what = if *floods { "times the same packet" } else { "packets" };
                write!(f, "strangers send {packets} {what}")
            }
        }
    }
}
