//! What a connection's machine promises: to its peer, to who connects, and to who reads the log.

use super::*;
use crate::protocol::control::{ConfigMismatch, PeerRefusal};

fn ended(why: EndReason) -> Action {
    Action::Report(Report::Ended { why, is_announced: false })
}

#[test]
fn a_source_dials_once_policy_secret_and_path_allow_it() {
    let mut run = Run::new(Side::Source);
    let now = run.now;
    assert_eq!(run.state(), "idle (no rule yet)");
    run.machine.handle_policy(active(), now);
    assert_eq!(run.state(), "idle (no port yet)");
    run.machine.handle_bound(now);
    assert_eq!(run.state(), "idle (no secret yet)");
    run.machine.handle_secret(true, now);
    assert_eq!(run.state(), "waiting for a path");
    assert_eq!(run.perform(), []);
    run.machine.handle_path(path(now), now);
    assert_eq!((run.state().as_str(), run.perform()), ("dialing (attempt 1)", vec![Action::Dial]));
    run.machine.handle_dialed(Ok(()), now);
    assert_eq!((run.state().as_str(), run.perform()), ("proving (attempt 1)", vec![Action::Prove]));
    run.machine.handle_proven(Ok(proven()), now);
    assert_eq!(
        (run.state().as_str(), run.perform()),
        ("up", vec![Action::Serve, Action::Report(Report::Up)])
    );
    run.machine.handle_upstream(Some(true), now);
    assert_eq!(run.perform(), [OPEN]);
}

#[test]
fn a_port_is_open_for_exactly_three_seconds_after_the_peer_was_heard_last() {
    let mut run = Run::up(Side::Source);
    run.hear_for(SECOND);
    let dated = run.run_for(SECOND * 60);
    assert_eq!(dated[0], (1_000 + 3_000, SHUT));
    // MLLP's stall limit is a second longer.
    assert_eq!(wanted(&dated[1..4]), [Action::Close(Code::Stalled), Action::End, ended(EndReason::Stalled)]);
    assert_eq!(dated[1].0, 1_000 + STALL.as_millis());
}

#[test]
fn a_port_reopens_after_two_seconds_in_which_the_peer_was_heard() {
    let mut run = Run::up(Side::Source);
    assert_eq!(run.run_for(Duration::from_millis(3_200)), [(3_000, SHUT)]);
    assert_eq!(run.hear_for(SECOND * 4), [(3_700 + reopen_after(), OPEN)]);
}

#[test]
fn news_that_come_late_close_no_port_and_cut_no_tunnel() {
    let mut run = Run::up(Side::Source);
    run.now += SECOND * 5;
    let now = run.now;
    // Other things happen first; the answers of the last five seconds were not counted yet.
    run.machine.handle_streams(1, now);
    run.machine.handle_policy(active(), now);
    run.hear();
    run.machine.handle_timeout(now);
    assert_eq!(run.perform(), []);
}

#[test]
fn a_port_closes_at_once_when_the_far_mirth_is_away_or_the_connection_paused() {
    let mut run = Run::up(Side::Source);
    let now = run.now;
    run.machine.handle_upstream(Some(false), now);
    assert_eq!(run.perform(), [SHUT]);
    run.machine.handle_upstream(Some(true), now);
    assert_eq!(run.hear_for(SECOND * 3), [(reopen_after(), OPEN)]);
    let now = run.now;
    run.machine.handle_policy(paused(), now);
    assert_eq!(run.perform(), [SHUT]);
    assert!(run.machine.session().is_some() && !run.machine.may_start());
}

