//! Two agents and a gateway under one clock that jumps from deadline to deadline, and the faults that
//! befall them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use adit_core::domain::limits::{TUNNEL_OPEN_TIMEOUT, TUNNEL_SILENCE};
use adit_core::domain::path::{Carrier, PathKind, PathPreference};
use adit_core::protocol::route::Path;
use adit_net::transport::endpoint::TunnelSettings;

use crate::agent::Agent;
use crate::gateway::{Gateway, LINK_SILENCE};
use crate::judge::{Judge, Way};
use crate::log::Promise;
use crate::scene::{Cause, Scene};
use crate::script::{Fault, Script};
use crate::strangers;
use crate::traffic::Program;
use crate::wire::{Node, Weather};

/// How often control links are looked at.
const TICK: Duration = Duration::from_secs(1);
/// An answer may have been on its way for so long when the last path was cut.
const IN_FLIGHT: Duration = Duration::from_millis(1_500);
/// A path whose first leg is dead is left within this, if another way is there: three seconds after its last
/// answer, which was up to a second old, for what answers a search that loses a round or two.
const LEFT_WITHIN: Duration = Duration::from_millis(6_500);
/// More steps than are ever taken at one and the same time.
const STEPS_MAX: u64 = 10_000;

#[derive(Debug)]
pub(crate) struct World {
    pub scene: Scene,
    pub agents: [Agent; 2],
    pub gateway: Gateway,
    links: [Link; 2],
    pub script: Script,
    judge: Judge,
    /// Since when no packet passes between the agents, or the target does not live.
    unreachable_since: Option<Instant>,
    was_port_open: bool,
    /// Who gave up a tunnel last.
    gave_up: Option<Node>,
    agenda: BTreeMap<(Instant, u64), Errand>,
    errands: u64,
    pub steps: u64,
    /// Since the clock last moved.
    stalled: u64,
    /// When the last fault was over.
    pub calm: Option<Instant>,
    /// The path whose first leg is dead that each agent uses, and since when.
    on_dead: [Option<(Path, Instant)>; 2],
}

#[derive(Debug, Clone, Copy)]
enum Errand {
    Fault(Fault),
    Unblock {
        from: Node,
        to: Node,
    },
    UnblockTcp {
        agent: Node,
    },
    /// The gateway tells an agent where its peer is.
    Announce {
        to: Node,
    },
    /// Control links are looked at.
    Tick,
    GatewayStarts,
    Choose {
        agent: Node,
        choice: PathPreference,
    },
    Permit,
    Calm,
}

/// The control link of one agent, as far as others depend on it.
#[derive(Debug, Clone, Copy)]
struct Link {
    /// Since when it is up, if it is.
    up: Option<Instant>,
    /// When it was last possible.
    reachable: Option<Instant>,
    /// It is tried again then.
    retry: Instant,
    /// Whether the peer was told where this agent is now.
    announced: bool,
}

impl World {
    pub(crate) fn new(seed: u64, script: Script, prints: bool) -> Self {
        let scene = Scene::new(seed, prints);
        let (now, settings) = (scene.start, TunnelSettings { congestion: script.congestion });
        let agents = Node::AGENTS.map(|node| {
            let random = scene.random.fork(if node == Node::Source { "source" } else { "target" });
            let program = (node == Node::Source)
                .then(|| Program::new(script.workload.clone(), random.fork("program"), now));
            let mut agent = Agent::new(node, settings, script.stall, program, random, now);
            agent.paths.keeps_carrier = script.keeps_carriers;
            agent
        });
        let gateway = Gateway::new(scene.random.fork("gateway"), now);
        let link = Link { up: None, reachable: None, retry: now, announced: true };
        let mut world = Self {
            judge: Judge::new(script.stall, now),
            unreachable_since: None,
            was_port_open: false,
            scene,
            agents,
            gateway,
            links: [link; 2],
            gave_up: None,
            script,
            agenda: BTreeMap::new(),
            errands: 0,
            steps: 0,
            stalled: 0,
            calm: None,
            on_dead: [None; 2],
        };
        for (at, fault) in world.script.faults.clone() {
            world.plan(now + at, Errand::Fault(fault));
        }
        world.plan(now + world.script.calm, Errand::Calm);
        world.plan(now, Errand::Tick);
        for to in Node::AGENTS {
            world.plan(now, Errand::Announce { to });
        }
        world
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        self.run_while(self.scene.now + span, |_| true);
    }

