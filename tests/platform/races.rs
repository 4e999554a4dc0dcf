//! Sixty-four who ask at the same moment, half of them at another gateway over the same database: one of them wins, each
//! is answered, and each answer stands in each log once.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_core::domain::access::Access;
use adit_core::domain::id::ConnectionId;
use adit_core::domain::limits::ADMIN_SECRET_VIEWS_MAX;
use adit_core::domain::role::UserRole;
use adit_core::domain::tier::Tier;
use adit_core::protocol::control::ConfigMismatch;
use adit_gateway::platform::{AdminOffer, OfferLife, Platform, PlatformError};
use tokio::sync::Barrier;

use crate::outcome::{Line, List, Status};
use crate::step::{Asker, Decision, Event, Order, Step, Wish};
use crate::world::{Engine, World, command};

const INITIATORS: usize = 64;
/// Rounds of each race: chance decides who comes first.
const ROUNDS: usize = 4;

const LAKESIDE: Asker = Asker::Member { organization: 0, role: UserRole::Owner };
const ST_MARY: Asker = Asker::Member { organization: 1, role: UserRole::Owner };

/// Lakeside owns server 0 with a channel; St Mary owns server 1 and may send to it: connection 0, Ready.
struct Field {
    world: World,
    /// Another gateway over the same database.
    other: Arc<Platform>,
}

/// How often each kind of question was answered with yes, and how often with no.
type Counts = BTreeMap<&'static str, (usize, usize)>;

/// Lets all ask at the same moment and returns their answers.
async fn at_once<T: Send + 'static, F>(ask: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(INITIATORS));
    let asking = (0..INITIATORS).map(|number| {
        let (asked, barrier) = (ask(number), barrier.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            asked.await
        })
    });
    let mut answers = Vec::with_capacity(INITIATORS);
    for asked in asking.collect::<Vec<_>>() {
        answers.push(asked.await.unwrap());
    }
    answers
}

impl Field {
    async fn open(engine: Engine) -> Self {
        let mut world = World::open(engine).await;
        world.begin().await;
        let other = world.another().await;
        let mut field = Self { world, other };
        for name in 0..2 {
            field.does(Asker::Host, Wish::AddOrganization { name, tier: Tier::Standard }).await;
        }
        for who in [LAKESIDE, ST_MARY] {
            field.does(who, Wish::AddServer { name: 0 }).await;
        }
        field.does(LAKESIDE, Wish::RequestPeering { with: 1 }).await;
        let decision = Decision::Accept;
        field.does(ST_MARY, Wish::DecidePeering { peering: 0, decision }).await;
        field.does(LAKESIDE, Wish::AddChannel { server: 0, name: 0, published: true }).await;
        field.does(ST_MARY, Wish::RequestGrant { channel: 0, source: 1 }).await;
        field.does(LAKESIDE, Wish::ApproveGrant { grant: 0, source: None }).await;
        field
    }

    async fn does(&mut self, who: Asker, wish: Wish) {
        let event = Event::Member { who, wish };
        let answer = self.world.carry_out(&Step { after_seconds: 1, event }).await;
        assert!(answer.outcome.is_ok(), "{wish:?}: {answer:?}");
    }