#[test]
fn a_tunnel_ends_only_by_what_forbids_it() {
    let with = |policy| (policy, PeerKey::default());
    let cut = |cut_epoch| with(Policy::Active(Rule { cut_epoch, ..rule() }));
    let key = |is_revoked, is_replaced| (active(), PeerKey { is_revoked, is_replaced });
    for (what, (policy, key), expected) in [
        ("active", with(active()), None),
        ("paused", with(paused()), None),
        ("ready", with(Policy::Ready(rule())), Some(EndReason::NotActive)),
        ("no rule", with(Policy::Unknown), Some(EndReason::NotActive)),
        ("not listed", with(Policy::Unlisted), Some(EndReason::NotActive)),
        ("ended", with(Policy::Terminated), Some(EndReason::NotActive)),
        ("a mismatch", with(Policy::ConfigMismatch(ConfigMismatch::Side)), Some(EndReason::NotActive)),
        ("cut", cut(4), Some(EndReason::Cut)),
        ("another count of cuts, of a gateway that was restored", cut(2), Some(EndReason::Cut)),
        ("revoked", key(true, false), Some(EndReason::Revoked)),
        ("another key trusted", key(false, true), Some(EndReason::OtherKey)),
        ("revoked, another trusted", key(true, true), Some(EndReason::Revoked)),
    ] {
        for side in [Side::Source, Side::Target] {
            let mut run = Run::up(side);
            let now = run.now;
            run.machine.handle_key(key, now);
            run.machine.handle_policy(policy.clone(), now);
            let actions = run.perform();
            let found = actions.iter().find_map(|action| match action {
                Action::Report(Report::Ended { why, .. }) => Some(why.clone()),
                _ => None,
            });
            assert_eq!(found, expected, "{what} at the {}", side.as_str());
            assert_eq!(actions.contains(&Action::Close(Code::Ended)), expected.is_some(), "{what}");
            assert_eq!(run.machine.session().is_some(), expected.is_none(), "{what}");
        }
    }
}

#[test]
fn a_tunnel_ends_with_its_peers_certificate() {
    let mut run = Run::active(Side::Target);
    let now = run.now;
    run.machine.handle_incoming(Proven { expires: Some(now + SECOND * 7), ..proven() }, now);
    run.perform();
    let dated = run.hear_for(SECOND * 8);
    assert_eq!(dated.last(), Some(&(7_000, ended(EndReason::Expired))));
}

#[test]
fn a_restart_of_the_peer_ends_its_tunnel() {
    for side in [Side::Source, Side::Target] {
        let mut run = Run::up(side);
        let now = run.now;
        run.machine.handle_path(PeerPath { boot: None, ..path(now) }, now);
        assert!(run.machine.session().is_some(), "nothing is known of its run");
        run.machine.handle_path(PeerPath { boot: Some(OTHER_RUN), ..path(now) }, now);
        assert!(run.perform().contains(&ended(EndReason::Restarted)));
    }
}

#[test]
fn a_dial_that_is_not_answered_is_given_up_after_ten_seconds_and_its_proofs_after_five() {
    let what = |seconds| {
        format!("the tunnel to the peer could not be opened: the peer did not answer in {seconds} s")
    };
    let failed = |seconds| {
        let (what, is_excused) = (what(seconds), false);
        [Action::Close(Code::Refused), Action::Report(Report::DialFailed { what, is_excused })]
    };
    let mut run = Run::active(Side::Source);
    run.perform();
    let dated = run.run_for(SECOND * 10);
    assert_eq!((dated[0].0, wanted(&dated)), (10_000, failed(10).to_vec()));
    let mut run = Run::active(Side::Source);
    run.machine.handle_dialed(Ok(()), run.start);
    run.perform();
    let dated = run.run_for(SECOND * 5);
    assert_eq!((dated[0].0, wanted(&dated)), (5_000, failed(5).to_vec()));
}

#[test]
fn what_was_said_to_one_run_of_the_peer_another_does_not_hear() {
    for is_dialed in [false, true] {
        let mut run = Run::active(Side::Source);
        let now = run.now;
        if is_dialed {
            run.machine.handle_dialed(Ok(()), now);
        }
        run.perform();
        run.machine.handle_path(PeerPath { boot: Some(OTHER_RUN), ..path(now) }, now);
        assert_eq!((run.state().as_str(), run.perform().len()), ("backing off", 2));
        // The pause is short: what failed was an earlier run.
        let dated = run.run_for(limits::TUNNEL_BACKOFF_MIN);
        assert_eq!(wanted(&dated), [Action::Dial]);
    }
}