    /// Runs while `wanted` and not past `until`; whether `wanted` ceased.
    pub(crate) fn run_while(&mut self, until: Instant, wanted: impl Fn(&Self) -> bool) -> bool {
        while self.scene.log.violation.is_none() {
            if !wanted(self) {
                return true;
            }
            let next = self.next_event();
            if next > until {
                self.scene.now = self.scene.now.max(until);
                break;
            }
            self.step(next);
        }
        !wanted(self)
    }

    fn next_event(&mut self) -> Instant {
        let arrival = self.scene.wire.next_arrival();
        let errand = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let agents = self.agents.iter_mut().filter_map(Agent::poll_timeout).min();
        arrival.into_iter().chain(errand).chain(agents).min().unwrap_or(self.scene.now).max(self.scene.now)
    }

    fn step(&mut self, at: Instant) {
        self.steps += 1;
        self.stalled = if at > self.scene.now { 0 } else { self.stalled + 1 };
        self.scene.now = at;
        let what = format_args!("{STEPS_MAX} steps without an end");
        self.scene.demand(self.stalled < STEPS_MAX, Promise::Sound, what);
        while let Some(errand) = self.agenda.first_entry().filter(|errand| errand.key().0 <= self.scene.now) {
            let errand = errand.remove();
            self.perform(errand);
        }
        while let Some(datagram) = self.scene.wire.arrive(self.scene.now, &mut self.scene.tally) {
            if std::env::var_os("ADIT_SIM_PACKETS").is_some() {
                let first = datagram.bytes.first().copied().unwrap_or_default();
                let (sender, receiver, length) = (datagram.sender, datagram.receiver, datagram.bytes.len());
                self.scene.note(format_args!("    {sender:?} → {receiver:?} {first:#04x} {length}"));
            }
            match datagram.receiver {
                Node::Source => self.agents[0].receive(datagram, &mut self.scene),
                Node::Target => self.agents[1].receive(datagram, &mut self.scene),
                Node::Gateway => self.gateway.receive(&datagram, &mut self.scene),
                Node::Stranger => {}
            }
        }
        for agent in &mut self.agents {
            if agent.poll_timeout().is_some_and(|due| due <= self.scene.now) {
                agent.handle_timeout(&mut self.scene);
            }
        }
        self.gateway.end_carriers(&mut self.scene);
        self.watch();
    }

    /// Judges the tunnels that ended, by the light there was.
    fn watch(&mut self) {
        let awake = !self.agents.iter().any(Agent::is_frozen);
        let ways = Way::ALL.map(|way| awake && self.is_there(way));
        self.judge.observe(self.scene.now, ways);
        self.watch_port();
        for place in 0..self.agents.len() {
            self.watch_choice(place, awake);
        }
        for end in std::mem::take(&mut self.scene.ended) {
            self.scene.tally.tunnels_ended += 1;
            let excused = match end.cause {
                Cause::Outage => self.judge.excuses(self.scene.now),
                Cause::Unanswered => !self.script.is_even || self.judge.excuses(self.scene.now),
                Cause::Unproven => self.judge.excuses_silence_of(TUNNEL_OPEN_TIMEOUT, self.scene.now),
                Cause::Told => self.gave_up == Some(end.node.peer()),
                Cause::Fault => false,
            };
            self.gave_up = Some(end.node);
            self.scene.demand(excused, Promise::Lives, format_args!("{:?}: {}", end.node, end.why));
        }
    }

