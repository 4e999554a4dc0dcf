//! Many sequences over few databases; a failing one shrinks to the shortest that still fails, and is told as a story.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::draft::{Draft, drafts};
use crate::model::Mutation;
use crate::outcome::Status;
use crate::run::{Difference, Trace, finds, run};
use crate::shorten::shorten;
use crate::world::{Engine, World};

/// Always the same, so that what passed yesterday passes today.
const SEED: u64 = 13;
/// One in so many sequences comes from another seed each time.
const FRESH_ONE_IN: u64 = 10;
/// Two organizations that peer, an offer, and what differs.
const STORY_STEPS_MAX: usize = 12;
/// Sequences in which every wrong model must be found out.
const SEQUENCES_FOR_MUTATIONS: u64 = 400;

/// The rules that sequences run into again and again; `PeerFull` and `SourceFixed` are met now and then.
const RULES: [&str; 47] = [
    "no such organization",
    "no such server",
    "no such channel",
    "no such peering",
    "no such grant",
    "no such connection",
    "no such secret",
    "Role",
    "Limit",
    "Final",
    "AdminOnly",
    "NotNow",
    "NotYours",
    "AlreadyHeld",
    "HeldByOther",
    "NeedsOrganization",
    "NeedsHost",
    "Exists",
    "PeeringOpen",
    "PeeringLive",
    "PeeringDecided",
    "PeeringNotLive",
    "NotRecipient",
    "NotRequester",
    "NoAgreement",
    "NotPublished",
    "GrantDecided",
    "GrantEnded",
    "NotDecider",
    "NotOwner",
    "NotHolder",
    "SourceNeeded",
    "SameServer",
    "SecretViewed",
    "SecretViewedOften",
    "SecretGone",
    "SecretUnavailable",
    "OfferToSelf",
    "ReadWriteTier",
    "NotEnrolled",
    "Wrong",
    "Expired",
    "OtherKey",
    "RevokedKey",
    "KeyInUse",
    "UnknownServer",
    "KeyNotOnFile",
];

/// The rows and columns of the table of DOMAIN §3, each cell of which some sequence asks for.
const TABLE_EVENTS: [&str; 10] = [
    "AcceptOffer",
    "DeclineOffer",
    "WithdrawOffer",
    "Activate",
    "Pause",
    "Resume",
    "Disconnect",
    "Retry",
    "Terminate",
    "Mismatch",
];
const TABLE_STATUSES: [Status; 9] = [
    Status::Ready,
    Status::Active,
    Status::Paused { source: true, target: false },
    Status::Paused { source: false, target: true },
    Status::Offered,
    Status::Failed,
    Status::Declined,
    Status::Expired,
    Status::Terminated,
];

/// Returns how many sequences one database sees: its lists are read whole, and get longer. A server makes a schema, and
/// its connections learn what is asked, at the cost of many events.
fn sequences_a_world(engine: Engine) -> u64 {
    match engine {
        Engine::Sqlite => 10,
        Engine::Postgres => 40,
    }
}

/// So many see every rule and every cell of the table.
const SEQUENCES_THAT_SEE_ALL: u64 = 2_000;

fn sequences() -> u64 {
    // What a sequence asks of a server costs many times what it asks of a file.
    let is_long = std::env::var_os("ADIT_TEST_LONG").is_some();
    if is_long && Engine::asked() == Engine::Sqlite { 100_000 } else { SEQUENCES_THAT_SEE_ALL }
}

/// The one sequence that was asked for.
fn asked() -> Option<(u64, u64)> {
    let text = std::env::var("ADIT_MODEL_SEED").ok()?;
    let (seed, number) = text.split_once(':').expect("ADIT_MODEL_SEED is seed:number");
    Some((seed.parse().expect("a seed"), number.parse().expect("a number")))
}