    /// Lets all ask at once; returns what they were answered, after each answer was found in both logs.
    async fn race<F>(&self, ask: impl Fn(usize, Arc<Platform>) -> (&'static str, F)) -> Counts
    where
        F: Future<Output = Result<(), PlatformError>> + Send + 'static,
    {
        let before = [self.log(0).await, self.log(1).await];
        let answers = at_once(|number| {
            let (action, asked) = ask(number, self.platform(number));
            async move { (action, asked.await) }
        });
        let mut counts = Counts::new();
        for (action, answer) in answers.await {
            count(&mut counts, action, is_done(answer));
        }
        for (organization, before) in before.into_iter().enumerate() {
            assert_eq!(self.written_since(organization, before).await, counts, "the log of {organization}");
        }
        counts
    }

    /// Returns the gateway that one asks: those who ask for the same are at both.
    fn platform(&self, number: usize) -> Arc<Platform> {
        if (number / 2).is_multiple_of(2) { self.world.platform.clone() } else { self.other.clone() }
    }

    async fn log(&self, organization: usize) -> usize {
        self.world.log_of(organization).await.len()
    }

    async fn written_since(&self, organization: usize, before: usize) -> Counts {
        let mut counts = Counts::new();
        for entry in self.world.log_of(organization).await.split_off(before) {
            assert_eq!(entry.times, 1);
            count(&mut counts, known_action(&entry.action), entry.outcome == "done");
        }
        counts
    }

    async fn status(&self) -> Status {
        let lines = self.world.list(List::Connections, Some(0)).await;
        let last = lines.into_iter().next_back().unwrap();
        let Line::Connection(line) = last else { panic!("{last:?}") };
        line.status
    }

    /// Lets half ask for one thing and half for another.
    async fn orders(&self, orders: [(Asker, Order); 2]) -> Counts {
        let id = self.world.made.connections[0];
        let actors = orders.map(|(who, order)| (self.world.actor(who), order));
        self.race(|number, platform| {
            let (actor, order) = actors[number % 2].clone();
            let asked = async move { platform.command(&actor, id, command(order)).await.map(drop) };
            (action(order), asked)
        })
        .await
    }

    async fn offer(&mut self) -> ConnectionId {
        let (server, to) = (self.world.made.servers[0], self.world.made.organizations[1]);
        let offer = AdminOffer { server, to, access: Access::ReadWrite, life: OfferLife::default() };
        let id = self.world.platform.offer_admin(&self.world.actor(LAKESIDE), &offer).await.unwrap();
        self.world.made.note_connection(id);
        id
    }
}

fn count(counts: &mut Counts, action: &'static str, is_done: bool) {
    let (done, refused) = counts.entry(action).or_default();
    *(if is_done { done } else { refused }) += 1;
}

#[track_caller]
fn is_done(answer: Result<(), PlatformError>) -> bool {
    match answer {
        Ok(()) => true,
        Err(PlatformError::Refused(_) | PlatformError::NotFound { .. }) => false,
        Err(error) => panic!("one was neither served nor refused: {error:?}"),
    }
}

const fn action(order: Order) -> &'static str {
    match order {
        Order::Activate => "activate connection",
        Order::Pause => "pause connection",
        Order::Resume => "resume connection",
        Order::Disconnect => "disconnect connection",
        Order::Retry => "retry connection",
        Order::Terminate => "terminate connection",
    }
}

const ACTIONS: [&str; 15] = [
    "activate connection",
    "pause connection",
    "resume connection",
    "terminate connection",
    "approve grant",
    "deny grant",
    "revoke grant",
    "relinquish grant",
    "accept offer",
    "decline offer",
    "withdraw offer",
    "view secret",
    "offer grant",
    "request peering",
    "rotate secrets",
];

#[track_caller]
fn known_action(action: &str) -> &'static str {
    ACTIONS.into_iter().find(|known| *known == action).unwrap_or_else(|| panic!("nobody asked to {action}"))
}