    /// The source's port is no longer open than its three seconds once nothing can be reached behind it.
    fn watch_port(&mut self) {
        let now = self.scene.now;
        let [source, target] = &self.agents;
        if !target.is_frozen() && self.passes() {
            self.unreachable_since = None;
        } else {
            self.unreachable_since.get_or_insert(now);
        }
        self.scene.tally.ports_open += u64::from(source.is_port_open && !self.was_port_open);
        self.was_port_open = source.is_port_open;
        if source.is_frozen() || !source.is_port_open {
            return;
        }
        let silent_for = source.silent_for(now);
        let is_heard = silent_for.is_some_and(|silent_for| silent_for <= TUNNEL_SILENCE);
        let what = format_args!("the port is open though its peer was silent for {silent_for:?}");
        self.scene.demand(is_heard, Promise::Truthful, what);
        let since = self.unreachable_since.map(|since| now - since);
        let is_closed_in_time = since.is_none_or(|since| since <= TUNNEL_SILENCE + IN_FLIGHT);
        let what = format_args!("the port is open though nothing was reached for {since:?}");
        self.scene.demand(is_closed_in_time, Promise::Truthful, what);
    }

    /// Whether the wire lets packets pass between the agents, both ways, by whatever path.
    fn passes(&self) -> bool {
        let wire = &self.scene.wire;
        let reaches_gateway = |node: &Node| wire.is_open(*node, Node::Gateway) || wire.is_tcp_open(*node);
        wire.is_open(Node::Source, Node::Target)
            || (self.gateway.is_up && Node::AGENTS.iter().all(reaches_gateway))
    }

    /// Judges that an agent leaves a path whose first leg is dead for a way that has long been there.
    fn watch_choice(&mut self, place: usize, awake: bool) {
        let (now, agent) = (self.scene.now, &self.agents[place]);
        let (node, wire) = (agent.node, &self.scene.wire);
        let Some(path) = agent.paths.active().filter(|_| awake && self.script.is_even) else {
            self.on_dead[place] = None;
            return;
        };
        let (is_open, is_over): (_, Box<dyn Fn(Way) -> bool>) = match path {
            Path::Direct(_) => (wire.is_open(node, node.peer()), Box::new(|way| way == Way::Direct)),
            Path::Relay { carrier, .. } => {
                let is_open = match carrier {
                    Carrier::Udp => wire.is_open(node, Node::Gateway),
                    Carrier::Tcp => wire.is_tcp_open(node),
                };
                let over = Way::over(node, carrier);
                (is_open, Box::new(move |way| over.contains(&way)))
            }
        };
        let before = self.on_dead[place].filter(|(before, _)| *before == path);
        let dead = (!is_open).then(|| before.map_or(now, |(_, since)| since));
        self.on_dead[place] = dead.map(|since| (path, since));
        let is_late = dead.is_some_and(|since| now - since > LEFT_WITHIN);
        let is_stuck = is_late && self.judge.has_had(LEFT_WITHIN, |way| !is_over(way), now);
        let what = format_args!(
            "{node:?}: is on {path} though it is dead since {:?}",
            dead.map(|since| now - since)
        );
        self.scene.demand(!is_stuck, Promise::Chosen, what);
    }

    /// Whether script and owners let packets pass this way, both ways.
    fn is_there(&self, way: Way) -> bool {
        let wire = &self.scene.wire;
        match way {
            // Who is known where it is, finds the other.
            Way::Direct => {
                let allows = |agent: &Agent| agent.paths.chosen().allows(PathKind::Direct);
                self.agents.iter().all(allows)
                    && wire.is_open(Node::Source, Node::Target)
                    && self.links.iter().any(|link| link.announced)
            }
            Way::Relayed(legs) => {
                let joined = Node::AGENTS.iter().all(|agent| self.gateway.is_linked(*agent));
                let is_leg_open = |(agent, carrier): (&Agent, Carrier)| match carrier {
                    Carrier::Udp => {
                        agent.paths.chosen().allows(PathKind::Relay)
                            && wire.is_open(agent.node, Node::Gateway)
                    }
                    Carrier::Tcp => {
                        agent.paths.chosen().allows(PathKind::Tcp) && wire.is_tcp_open(agent.node)
                    }
                };
                let open = self.agents.iter().zip(legs).all(is_leg_open);
                joined && open && self.gateway.is_up && self.gateway.permits()
            }
        }
    }

