//! Directed runs: one fault at a time, on a wire that loses nothing of its own accord, so that every
//! deadline is exact on the virtual clock.

use std::time::Duration;

use adit_core::domain::path::{PathKind, PathPreference};
use adit_core::protocol::route::{Path, PathReason};

use crate::ledger::Fate;
use crate::script::{Fault, PAIRS, Script};
use crate::wire::Node;
use crate::world::World;

const MLLP: Duration = Duration::from_secs(4);
const DICOM: Duration = Duration::from_secs(60);
const FALLS_BACK: Duration = Duration::from_secs(3);
const DIRECT: (Node, Node) = (Node::Source, Node::Target);

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Both agents on the direct path, with a tunnel and streams under way.
fn started(seed: u64, stall: Duration) -> World {
    let mut world = World::new(seed, Script::quiet(stall), false);
    world.run_for(seconds(20));
    assert_paths(&world, [PathKind::Direct; 2]);
    assert!(world.agents.iter().all(|agent| agent.open_tunnel().is_some()));
    world
}

fn black_hole(world: &mut World, (one, other): (Node, Node), lasts: Duration) {
    world.strike(Fault::BlackHole { from: one, to: other, lasts });
    world.strike(Fault::BlackHole { from: other, to: one, lasts });
}

/// Nothing passes at all, over TCP neither.
fn black_out(world: &mut World, lasts: Duration) {
    for pair in PAIRS {
        black_hole(world, pair, lasts);
    }
    for agent in Node::AGENTS {
        world.strike(Fault::BlockTcp { agent, lasts });
    }
}

fn block_udp(world: &mut World, agents: &[Node], lasts: Duration) {
    for agent in agents {
        world.strike(Fault::BlockUdp { agent: *agent, lasts });
    }
}

#[track_caller]
fn assert_paths(world: &World, paths: [PathKind; 2]) {
    let active = world.agents.each_ref().map(|agent| agent.paths.active().map(Path::kind));
    assert_eq!(active, paths.map(Some));
}

/// Every promise was kept and no stream broke.
#[track_caller]
fn assert_unbroken(world: &World) {
    assert_kept(world);
    let broken = world.scene.ledger.records().iter().filter(|record| record.fate == Fate::Broken).count();
    assert_eq!(broken, 0, "streams were broken");
    assert_eq!(world.scene.tally.tunnels, 1);
}

#[track_caller]
fn assert_kept(world: &World) {
    if let Some(violation) = &world.scene.log.violation {
        panic!("{}\n{violation}", world.scene.log.latest().collect::<Vec<_>>().join("\n"));
    }
}

/// Runs on until so many more streams were carried; gives how long that took.
#[track_caller]
fn until_carried(world: &mut World, more: u64) -> Duration {
    let (begun, wanted) = (world.scene.now, world.scene.tally.streams + more);
    let carried = world.run_while(begun + seconds(200), |world| world.scene.tally.streams < wanted);
    assert_kept(world);
    assert!(carried, "no data flows");
    world.scene.now - begun
}

#[test]
fn a_silent_path_is_left_exactly_three_seconds_after_its_last_answer() {
    for seed in 0..20 {
        let mut world = started(seed, MLLP);
        world.run_for(Duration::from_millis(seed * 97));
        black_hole(&mut world, DIRECT, seconds(60));
        world.run_for(seconds(6));
        for agent in &world.agents {
            let (at, path, why) = agent.paths.turned.unwrap();
            let (_, last) = agent.paths.direct_answers.unwrap();
            assert_eq!((path.kind(), why, at - last), (PathKind::Relay, PathReason::Silent, FALLS_BACK));
        }
        assert_unbroken(&world);
    }
}

#[test]
fn the_direct_path_is_taken_again_exactly_thirty_seconds_after_its_first_answer_doubling_each_time() {
    let mut world = started(1, DICOM);
    for patience in [30, 60, 120, 240, 480, 480] {
        fall_then_climb(&mut world, seconds(patience));
    }
    // Ten minutes of service, and all is forgiven.
    world.run_for(seconds(601));
    fall_then_climb(&mut world, seconds(30));
    assert_unbroken(&world);
}

fn fall_then_climb(world: &mut World, patience: Duration) {
    black_hole(world, DIRECT, seconds(10));
    world.run_for(seconds(10));
    assert_paths(world, [PathKind::Relay; 2]);
    world.agents.iter_mut().for_each(|agent| agent.paths.direct_answers = None);
    world.run_for(patience + seconds(5));
    for agent in &world.agents {
        let (at, path, why) = agent.paths.turned.unwrap();
        let (first, _) = agent.paths.direct_answers.unwrap();
        assert_eq!((path.kind(), why, at - first), (PathKind::Direct, PathReason::Better, patience));
    }
}

