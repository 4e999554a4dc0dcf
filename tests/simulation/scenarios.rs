//! Directed runs: one fault at a time, on a wire that loses nothing of its own accord, so that every
//! deadline is exact on the virtual clock.

use std::time::Duration;

use adit_core::domain::path::{PathChoice, PathKind};
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
            assert_eq!((path, why, at - last), (Path::Relay, PathReason::Silent, FALLS_BACK));
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
        for pair in PAIRS {
            black_hole(&mut world, pair, seconds(30));
        }
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
        for choice in [PathChoice::Relay, PathChoice::Direct] {
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
    let mut world = started(9, DICOM);
    world.set_stall(Node::Target, MLLP);
    for pair in PAIRS {
        black_hole(&mut world, pair, seconds(8));
    }
    world.run_for(seconds(8));
    assert!(world.agent(Node::Target).open_tunnel().is_none());
    assert!(world.agent(Node::Source).open_tunnel().is_some());
    until_carried(&mut world, 3);
    assert_eq!((world.scene.tally.tunnels, world.scene.tally.forgotten), (2, 1));
}