    /// Looks at the control links, which are not simulated packet by packet: they live and die by
    /// whether packets could pass.
    fn tick(&mut self) {
        let now = self.scene.now;
        self.plan(now + TICK, Errand::Tick);
        self.gateway.tick(now);
        for node in Node::AGENTS {
            let reachable = self.gateway.is_up
                && (self.scene.wire.is_open(node, Node::Gateway) || self.scene.wire.is_tcp_open(node))
                && !self.agent(node).is_frozen();
            let link = &mut self.links[index(node)];
            let was = link.reachable;
            if reachable {
                link.reachable = Some(now);
            }
            let silent = was.is_none_or(|was| now.saturating_duration_since(was) >= LINK_SILENCE);
            let forgotten = reachable && !self.gateway.is_linked(node);
            if link.up.is_some() && (silent || forgotten) {
                self.lose_link(node);
            } else if link.up.is_none() && reachable && link.retry <= now {
                self.raise_link(node);
            }
            let link = self.links[index(node)];
            if link.up.is_some() && self.links[index(node.peer())].up.is_some() && !link.announced {
                self.plan(now + self.script.announce_after, Errand::Announce { to: node.peer() });
            }
        }
    }

    fn raise_link(&mut self, node: Node) {
        let now = self.scene.now;
        self.links[index(node)].up = Some(now);
        let key = self.gateway.link(node, &mut self.scene);
        self.agent(node).paths.set_link(Some(key), now);
        self.flush(node);
        self.scene.note(format_args!("{node:?}: the control link is up"));
    }

    fn lose_link(&mut self, node: Node) {
        let now = self.scene.now;
        self.gateway.unlink(node);
        let retry = now + self.scene.random.millis(200, 5_000);
        let link = &mut self.links[index(node)];
        (link.up, link.retry) = (None, retry);
        self.scene.tally.links_lost += 1;
        self.agent(node).paths.set_link(None, now);
        self.flush(node);
        self.scene.note(format_args!("{node:?}: the control link is lost"));
    }

    /// Lets an agent act on what it was told.
    fn flush(&mut self, node: Node) {
        self.agents[index(node)].handle_timeout(&mut self.scene);
    }

    fn plan(&mut self, at: Instant, errand: Errand) {
        self.errands += 1;
        self.agenda.insert((at, self.errands), errand);
    }

    fn perform(&mut self, errand: Errand) {
        match errand {
            Errand::Fault(fault) => self.strike(fault),
            Errand::Unblock { from, to } => self.scene.wire.unblock(from, to),
            Errand::UnblockTcp { agent } => self.scene.wire.unblock_tcp(agent, self.scene.now),
            Errand::Announce { to } => {
                let address = self.scene.wire.address(to.peer(), to);
                let now = self.scene.now;
                self.links[index(to.peer())].announced = true;
                self.agent(to).paths.announce(&[address], now);
                self.flush(to);
            }
            Errand::Tick => self.tick(),
            Errand::GatewayStarts => {
                self.scene.wire.serve_carriers(true);
                self.gateway.start(self.scene.now);
            }
            Errand::Choose { agent, choice } => self.choose(agent, choice),
            Errand::Permit => self.gateway.permit(true, &mut self.scene),
            Errand::Calm => self.calm(),
        }
    }

    fn choose(&mut self, agent: Node, choice: PathPreference) {
        let now = self.scene.now;
        let frozen_until = self.agent(agent).frozen.as_ref().map(|frozen| frozen.until);
        if let Some(until) = frozen_until.filter(|until| *until > now) {
            // Its owner waits too.
            return self.plan(until, Errand::Choose { agent, choice });
        }
        self.flush(agent);
        self.agent(agent).paths.choose(choice, now);
        self.flush(agent);
    }