#[test]
fn an_outage_of_two_seconds_in_any_direction_of_any_path_breaks_nothing() {
    for seed in 0..20 {
        for stall in [MLLP, DICOM] {
            let mut world = started(seed, stall);
            for (one, other) in PAIRS {
                world.strike(Fault::BlackHole { from: one, to: other, lasts: seconds(2) });
                world.run_for(seconds(7));
                world.strike(Fault::BlackHole { from: other, to: one, lasts: seconds(2) });
                world.run_for(seconds(7));
            }
            for pair in PAIRS {
                black_hole(&mut world, pair, seconds(2));
            }
            world.run_for(seconds(2));
            assert!(until_carried(&mut world, 1) < seconds(2));
            assert_unbroken(&world);
        }
    }
}

#[test]
fn half_a_minute_without_any_path_cuts_only_streams_with_mllps_limit() {
    for (stall, tunnels) in [(DICOM, 1), (MLLP, 2)] {
        let mut world = started(3, stall);
        black_out(&mut world, seconds(30));
        world.run_for(seconds(30));
        until_carried(&mut world, 3);
        assert_eq!(world.scene.tally.tunnels, tunnels);
    }
}

#[test]
fn a_path_that_is_cut_one_way_is_left_by_both() {
    for (from, to) in [DIRECT, (Node::Target, Node::Source)] {
        let mut world = started(4, MLLP);
        world.strike(Fault::BlackHole { from, to, lasts: seconds(20) });
        world.run_for(seconds(5));
        assert_paths(&world, [PathKind::Relay; 2]);
        assert_unbroken(&world);
    }
}

#[test]
fn a_path_that_is_forced_every_second_breaks_nothing() {
    let mut world = started(5, MLLP);
    for _ in 0..60 {
        for choice in [PathKind::Relay, PathKind::Direct].map(PathPreference::only) {
            for agent in Node::AGENTS {
                world.strike(Fault::Choose { agent, choice, lasts: seconds(1_000) });
            }
            world.run_for(seconds(1));
        }
    }
    assert!(world.scene.tally.forced >= 200, "{} changes", world.scene.tally.forced);
    assert_unbroken(&world);
}

#[test]
fn a_new_address_of_an_agent_behind_the_relay_heals_with_its_next_probe() {
    for agent in Node::AGENTS {
        let mut world = started(6, MLLP);
        black_hole(&mut world, DIRECT, seconds(10_000));
        world.run_for(seconds(20));
        for _ in 0..20 {
            world.strike(Fault::Rebind { agent, seen_by: Node::Gateway });
            // One probe a second, and the round trips of challenge and ping.
            let healed = until_carried(&mut world, 1);
            assert!(healed < seconds(3), "after {healed:?}");
            world.run_for(seconds(3));
            assert_paths(&world, [PathKind::Relay; 2]);
        }
        assert_unbroken(&world);
    }
}

#[test]
fn new_addresses_on_the_direct_path_break_nothing() {
    for agent in Node::AGENTS {
        let mut world = started(7, MLLP);
        for _ in 0..20 {
            world.strike(Fault::Rebind { agent, seen_by: agent.peer() });
            world.run_for(seconds(6));
        }
        assert_unbroken(&world);
    }
}

#[test]
fn a_restart_of_the_gateway_under_a_relayed_tunnel_breaks_nothing() {
    let mut world = started(8, DICOM);
    black_hole(&mut world, DIRECT, seconds(10_000));
    world.run_for(seconds(10));
    for _ in 0..5 {
        world.strike(Fault::StopGateway { lasts: seconds(5) });
        world.run_for(seconds(5));
        until_carried(&mut world, 3);
        world.run_for(seconds(10));
    }
    assert_unbroken(&world);
}

#[test]
fn a_tunnel_that_one_end_gave_up_in_the_dark_is_given_up_by_the_other() {
    // The shorter limit passes without the other end being told.
    let mut world = World::new(9, Script::quiet(DICOM), false);
    world.set_stall(Node::Target, MLLP);
    world.run_for(seconds(20));
    black_out(&mut world, seconds(8));
    world.run_for(seconds(8));
    assert!(world.agent(Node::Target).open_tunnel().is_none());
    assert!(world.agent(Node::Source).open_tunnel().is_some());
    until_carried(&mut world, 3);
    assert_eq!((world.scene.tally.tunnels, world.scene.tally.forgotten), (2, 1));
}

const SOURCE: &[Node] = &[Node::Source];
const TARGET: &[Node] = &[Node::Target];
const FOR_GOOD: Duration = seconds(100_000);

#[test]
fn where_no_udp_passes_data_flows_within_five_seconds_of_the_start() {
    for keeps_carriers in [true, false] {
        for agents in [SOURCE, TARGET, &Node::AGENTS] {
            let mut script = Script::quiet(MLLP);
            script.keeps_carriers = keeps_carriers;
            let mut world = World::new(10, script, false);
            block_udp(&mut world, agents, FOR_GOOD);
            let flows = until_carried(&mut world, 1);
            assert!(flows < seconds(5), "{agents:?}: after {flows:?}");
            world.run_for(seconds(60));
            let kinds = Node::AGENTS
                .map(|agent| if agents.contains(&agent) { PathKind::Tcp } else { PathKind::Relay });
            assert_paths(&world, kinds);
            assert_unbroken(&world);
        }
    }
}