#[test]
fn only_a_peer_that_was_found_wanting_is_audited() {
    let refused = Audited::Refused(PeerRefusal::ChangedKey);
    let handshake = Audited::Handshake("bad".into());
    for (failure, expected) in [
        (DialFailure::away("x".into()), None),
        (DialFailure::refused_by_peer("x".into()), None),
        (DialFailure::refused("x".into(), refused.clone()), Some(Action::Audit(refused))),
        (DialFailure::refused("x".into(), handshake.clone()), Some(Action::Audit(handshake))),
    ] {
        let mut run = Run::active(Side::Source);
        run.perform();
        run.machine.handle_dialed(Err(failure), run.start);
        let audited = run.perform().into_iter().find(|action| matches!(action, Action::Audit(_)));
        assert_eq!(audited, expected);
    }
}

#[test]
fn a_wait_is_told_after_ten_seconds() {
    let mut run = Run::new(Side::Source);
    let now = run.now;
    run.machine.handle_bound(now);
    run.machine.handle_policy(active(), now);
    let told = |run: &mut Run, millis| {
        let dated = run.run_for(Duration::from_millis(millis));
        dated
            .into_iter()
            .map(|(at, action)| (at, action == Action::Report(Report::WaitsForSecret)))
            .collect::<Vec<_>>()
    };
    let expected: Vec<(u128, bool)> = vec![(10_000, true), (20_000, true)];
    assert_eq!(told(&mut run, 25_000), expected);
    let now = run.now;
    run.machine.handle_secret(true, now);
    let dated = run.run_for(SECOND * 6);
    assert_eq!(dated, [(30_000, Action::Report(Report::WaitsForPath))]);
    run.machine.handle_policy(paused(), run.now);
    assert_eq!(run.run_for(SECOND * 60), [], "nobody wants it to carry");
}

#[test]
fn a_peer_that_was_stopped_is_excused_for_a_minute() {
    for side in [Side::Source, Side::Target] {
        let mut run = Run::up(side);
        run.machine.handle_lost("the other end is stopping".into(), true, run.start);
        let why = EndReason::Lost("the other end is stopping".into());
        assert!(run.perform().contains(&Action::Report(Report::Ended { why, is_announced: true })));
        let gone = PeerPath { is_there: false, ..path(run.start) };
        run.machine.handle_path(gone, run.start);
        let dated = run.run_for(SECOND * 69);
        assert_eq!(dated, [(60_000, Action::Report(Report::StaysAway))], "{}", side.as_str());
    }
}

#[test]
fn a_dial_of_a_peer_that_is_away_by_order_warns_nobody() {
    let mut run = Run::up(Side::Source);
    run.machine.handle_peer_stopping(run.start);
    run.perform();
    let end = run.run_for(limits::STOP_REST_AFTER);
    let is_announced = true;
    assert_eq!(end.last().unwrap().1, Action::Report(Report::Ended { why: EndReason::Stops, is_announced }));
    run.run_for(SECOND);
    assert_eq!(run.state(), "dialing (attempt 1)");
    run.machine.handle_dialed(Err(DialFailure::away("x".into())), run.now);
    let failed = |is_excused| Action::Report(Report::DialFailed { what: "x".into(), is_excused });
    assert!(run.perform().contains(&failed(true)));
    run.run_for(SECOND);
    run.machine.handle_dialed(Err(DialFailure::refused_by_peer("x".into())), run.now);
    assert!(run.perform().contains(&failed(false)), "it is there and refuses");
}

#[test]
fn a_source_ends_a_tunnel_that_is_drained_once_nothing_is_under_way() {
    for own in [false, true] {
        let mut run = Run::up(Side::Source);
        run.machine.handle_streams(1, run.start);
        if own {
            run.machine.handle_stop(run.start, run.start);
        } else {
            run.machine.handle_peer_stopping(run.start);
        }
        assert!(run.perform().contains(&SHUT));
        assert!(!run.machine.may_start() || run.machine.is_draining());
        assert_eq!(run.hear_for(SECOND * 2), []);
        run.machine.handle_ended(false, 0, run.now);
        let actions = run.perform();
        assert_eq!(actions[..2], [Action::Close(Code::Goodbye), Action::End]);
        assert_eq!(run.state(), if own { "stopped" } else { "backing off" });
    }
}