    pub(crate) fn strike(&mut self, fault: Fault) {
        self.scene.tally.faults += 1;
        self.scene.note(format_args!("– {fault}"));
        let now = self.scene.now;
        match fault {
            Fault::Weather { from, to, weather } => self.scene.wire.set_weather(from, to, weather),
            Fault::BlackHole { from, to, lasts } => {
                self.scene.wire.block(from, to);
                self.plan(now + lasts, Errand::Unblock { from, to });
            }
            Fault::BlockUdp { agent, lasts } => {
                for other in [agent.peer(), Node::Gateway] {
                    for (from, to) in [(agent, other), (other, agent)] {
                        self.scene.wire.block(from, to);
                        self.plan(now + lasts, Errand::Unblock { from, to });
                    }
                }
            }
            Fault::BlockTcp { agent, lasts } => {
                self.scene.wire.block_tcp(agent);
                self.plan(now + lasts, Errand::UnblockTcp { agent });
            }
            Fault::CutCarrier { agent } => {
                self.scene.wire.end_carrier(agent);
                self.judge.note_disturbance(now, &Way::over(agent, Carrier::Tcp));
                self.flush(agent);
            }
            Fault::Mtu { one, other, bytes } => self.scene.wire.set_mtu(one, other, bytes),
            Fault::Rebind { agent, seen_by } => {
                self.scene.tally.rebinds += 1;
                self.scene.wire.rebind(agent, seen_by);
                if seen_by == agent.peer() {
                    self.links[index(agent)].announced = false;
                }
                if seen_by == Node::Gateway {
                    self.judge.note_disturbance(now, &Way::over(agent, Carrier::Udp));
                } else {
                    self.judge.note_disturbance(now, &[Way::Direct]);
                }
            }
            Fault::Freeze { agent, lasts } => {
                self.scene.tally.leaps += 1;
                self.agent(agent).freeze(now + lasts);
            }
            Fault::Leap { by } => {
                self.scene.tally.leaps += 1;
                self.judge.add_darkness(now, now + by);
                self.on_dead = [None; 2];
                self.scene.now += by;
                // The clocks moved, not the world.
                let agenda = std::mem::take(&mut self.agenda);
                self.agenda =
                    agenda.into_iter().map(|((at, number), errand)| ((at + by, number), errand)).collect();
            }
            Fault::RestartAgent { agent } => {
                self.scene.tally.agent_restarts += 1;
                self.judge.note_restart(now);
                self.scene.wire.end_carrier(agent);
                self.agents[index(agent)].restart(&mut self.scene);
                self.agent(agent).paths.keeps_carrier = self.script.keeps_carriers;
                self.lose_link(agent);
                self.plan(now, Errand::Announce { to: agent });
            }
            Fault::StopGateway { lasts } => {
                self.scene.tally.gateway_restarts += 1;
                self.gateway.stop();
                self.scene.wire.serve_carriers(false);
                self.plan(now + lasts, Errand::GatewayStarts);
            }
            Fault::Choose { agent, choice, lasts } => {
                self.scene.tally.choices += 1;
                self.choose(agent, choice);
                self.plan(now + lasts, Errand::Choose { agent, choice: PathPreference::AUTO });
            }
            Fault::Forbid { lasts } => {
                self.gateway.permit(false, &mut self.scene);
                self.plan(now + lasts, Errand::Permit);
            }
            Fault::Rush { lasts } => self.scene.wire.rush_until(now + lasts),
            Fault::Strangers { packets, floods } => {
                self.scene.tally.strangers += u64::from(packets);
                strangers::send(packets, floods, &mut self.scene);
            }
        }
    }

    fn calm(&mut self) {
        self.scene.note(format_args!("– calm"));
        self.calm = Some(self.scene.now);
        for (one, other) in crate::script::PAIRS {
            self.scene.wire.set_weather(one, other, Weather::FINE);
            self.scene.wire.set_weather(other, one, Weather::FINE);
        }
        for to in Node::AGENTS {
            let now = self.scene.now;
            self.plan(now, Errand::Announce { to });
        }
    }

    /// One end has a shorter limit than the other.
    pub(crate) fn set_stall(&mut self, node: Node, stall: Duration) {
        let now = self.scene.now;
        self.agent(node).set_stall(stall, now);
        self.judge.stall = stall;
    }

    pub(crate) fn agent(&mut self, node: Node) -> &mut Agent {
        &mut self.agents[index(node)]
    }
}

pub(crate) fn index(agent: Node) -> usize {
    usize::from(agent != Node::Source)
}
