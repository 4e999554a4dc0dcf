//! When the source's port is open: while the far Mirth answers, its agent is heard, and there is room.
//!
//! Reopening waits for health that lasts (DESIGN §5). At a limit the port closes and opens again with the
//! first connection that ends: what is full is not ill.

use std::time::{Duration, Instant};

use crate::domain::limits::{PEER_FULL_PORT_CLOSED, PORT_REOPEN_AFTER, STARVED_PORT_CLOSED};

/// Whose file says how many connections are carried at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Here,
    AtPeer,
}

#[derive(Debug)]
pub(super) struct Port {
    connections_max: usize,
    health: PortHealth,
    /// The peer carries as many as its own file allows.
    peer_full: Cooldown,
    /// This host ran out of something.
    starved: Cooldown,
    was_full: bool,
    /// As far as the tunnel and the far Mirth are concerned.
    pub may_open: bool,
    /// As its driver last said.
    pub is_open: bool,
    /// What the driver was asked for and has not answered yet.
    asked: Option<bool>,
    /// Why it is closed though it might be open.
    pub full: Option<Full>,
}

/// What is to be done with the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Steered {
    pub opens: Option<bool>,
    pub is_of_limit: bool,
    /// It is full, and was not.
    pub is_full_news: bool,
    /// As many are open as may be, and were not.
    pub is_limit_reached: bool,
}

impl Port {
    pub(super) fn new(connections_max: usize) -> Self {
        Self {
            connections_max,
            health: PortHealth::default(),
            peer_full: Cooldown::default(),
            starved: Cooldown::default(),
            was_full: false,
            may_open: false,
            is_open: false,
            asked: None,
            full: None,
        }
    }

    /// Takes whether the tunnel is up, its peer heard and the far Mirth there.
    pub(super) fn judge(&mut self, is_healthy: bool, now: Instant) {
        self.may_open = self.health.judge(is_healthy, now);
    }

    /// Forgets what was full: the tunnel is no more, and its connections are none.
    pub(super) fn shut(&mut self) {
        (self.peer_full, self.starved) = (Cooldown::default(), Cooldown::default());
    }

    /// Decides whether it is open, with so many connections.
    pub(super) fn steer(&mut self, streams: usize, now: Instant) -> Steered {
        let is_full = streams >= self.connections_max;
        let (has_room_there, is_fed) = (self.peer_full.is_over(now), self.starved.is_over(now));
        let full = if is_full { Some(Full::Here) } else { (!has_room_there).then_some(Full::AtPeer) };
        let said = full.filter(|_| self.may_open);
        let before = std::mem::replace(&mut self.full, said);
        let is_limit_reached = is_full && !std::mem::replace(&mut self.was_full, is_full);
        let open = self.may_open && full.is_none() && is_fed;
        let opens = (open != self.asked.unwrap_or(self.is_open)).then_some(open);
        self.asked = opens.or(self.asked);
        Steered {
            opens,
            is_of_limit: said.or(before).is_some(),
            is_full_news: said.is_some() && before.is_none(),
            is_limit_reached,
        }
    }

    /// Notes that a connection ended; `is_full_there`: the peer has no place for more. Returns whether the port
    /// closes for that.
    pub(super) fn handle_ended(&mut self, is_full_there: bool, now: Instant) -> bool {
        if is_full_there {
            self.peer_full.begin(now, PEER_FULL_PORT_CLOSED);
        } else {
            // With one that ended here, one has ended there.
            self.peer_full.end();
        }
        is_full_there
    }

    /// Takes how it is after the driver was asked. What it could not do is asked for again.
    pub(super) const fn set_open(&mut self, is_open: bool) {
        (self.is_open, self.asked) = (is_open, None);
    }

    pub(super) fn handle_starved(&mut self, now: Instant) {
        self.starved.begin(now, STARVED_PORT_CLOSED);
    }

    /// Returns when it may open by itself.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.is_open {
            return None;
        }
        let reopens = self.health.reopens_at().filter(|_| !self.may_open);
        let cooldowns = [&self.peer_full, &self.starved];
        cooldowns.into_iter().filter_map(|cooldown| cooldown.until).chain(reopens).min()
    }
}