#[test]
fn what_is_under_way_when_this_agent_stops_is_reset_after_its_limit() {
    for side in [Side::Source, Side::Target] {
        let mut run = Run::up(side);
        run.machine.handle_streams(1, run.start);
        run.machine.handle_stop(run.start, run.start);
        run.perform();
        let dated = run.hear_for(STOP);
        let at = STOP.as_millis();
        assert_eq!(
            dated[..2],
            [(at, Action::Report(Report::Overdue)), (at, Action::Close(Code::Goodbye))],
            "{}",
            side.as_str()
        );
        assert_eq!(run.state(), "stopped");
    }
}

#[test]
fn a_target_that_stops_waits_a_second_for_the_source_to_take_its_leave() {
    let mut run = Run::up(Side::Target);
    run.machine.handle_stop(run.start, run.start);
    assert_eq!(run.perform(), [Action::SendStopping]);
    let dated = run.hear_for(STOP);
    let at = limits::STOP_HEARD_WITHIN.as_millis();
    assert_eq!(dated[0], (at, Action::Close(Code::Goodbye)));
    assert!(wanted(&dated).contains(&ended(EndReason::StopsHere)));
}

#[test]
fn a_peer_that_stops_is_waited_for_without_a_limit_of_this_agents() {
    let mut run = Run::up(Side::Target);
    run.machine.handle_peer_stopping(run.start);
    assert_eq!(run.hear_for(STOP * 3), []);
    assert!(run.machine.is_draining());
}

#[test]
fn a_machine_that_is_told_to_stop_ends_an_attempt_and_stays_stopped() {
    let mut run = Run::active(Side::Source);
    run.perform();
    run.machine.handle_stop(run.start, run.start);
    assert_eq!((run.state().as_str(), run.perform()), ("stopped", vec![Action::Close(Code::Goodbye)]));
    run.machine.handle_policy(active(), run.start);
    run.machine.handle_path(path(run.start), run.start);
    run.machine.handle_incoming(proven(), run.start);
    assert_eq!((run.state().as_str(), run.machine.poll_timeout()), ("stopped", None));
    assert_eq!(run.perform(), []);
}

#[test]
fn a_stop_that_began_while_the_proofs_were_exchanged_drains_the_tunnel_that_comes_up() {
    let mut run = Run::active(Side::Source);
    run.machine.handle_dialed(Ok(()), run.start);
    run.machine.handle_stop(run.start, run.start);
    run.machine.handle_proven(Ok(proven()), run.start);
    assert!(run.machine.is_draining() && run.perform().contains(&Action::SendStopping));
    run.machine.handle_upstream(Some(true), run.start);
    assert!(!run.perform().contains(&OPEN));
}

#[test]
fn a_newer_tunnel_of_the_peer_replaces_the_older() {
    let mut run = Run::up(Side::Target);
    run.machine.handle_incoming(proven(), run.start);
    let expected = [
        Action::Close(Code::Ended),
        Action::End,
        ended(EndReason::Replaced),
        Action::Serve,
        Action::Report(Report::Up),
        Action::SendUpstream(true),
    ];
    assert_eq!(run.perform(), expected);
}

#[test]
fn a_target_tells_each_tunnel_what_its_mirth_does_once_that_is_known() {
    let mut run = Run::active(Side::Target);
    run.machine.handle_incoming(proven(), run.start);
    assert_eq!(run.perform(), [Action::Serve, Action::Report(Report::Up)]);
    for (answers, expected) in [
        (Some(false), vec![Action::SendUpstream(false)]),
        (Some(false), vec![]),
        (None, vec![]),
        (Some(true), vec![Action::SendUpstream(true)]),
    ] {
        run.machine.handle_upstream(answers, run.start);
        assert_eq!(run.perform(), expected);
    }
}

#[test]
fn a_port_at_its_limit_closes_until_one_ends() {
    let mut run = Run::up(Side::Source);
    let (closed, opened) =
        (Action::CloseListener { is_of_limit: true }, Action::OpenListener { is_of_limit: true });
    run.machine.handle_streams(2, run.start);
    let (limit, full) = (Action::Report(Report::LimitReached), Action::Report(Report::Full));
    assert_eq!(run.perform(), [limit, full, closed.clone()]);
    run.machine.handle_ended(false, 1, run.start);
    assert_eq!(run.perform(), [opened]);
    run.machine.handle_ended(true, 1, run.start);
    assert_eq!(run.perform(), [Action::Report(Report::PeerFull), Action::Report(Report::Full), closed]);
    assert_eq!(run.machine.status().full, Some(Full::AtPeer));
}