/// Half of those who asked, of whom so many were served.
const fn half(done: usize) -> (usize, usize) {
    (done, INITIATORS / 2 - done)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn one_of_many_activates_before_one_terminates() {
    let engine = Engine::asked();
    for _ in 0..ROUNDS {
        let field = Field::open(engine).await;
        let counts = field.orders([(LAKESIDE, Order::Activate), (ST_MARY, Order::Terminate)]).await;
        assert_eq!(counts["terminate connection"], half(1));
        assert!([half(0), half(1)].contains(&counts["activate connection"]), "{counts:?}");
        assert_eq!(field.status().await, Status::Terminated);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn pauses_alternate_with_what_lifts_them() {
    let engine = Engine::asked();
    for _ in 0..ROUNDS {
        let mut field = Field::open(engine).await;
        field.does(ST_MARY, Wish::Order { connection: 0, order: Order::Activate }).await;
        let counts = field.orders([(ST_MARY, Order::Pause), (ST_MARY, Order::Resume)]).await;
        let (pauses, resumes) = (counts["pause connection"].0, counts["resume connection"].0);
        let left =
            if pauses > resumes { Status::Paused { source: true, target: false } } else { Status::Active };
        assert!(pauses == resumes || pauses == resumes + 1, "{counts:?}");
        assert_eq!(field.status().await, left);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn two_parties_who_pause_hold_once_each() {
    let engine = Engine::asked();
    let mut field = Field::open(engine).await;
    field.does(ST_MARY, Wish::Order { connection: 0, order: Order::Activate }).await;
    let counts = field.orders([(ST_MARY, Order::Pause), (LAKESIDE, Order::Pause)]).await;
    assert_eq!(counts["pause connection"], (2, INITIATORS - 2));
    assert_eq!(field.status().await, Status::Paused { source: true, target: true });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_grant_is_decided_once() {
    let engine = Engine::asked();
    for _ in 0..ROUNDS {
        let mut field = Field::open(engine).await;
        field.does(LAKESIDE, Wish::AddChannel { server: 0, name: 1, published: true }).await;
        field.does(ST_MARY, Wish::RequestGrant { channel: 1, source: 1 }).await;
        let (grant, actor) = (field.world.made.grants[1], field.world.actor(LAKESIDE));
        let counts = field
            .race(|number, platform| {
                let (approves, actor) = (number.is_multiple_of(2), actor.clone());
                let action = if approves { "approve grant" } else { "deny grant" };
                let asked = async move {
                    if approves {
                        platform.approve_grant(&actor, grant, None).await.map(drop)
                    } else {
                        platform.deny_grant(&actor, grant).await
                    }
                };
                (action, asked)
            })
            .await;
        assert_eq!(counts["approve grant"].0 + counts["deny grant"].0, 1, "{counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_grant_is_ended_by_one_of_both_parties() {
    let engine = Engine::asked();
    let field = Field::open(engine).await;
    let grant = field.world.made.grants[0];
    let actors = [LAKESIDE, ST_MARY].map(|who| field.world.actor(who));
    let counts = field
        .race(|number, platform| {
            let (revokes, actor) = (number.is_multiple_of(2), actors[number % 2].clone());
            let action = if revokes { "revoke grant" } else { "relinquish grant" };
            let asked = async move {
                if revokes {
                    platform.revoke_grant(&actor, grant).await
                } else {
                    platform.relinquish_grant(&actor, grant).await
                }
            };
            (action, asked)
        })
        .await;
    assert_eq!(counts["revoke grant"].0 + counts["relinquish grant"].0, 1, "{counts:?}");
    assert_eq!(field.status().await, Status::Terminated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn an_offer_is_accepted_or_ended_once() {
    let engine = Engine::asked();
    for round in 0..ROUNDS {
        let mut field = Field::open(engine).await;
        let (offer, source) = (field.offer().await, field.world.made.servers[1]);
        let (recipient, owner) = (field.world.actor(ST_MARY), field.world.actor(LAKESIDE));
        let declines = round % 2 == 1;
        let ending = if declines { "decline offer" } else { "withdraw offer" };
        let counts = field
            .race(|number, platform| {
                let (recipient, owner) = (recipient.clone(), owner.clone());
                let accepts = number.is_multiple_of(2);
                let asked = async move {
                    let to = match (accepts, declines) {
                        (true, _) => platform.accept_offer(&recipient, offer, source).await,
                        (false, true) => platform.decline_offer(&recipient, offer).await,
                        (false, false) => platform.withdraw_offer(&owner, offer).await,
                    };
                    to.map(drop)
                };
                (if accepts { "accept offer" } else { ending }, asked)
            })
            .await;
        assert_eq!(counts["accept offer"].0 + counts[ending].0, 1, "{counts:?}");
        let left = field.status().await;
        assert_eq!(left == Status::Active, counts["accept offer"].0 == 1, "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn each_owner_of_a_secret_is_shown_it_once() {
    let engine = Engine::asked();
    for _ in 0..ROUNDS {
        let field = Field::open(engine).await;
        let id = field.world.made.connections[0];
        let actors = [LAKESIDE, ST_MARY].map(|who| field.world.actor(who));
        let counts = field
            .race(|number, platform| {
                let actor = actors[number % 2].clone();
                ("view secret", async move { platform.view_secret(&actor, id).await.map(drop) })
            })
            .await;
        assert_eq!(counts["view secret"], (2, INITIATORS - 2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn the_secret_of_an_admin_connection_is_shown_five_times_an_hour_to_all_together() {
    let engine = Engine::asked();
    let mut field = Field::open(engine).await;
    let (id, actor) = (field.offer().await, field.world.actor(LAKESIDE));
    let counts = field
        .race(|_, platform| {
            let actor = actor.clone();
            ("view secret", async move { platform.view_secret(&actor, id).await.map(drop) })
        })
        .await;
    let shown = ADMIN_SECRET_VIEWS_MAX as usize;
    assert_eq!(counts["view secret"], (shown, INITIATORS - shown));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn each_rotation_has_an_epoch_of_its_own() {
    let engine = Engine::asked();
    let field = Field::open(engine).await;
    let id = field.world.made.connections[0];
    let actors = [LAKESIDE, ST_MARY].map(|who| field.world.actor(who));
    let counts = field
        .race(|number, platform| {
            let actor = actors[number % 2].clone();
            ("rotate secrets", async move { platform.rotate_secret(&actor, id).await.map(drop) })
        })
        .await;
    assert_eq!(counts["rotate secrets"], (INITIATORS, 0));
    let epoch = field.world.agent_view(0).await.rules[0].epoch;
    assert_eq!(usize::try_from(epoch), Ok(1 + INITIATORS), "none was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_channel_is_offered_to_a_peer_once() {
    let engine = Engine::asked();
    let field = Field::open(engine).await;
    let (channel, to) = (field.world.made.channels[0], field.world.made.organizations[1]);
    let actor = field.world.actor(LAKESIDE);
    let before = [field.log(0).await, field.log(1).await];
    let answers = at_once(|number| {
        let (platform, actor) = (field.platform(number), actor.clone());
        async move { platform.offer_grant(&actor, channel, to).await.map(drop) }
    });
    let done = answers.await.into_iter().map(is_done).filter(|is_done| *is_done).count();
    assert_eq!(done, 1);
    let own = field.written_since(0, before[0]).await;
    assert_eq!(own["offer grant"], (1, INITIATORS - 1));
    let peers = field.written_since(1, before[1]).await;
    assert_eq!(peers["offer grant"], (1, 0), "that it was refused again is the owner's alone to read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn of_crossing_requests_for_peering_one_asks_and_one_accepts() {
    let engine = Engine::asked();
    let mut field = Field::open(engine).await;
    field.does(Asker::Host, Wish::AddOrganization { name: 2, tier: Tier::Standard }).await;
    let newcomer = Asker::Member { organization: 2, role: UserRole::Owner };
    let sides = [(LAKESIDE, 2), (newcomer, 0)];
    let sides = sides.map(|(who, with)| (field.world.actor(who), field.world.made.organizations[with]));
    let answers = at_once(|number| {
        let ((actor, with), platform) = (sides[number % 2].clone(), field.platform(number));
        async move { platform.request_peering(&actor, with).await.map(drop) }
    });
    let done = answers.await.into_iter().map(is_done).filter(|is_done| *is_done).count();
    assert_eq!(done, 2, "who asks the one who has asked accepts");
    let entries = [field.world.log_of(0).await, field.world.log_of(2).await].concat();
    let requests = entries.iter().filter(|entry| entry.action == "request peering");
    let (done, refused): (Vec<_>, Vec<_>) = requests.partition(|entry| entry.outcome == "done");
    // Lakeside had asked St Mary before.
    assert_eq!((done.len(), refused.len()), (5, INITIATORS - 2), "both read of the two, each of its own");
    let accepted = entries.iter().filter(|entry| entry.action == "accept peering" && entry.outcome == "done");
    assert_eq!(accepted.count(), 2 + 1, "both read of the one; of St Mary's before, Lakeside does");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_token_is_bound_to_one_of_two_keys() {
    let engine = Engine::asked();
    for _ in 0..ROUNDS {
        let mut field = Field::open(engine).await;
        field.does(LAKESIDE, Wish::IssueToken { server: 0, hours: 1 }).await;
        let before = field.world.log_of(0).await.len();
        let answers = at_once(|number| {
            let key = u8::from(number.is_multiple_of(2));
            let presented = field.world.presented(0, 0, key);
            async move { (key, presented.await) }
        });
        let mut taken = [0, 0];
        for (key, is_taken) in answers.await {
            taken[usize::from(key)] += usize::from(is_taken);
        }
        taken.sort_unstable();
        assert_eq!(taken, [0, INITIATORS / 2]);
        let entries = field.world.log_of(0).await.split_off(before);
        let done = entries.iter().filter(|entry| entry.outcome == "done").count();
        let alerts: Vec<_> = entries.iter().filter(|entry| entry.outcome == "alert").collect();
        let [alert] = &alerts[..] else { panic!("one row counts them: {alerts:?}") };
        assert_eq!((done, alert.times as usize), (INITIATORS / 2, INITIATORS / 2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_secret_that_many_agents_say_to_hold_is_noted_once_a_side() {
    let engine = Engine::asked();
    let field = Field::open(engine).await;
    let before = field.world.log_of(0).await.len();
    at_once(|number| {
        let (id, server) = (field.world.made.connections[0], field.world.made.servers[number % 2]);
        let platform = field.platform(number);
        async move { platform.secret_stored(server, id, 1).await.unwrap() }
    })
    .await;
    let entries = field.world.log_of(0).await.split_off(before);
    assert_eq!(entries.len(), 2, "{entries:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_mismatch_told_by_many_fails_the_connection_once() {
    let engine = Engine::asked();
    let field = Field::open(engine).await;
    let before = field.world.log_of(0).await.len();
    at_once(|_| {
        let (id, server) = (field.world.made.connections[0], field.world.made.servers[0]);
        let platform = field.world.platform.clone();
        async move { platform.config_mismatch(server, id, ConfigMismatch::Type).await.unwrap() }
    })
    .await;
    let entries = field.world.log_of(0).await.split_off(before);
    let counts: Vec<_> = entries.iter().map(|entry| (entry.outcome, entry.times as usize)).collect();
    assert_eq!(counts, [("done", 1), ("refused", INITIATORS - 1)]);
    assert_eq!(field.status().await, Status::Failed);
}