/// Draws a sequence; the same from the same numbers.
fn draw(seed: u64, number: u64) -> Draft {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    bytes[8..16].copy_from_slice(&number.to_be_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { failure_persistence: None, ..Config::default() };
    drafts().new_tree(&mut TestRunner::new_with_rng(config, rng)).unwrap().current()
}

/// Runs a sequence; a failing one is made as short as it goes.
async fn check(
    world: &mut World,
    seed: u64,
    number: u64,
    mutation: Option<Mutation>,
) -> Result<Trace, Box<Difference>> {
    let draft = draw(seed, number);
    match run(world, &draft, mutation).await {
        Ok(trace) => Ok(trace),
        Err(difference) => Err(shorten(Engine::asked(), draft, difference, mutation).await),
    }
}

fn tell(engine: Engine, seed: u64, number: u64, difference: &Difference) -> String {
    format!(
        "\non {engine:?}, sequence {number} of seed {seed} (run it alone: ADIT_MODEL_SEED={seed}:{number}), made shorter:\n\n{}\n",
        difference.story()
    )
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Runs the sequences of one seed on as many threads as there are processors, and returns how many events they had.
fn run_all(engine: Engine, seed: u64, count: u64) -> Tally {
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let each = sequences_a_world(engine);
    let work = || {
        let mut tally = Tally::default();
        loop {
            let first = next.fetch_add(each, Ordering::SeqCst);
            if first >= count {
                return tally;
            }
            block_on(run_some(engine, seed, first..(first + each).min(count), &mut tally));
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut sum = Tally::default();
        for thread in threads {
            sum.add(&thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        sum
    })
}

async fn run_some(engine: Engine, seed: u64, numbers: std::ops::Range<u64>, tally: &mut Tally) {
    let mut world = World::open(engine).await;
    for number in numbers {
        match check(&mut world, seed, number, None).await {
            Ok(trace) => tally.count(&trace),
            Err(difference) => panic!("{}", tell(engine, seed, number, &difference)),
        }
    }
    world.platform.close().await.unwrap();
}

/// What the sequences came to see.
#[derive(Debug, Default)]
struct Tally {
    events: usize,
    /// Kinds of events with their answers.
    seen: BTreeMap<String, usize>,
    /// Cells of the table of DOMAIN §3 that were asked for.
    cells: BTreeMap<String, usize>,
}

impl Tally {
    fn count(&mut self, trace: &Trace) {
        self.events += trace.observed.len();
        for observed in &trace.observed {
            *self.seen.entry(observed.answered()).or_default() += 1;
            if let Some(cell) = observed.cell() {
                *self.cells.entry(cell).or_default() += 1;
            }
        }
    }

    /// Returns the rules that nobody ran into, and the cells of the table that nobody asked for.
    fn unseen(&self) -> Vec<String> {
        let ran_into = |rule: &&str| self.seen.keys().any(|word| word.ends_with(&format!(": {rule}")));
        let mut unseen: Vec<String> =
            RULES.into_iter().filter(|rule| !ran_into(rule)).map(str::to_owned).collect();
        for event in TABLE_EVENTS {
            let cells = TABLE_STATUSES.map(|status| format!("{event} at {status:?}"));
            unseen.extend(cells.into_iter().filter(|cell| !self.cells.contains_key(cell)));
        }
        unseen
    }

    fn add(&mut self, other: &Self) {
        self.events += other.events;
        for (sum, added) in [(&mut self.seen, &other.seen), (&mut self.cells, &other.cells)] {
            for (word, times) in added {
                *sum.entry(word.clone()).or_default() += times;
            }
        }
    }
}

#[test]
fn every_sequence_of_events_has_the_models_outcome() {
    if asked().is_some() {
        return;
    }
    let fresh = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into();
    let engine = Engine::asked();
    let (begun, count) = (Instant::now(), sequences());
    println!("{engine:?}: seeds {SEED} and {fresh}");
    let mut tally = run_all(engine, SEED, count - count / FRESH_ONE_IN);
    // What chance draws does not decide whether this passes, only whether it fails.
    let unseen = tally.unseen();
    tally.add(&run_all(engine, fresh, count / FRESH_ONE_IN));
    println!("{count} sequences, {} events in {:.1} s", tally.events, begun.elapsed().as_secs_f64());
    for (word, times) in tally.seen.iter().chain(&tally.cells) {
        println!("{times:>8}  {word}");
    }
    assert_eq!(unseen, Vec::<String>::new(), "no sequence came to see this");
}

#[test]
fn one_sequence() {
    let Some((seed, number)) = asked() else { return };
    let engine = Engine::asked();
    let checked = block_on(async { check(&mut World::open(engine).await, seed, number, None).await });
    match checked {
        Ok(trace) => println!("{}", Difference { trace, what: "no difference".into() }.story()),
        Err(difference) => panic!("{}", tell(engine, seed, number, &difference)),
    }
}

#[test]
fn each_wrong_model_is_found_out() {
    let engine = Engine::asked();
    if engine == Engine::Postgres {
        // It is the sequences that are tried here, and they are the same.
        return;
    }
    let mut unfound = Mutation::ALL.to_vec();
    block_on(async {
        let mut world = World::open(engine).await;
        for number in 0..SEQUENCES_FOR_MUTATIONS {
            if unfound.is_empty() {
                return;
            }
            if number % sequences_a_world(engine) == 0 {
                world = World::open(engine).await;
            }
            let trace = check(&mut world, SEED, number, None).await;
            let trace = trace.unwrap_or_else(|it| panic!("{}", tell(engine, SEED, number, &it)));
            for found in unfound.extract_if(.., |mutation| finds(&trace, *mutation)) {
                println!("{found:?} is found out by sequence {number}");
            }
        }
    });
    assert_eq!(unfound, [], "no sequence found these wrong models out");
}

/// Shrinking must leave what matters; else nobody reads it.
#[test]
fn a_difference_is_told_as_a_short_story() {
    let mutation = Some(Mutation::RulesBeforeAcceptance);
    let told = block_on(async {
        let mut world = World::open(Engine::Sqlite).await;
        for number in 0..SEQUENCES_FOR_MUTATIONS {
            if let Err(difference) = check(&mut world, SEED, number, mutation).await {
                return difference;
            }
        }
        panic!("no sequence makes an offer");
    });
    println!("{}", told.story());
    assert!(told.trace.observed.len() <= STORY_STEPS_MAX, "{}", told.story());
    assert!(told.what.contains("is told differs"), "{}", told.what);
}
