//! What holds whatever happens, in whichever order.

use proptest::prelude::*;

use super::table::INPUTS;
use super::*;

proptest! {
    #[test]
    fn nothing_that_happens_makes_it_spin_or_opens_a_port_without_a_tunnel(
        is_source in any::<bool>(),
        steps in prop::collection::vec((0..INPUTS.len(), 0_u64..3_000), 0..120),
    ) {
        let mut run = Run::new(if is_source { Side::Source } else { Side::Target });
        let (mut attempts, mut served) = (0, 0);
        for (number, millis) in steps {
            let mut actions = wanted(&run.run_for(Duration::from_millis(millis)));
            let (_, input) = INPUTS[number];
            input(&mut run.machine, run.now);
            actions.extend(run.perform());
            for action in actions {
                match action {
                    Action::Dial => attempts += 1,
                    Action::Serve => served += 1,
                    Action::End => served -= 1,
                    _ => {}
                }
                prop_assert!((0..=1).contains(&served), "{served} tunnels are served at a time");
            }
            let view = run.machine.status();
            prop_assert!(!view.is_port_open || run.machine.session().is_some(), "{}", view.state);
            prop_assert!(!view.is_port_open || is_source, "a target has no port");
            prop_assert_eq!(served == 1, run.machine.session().is_some());
            let silent_for = run.machine.session().map(|session| session.silent_for(run.now));
            prop_assert!(silent_for.is_none_or(|silent| silent <= STALL), "{silent_for:?}");
            prop_assert!(!view.is_port_open || silent_for <= Some(limits::TUNNEL_SILENCE));
            // Each deadline that is met moves it on.
            let due = run.machine.poll_timeout();
            if due.is_some_and(|due| due <= run.now) {
                run.machine.handle_timeout(run.now);
                run.perform();
                prop_assert!(run.machine.poll_timeout() != due, "it spins in {}", run.state());
            }
        }
        prop_assert!(is_source || attempts == 0, "a target dials nobody");
    }
}