/// Whether what the port leads to is well, and has been for long enough.
#[derive(Debug, Default)]
struct PortHealth {
    closed_before: bool,
    healthy_since: Option<Instant>,
}

impl PortHealth {
    fn judge(&mut self, is_healthy: bool, now: Instant) -> bool {
        if !is_healthy {
            self.closed_before = self.closed_before || self.healthy_since.is_some();
            self.healthy_since = None;
            return false;
        }
        self.healthy_since.get_or_insert(now);
        self.reopens_at().is_none_or(|at| now >= at)
    }

    /// Returns when it has been healthy for long enough; `None` for one that never was otherwise.
    fn reopens_at(&self) -> Option<Instant> {
        self.healthy_since.filter(|_| self.closed_before).map(|since| since + PORT_REOPEN_AFTER)
    }
}

/// Until when a port stays closed because something ran out that nobody tells the end of.
#[derive(Debug, Default)]
struct Cooldown {
    until: Option<Instant>,
}

impl Cooldown {
    fn begin(&mut self, now: Instant, span: Duration) {
        self.until = now.checked_add(span);
    }

    /// Notes that what ran out may be there again.
    const fn end(&mut self) {
        self.until = None;
    }

    fn is_over(&mut self, now: Instant) -> bool {
        self.until = self.until.filter(|until| now < *until);
        self.until.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_port_that_reopens_waits_for_two_seconds_of_health() {
        let start = Instant::now();
        let mut health = PortHealth::default();
        assert!(!health.judge(false, start));
        assert!(health.judge(true, start));
        assert!(!health.judge(false, start + Duration::from_secs(1)));
        assert!(!health.judge(true, start + Duration::from_secs(2)));
        assert!(!health.judge(true, start + Duration::from_millis(3_999)));
        assert!(health.judge(true, start + Duration::from_secs(4)));
    }

    #[test]
    fn a_flap_starts_the_wait_anew() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut health = PortHealth::default();
        health.judge(true, start);
        health.judge(false, at(100));
        assert!(!health.judge(true, at(200)));
        health.judge(false, at(2_100));
        assert!(!health.judge(true, at(2_300)));
        assert!(health.judge(true, at(4_300)));
    }

    #[test]
    fn a_cooldown_ends_with_its_time_or_sooner() {
        let start = Instant::now();
        let mut cooldown = Cooldown::default();
        assert!(cooldown.is_over(start));
        cooldown.begin(start, Duration::from_secs(1));
        assert!(!cooldown.is_over(start));
        assert!(cooldown.is_over(start + Duration::from_secs(1)));
        cooldown.begin(start, Duration::from_secs(1));
        cooldown.end();
        assert!(cooldown.is_over(start));
    }

    #[test]
    fn a_full_port_opens_again_with_the_first_that_ends() {
        let start = Instant::now();
        let mut port = Port::new(2);
        port.judge(true, start);
        assert_eq!(port.steer(0, start).opens, Some(true));
        port.set_open(true);
        let steered = port.steer(2, start);
        assert!(steered.is_of_limit && steered.is_full_news && steered.is_limit_reached);
        assert_eq!((steered.opens, port.full), (Some(false), Some(Full::Here)));
        port.set_open(false);
        let again = port.steer(2, start);
        assert!(!again.is_full_news && !again.is_limit_reached);
        let steered = port.steer(1, start);
        assert_eq!((steered.opens, steered.is_of_limit, port.full), (Some(true), true, None));
    }

    #[test]
    fn a_peer_that_is_full_closes_the_port_until_one_ends_or_five_seconds_have_passed() {
        let start = Instant::now();
        let mut port = Port::new(8);
        port.judge(true, start);
        assert!(port.handle_ended(true, start));
        assert_eq!(port.steer(3, start).opens, None);
        assert_eq!(
            (port.full, port.poll_timeout()),
            (Some(Full::AtPeer), Some(start + PEER_FULL_PORT_CLOSED))
        );
        assert_eq!(port.steer(3, start + PEER_FULL_PORT_CLOSED).opens, Some(true));
        port.set_open(false);
        assert!(port.handle_ended(true, start));
        assert!(!port.handle_ended(false, start));
        assert_eq!(port.steer(2, start).opens, Some(true));
    }
}
