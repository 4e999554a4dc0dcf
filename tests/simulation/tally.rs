//! What the runs went through, counted: a check that sees nothing would pass forever.

use std::fmt;

macro_rules! tally {
    ($($name:ident: $words:literal,)*) => {
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub(crate) struct Tally {
            $(pub $name: u64,)*
        }

        impl Tally {
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// What never happened.
            pub(crate) fn unseen(&self) -> Vec<&'static str> {
                [$((self.$name, $words)),*].into_iter().filter(|(count, _)| *count == 0).map(|(_, words)| words).collect()
            }
        }

        impl fmt::Display for Tally {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(writeln!(f, "{:>12}  {}", self.$name, $words)?;)*
                Ok(())
            }
        }
    };
}

tally! {
    faults: "faults of all kinds",
    datagrams: "datagrams sent",
    lost: "lost by chance",
    blocked: "sent into a black hole",
    oversized: "larger than the path carries",
    reordered: "overtaken",
    duplicated: "doubled",
    corrupted: "with a bit turned",
    to_nobody: "to an address that nobody holds any more",
    to_strangers: "to addresses of strangers",
    unvalidated: "QUIC packets that an agent took from no stranger",
    unproven: "packets of handshakes that were over, or never began",
    no_route: "QUIC packets without a route",
    tunnels: "tunnels opened",
    tunnels_ended: "tunnels that the script ended",
    forgotten: "tunnels given up because only one end knew them",
    ports_open: "times that the source's port opened",
    streams: "streams carried to their end",
    without_credit: "times that a sender waited for credit",
    streams_broken: "streams broken as the script justifies",
    bytes: "bytes delivered",
    quic_direct: "QUIC packets sent over the direct path",
    quic_relay: "QUIC packets sent over the relay",
    quic_tcp: "QUIC packets sent over the relay by TCP",
    carriers: "carriers opened",
    carriers_cut: "carriers that were cut",
    carriers_dead: "carriers found dead",
    held: "packets that a stuck carrier held",
    first: "tunnels' first paths",
    better: "changes to a better path",
    silent: "changes from a silent path",
    moved: "changes to another address",
    forced: "changes that an owner forced",
    resumed: "paths that answered again",
    pings: "pings after a change",
    asked_again: "pings because a tunnel did not answer",
    relayed: "packets that the relay forwarded",
    relayed_across: "of which from UDP to TCP, or back",
    insider: "of which a third agent sent, to whom it may",
    registrations: "registrations at the relay",
    relay_answers: "packets that the relay answered",
    unknown_source: "dropped by the relay: from an unknown source",
    not_permitted: "dropped by the relay: not permitted",
    peer_away: "dropped by the relay: the peer is away",
    forged: "dropped by the relay: forged",
    replayed: "dropped by the relay: replayed",
    too_many: "dropped by the relay: too many",
    malformed: "dropped by the relay: malformed or unexpected",
    gateway_restarts: "restarts of the gateway",
    links_lost: "control links lost",
    strangers: "packets of strangers",
    choices: "paths that an owner forced",
    rebinds: "new addresses of an agent",
    agent_restarts: "restarts of an agent",
    leaps: "leaps of the clock and frozen agents",
}