#[test]
fn a_port_that_cannot_accept_is_closed_for_a_second() {
    let mut run = Run::up(Side::Source);
    run.machine.handle_starved(run.start);
    assert_eq!(run.perform(), [SHUT]);
    assert_eq!(run.hear_for(SECOND * 2), [(limits::STARVED_PORT_CLOSED.as_millis(), OPEN)]);
}

#[test]
fn a_peer_that_is_heard_and_does_not_answer_is_asked_again() {
    let mut run = Run::up(Side::Source);
    let asked = PacketCounts { questions: 1, ..PacketCounts::default() };
    run.machine.handle_counts(asked, run.start);
    let mut dated = Vec::new();
    for _ in 0..15 {
        dated.extend(run.run_for(SECOND));
        run.machine.handle_path(path(run.now), run.now);
    }
    let pings = dated.iter().filter(|(_, action)| *action == Action::Ping).count();
    assert!(pings >= 8, "{dated:?}");
    assert!(dated.contains(&(10_000, ended(EndReason::Forgotten))), "{dated:?}");
}

#[test]
fn a_tunnel_that_comes_up_after_its_policy_went_carries_nothing() {
    let gone =
        [Policy::Unknown, Policy::Unlisted, Policy::Terminated, Policy::ConfigMismatch(ConfigMismatch::Peer)];
    for policy in gone {
        for side in [Side::Source, Side::Target] {
            let mut run = Run::active(side);
            let now = run.now;
            if side == Side::Source {
                run.machine.handle_dialed(Ok(()), now);
            }
            run.machine.handle_policy(policy.clone(), now);
            match side {
                Side::Source => run.machine.handle_proven(Ok(proven()), now),
                Side::Target => run.machine.handle_incoming(proven(), now),
            }
            run.machine.handle_upstream(Some(true), now);
            assert!(!run.machine.may_start() && run.machine.session().is_none(), "{policy:?} {side:?}");
            let actions = run.perform();
            assert!(actions.contains(&Action::Close(Code::Ended)), "{policy:?} {side:?}: {actions:?}");
            assert!(!actions.contains(&OPEN), "{policy:?} {side:?}: {actions:?}");
        }
    }
}

#[test]
fn the_first_thing_that_is_wrong_at_a_side_is_told_while_the_connection_is_active() {
    let fault = |run: &Run| run.machine.status().fault;
    let mut run = Run::new(Side::Source);
    let now = run.now;
    assert_eq!(fault(&run), None);
    run.machine.handle_policy(active(), now);
    assert_eq!(fault(&run), Some(SideFault::PortTaken));
    run.machine.handle_bound(now);
    assert_eq!(fault(&run), Some(SideFault::NoSecret));
    run.machine.handle_secret(true, now);
    assert_eq!(fault(&run), Some(SideFault::NoPath));
    run.machine.handle_path(path(now), now);
    assert_eq!(fault(&run), None, "it is dialled");
    let refused = Audited::Refused(PeerRefusal::ChangedKey);
    run.machine.handle_dialed(Err(DialFailure::refused("another key".into(), refused)), now);
    assert_eq!(fault(&run), Some(SideFault::PeerKey));
    run.machine.handle_policy(paused(), now);
    assert_eq!(fault(&run), None);
    run.machine.handle_policy(active(), now);
    assert_eq!(fault(&run), None, "what the last dial met counts no more");
}

#[test]
fn a_refused_peer_is_told_by_the_target_until_a_tunnel_is_up() {
    let mut run = Run::active(Side::Target);
    run.machine.handle_refused(PeerRefusal::Paused);
    assert_eq!(run.machine.status().fault, None, "people are told that by the rules");
    run.machine.handle_refused(PeerRefusal::WrongSecret);
    assert_eq!(run.machine.status().fault, Some(SideFault::WrongSecret));
    run.open();
    assert_eq!(run.machine.status().fault, None);
}

#[test]
fn a_tunnel_whose_peer_is_silent_is_told_so() {
    let mut run = Run::up(Side::Target);
    run.run_for(Duration::from_millis(3_200));
    assert_eq!(run.machine.status().fault, Some(SideFault::PeerSilent));
}