#[test]
fn udp_lost_in_use_breaks_nothing_and_is_taken_again_within_35_seconds_of_its_return() {
    // A carrier that must be dialled first comes too late for MLLP's limit.
    for (stall, keeps_carriers) in [(MLLP, true), (DICOM, true), (DICOM, false)] {
        for agents in [SOURCE, TARGET, &Node::AGENTS] {
            for seed in 0..2 {
                let mut world = started(20 + seed, stall);
                for agent in Node::AGENTS {
                    world.agent(agent).paths.keeps_carrier = keeps_carriers;
                }
                world.run_for(seconds(90) + Duration::from_millis(seed * 173));
                block_udp(&mut world, agents, seconds(100));
                world.run_for(seconds(100));
                for agent in &world.agents {
                    let is_blocked = agents.contains(&agent.node);
                    let kind = if is_blocked { PathKind::Tcp } else { PathKind::Relay };
                    assert_eq!(agent.paths.active().map(Path::kind), Some(kind), "{agents:?}");
                }
                world.run_for(seconds(35));
                assert_paths(&world, [PathKind::Direct; 2]);
                assert_unbroken(&world);
            }
        }
    }
}

#[test]
fn udp_that_is_lost_one_way_is_left_for_tcp_by_both() {
    for agent in Node::AGENTS {
        for leaves in [true, false] {
            let mut world = started(30, MLLP);
            for other in [agent.peer(), Node::Gateway] {
                let (from, to) = if leaves { (agent, other) } else { (other, agent) };
                world.strike(Fault::BlackHole { from, to, lasts: seconds(60) });
            }
            world.run_for(seconds(30));
            assert_eq!(world.agent(agent).paths.active().map(Path::kind), Some(PathKind::Tcp));
            until_carried(&mut world, 3);
            assert_unbroken(&world);
        }
    }
}

#[test]
fn a_carrier_that_is_cut_while_it_is_in_use_breaks_nothing() {
    let mut world = started(31, MLLP);
    block_udp(&mut world, &Node::AGENTS, seconds(10_000));
    world.run_for(seconds(20));
    for _ in 0..20 {
        for agent in Node::AGENTS {
            world.strike(Fault::CutCarrier { agent });
            let healed = until_carried(&mut world, 1);
            assert!(healed < seconds(3), "after {healed:?}");
            // As a proxy that cuts what is idle for a minute.
            world.run_for(seconds(60));
        }
    }
    assert_paths(&world, [PathKind::Tcp; 2]);
    assert_unbroken(&world);
}

#[test]
fn a_dead_proxy_is_found_by_silence_and_another_carrier_takes_over() {
    let mut world = started(32, DICOM);
    block_udp(&mut world, &Node::AGENTS, seconds(10_000));
    world.run_for(seconds(20));
    let dead = world.scene.tally.carriers_dead;
    world.strike(Fault::BlockTcp { agent: Node::Source, lasts: seconds(9) });
    world.run_for(seconds(9));
    assert!(world.scene.tally.carriers_dead > dead);
    let healed = until_carried(&mut world, 1);
    assert!(healed < seconds(5), "after {healed:?}");
    assert_unbroken(&world);
}

#[test]
fn a_carrier_that_nothing_needs_is_ended_and_opened_again_when_something_does() {
    let mut world = started(33, DICOM);
    for agent in Node::AGENTS {
        world.agent(agent).paths.keeps_carrier = false;
    }
    world.run_for(seconds(90));
    assert!(Node::AGENTS.iter().all(|agent| !world.scene.wire.has_carrier(*agent)));
    block_udp(&mut world, SOURCE, seconds(10));
    world.run_for(seconds(5));
    assert!(world.scene.wire.has_carrier(Node::Source));
    assert_unbroken(&world);
}

#[test]
fn an_owner_who_prefers_tcp_has_it_though_all_is_well() {
    let mut world = started(34, MLLP);
    for agent in Node::AGENTS {
        let choice: PathPreference = "tcp,relay,direct".parse().unwrap();
        world.strike(Fault::Choose { agent, choice, lasts: FOR_GOOD });
    }
    world.run_for(seconds(10));
    assert_paths(&world, [PathKind::Tcp; 2]);
    for (agent, lasts) in Node::AGENTS.map(|agent| (agent, seconds(30))) {
        world.strike(Fault::BlockTcp { agent, lasts });
    }
    world.run_for(seconds(10));
    assert_paths(&world, [PathKind::Relay; 2]);
    world.run_for(seconds(70));
    assert_paths(&world, [PathKind::Tcp; 2]);
    assert_unbroken(&world);
}
