//! When a certificate is ordered, what becomes of it, and what an authority that refuses costs.

mod pebble;
mod refusing;
mod stand_in;

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicI64, Ordering};

use adit_core::domain::limits::{ACME_RETRY_MAX, ACME_RETRY_MIN};
use parking_lot::Mutex;
use rcgen::{CertificateParams, date_time_ymd};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::console::tests::fixture::{self, made_for_life};

const HOST: &str = "console.example.org";
const GATEWAY: &str = "gateway.example.org";
const DIRECTORY: &str = "https://acme.example/directory";
/// 2026-11-24, when the certificates below begin, which are good for 90 days.
const START: i64 = 1_795_478_400_000;
const DAY: Duration = Duration::from_hours(24);
const BROWSER: &[&[u8]] = &[b"h2", b"http/1.1"];

#[derive(Debug)]
struct Clock(AtomicI64);

impl Clock {
    fn pass(&self, span: Duration) {
        self.0.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl TimeSource for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Answers as it was told to, and counts.
#[derive(Default)]
struct Answers {
    orders: Mutex<VecDeque<Result<Zeroizing<String>, Refused>>>,
    ordered: Mutex<Vec<bool>>,
    window: Mutex<Option<Window>>,
    windows_asked: Mutex<u32>,
}

impl Authority for Arc<Answers> {
    async fn order(&self, replaced: Option<&WebCertificate>) -> Result<Zeroizing<String>, Refused> {
        self.ordered.lock().push(replaced.is_some());
        let away = || Err(Refused { why: "the authority is away".into(), retry_after: None });
        self.orders.lock().pop_front().unwrap_or_else(away)
    }

    async fn window(&self, _of: &WebCertificate) -> Result<(Window, Duration), Refused> {
        *self.windows_asked.lock() += 1;
        let unsupported = || Refused { why: "it is not supported".into(), retry_after: None };
        self.window.lock().map(|window| (window, DAY)).ok_or_else(unsupported)
    }
}

struct World {
    folder: TempDir,
    answers: Arc<Answers>,
    tls: Arc<FrontDoorTls>,
    clock: Arc<Clock>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Clock(AtomicI64::new(START)));
        let state = Folder::open(&folder.path().join("state")).unwrap();
        let (tls, _) = fixture::front_door(&state, GATEWAY, clock.now());
        Self { folder, answers: Arc::default(), tls, clock }
    }

    fn state(&self) -> Folder {
        Folder::open(&self.folder.path().join("state")).unwrap()
    }

    /// A gateway that has just started; what an earlier one showed is gone.
    fn start(&mut self) -> Keeper<Arc<Answers>> {
        (self.tls, _) = fixture::front_door(&self.state(), GATEWAY, self.clock.now());
        self.start_at(DIRECTORY, HOST)
    }

    fn start_at(&self, directory: &str, host: &str) -> Keeper<Arc<Answers>> {
        let (answers, tls) = (Arc::clone(&self.answers), Arc::clone(&self.tls));
        Keeper::open(directory, host.into(), answers, Kept::new(self.state()), tls, self.clock.clone())
    }

    fn answer(&self, answer: Result<Zeroizing<String>, Refused>) {
        self.answers.orders.lock().push_back(answer);
    }

    fn orders(&self) -> usize {
        self.answers.ordered.lock().len()
    }

    async fn issuer(&self) -> String {
        fixture::ask(&self.tls, HOST, BROWSER).await.unwrap().1.issuer
    }

    fn report(&self) -> AcmeReport {
        let config = AcmeConfig { directory: DIRECTORY.into(), contact: None, ca: None };
        AcmeReport::of(&config, HOST, &Kept::new(self.state()), self.clock.now()).unwrap()
    }
}

/// What an authority called `issuer` gives.
fn issued(issuer: &str) -> Zeroizing<String> {
    let mut params = CertificateParams::new(vec![HOST.into()]).unwrap();
    params.not_before = date_time_ymd(2026, 11, 24);
    params.not_after = date_time_ymd(2027, 2, 22);
    let made = made_for_life(issuer, &params);
    format!("{}{}{}", made.key, made.leaf, made.signer).into()
}

fn refusal(retry_after: Option<Duration>) -> Result<Zeroizing<String>, Refused> {
    Err(Refused { why: "too many certificates for example.org".into(), retry_after })
}

#[tokio::test]
async fn a_gateway_without_a_certificate_gets_one_that_only_browsers_see() {
    let mut world = World::new();
    world.answer(Ok(issued("Public CA")));
    let mut keeper = world.start();
    assert_eq!(world.issuer().await, "CN=adit CA");
    keeper.step().await;
    assert_eq!(world.issuer().await, "CN=Public CA");
    let (_, agent) = fixture::ask(&world.tls, GATEWAY, &[b"http/1.1"]).await.unwrap();
    assert!(agent.is_gateways_own());
    for file in kept::FILES {
        let Ok(metadata) = fs::metadata(world.state().path().join(file)) else { continue };
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o600, "{file}");
    }
    let report = world.report();
    assert!(report.certificate.is_some() && report.failure.is_none() && !report.is_overdue);
}

#[tokio::test]
async fn a_restart_shows_the_certificate_at_once_and_asks_for_nothing() {
    let mut world = World::new();
    world.answer(Ok(issued("Public CA")));
    let mut keeper = world.start();
    keeper.step().await;
    keeper.step().await;
    for _ in 0..5 {
        let mut keeper = world.start();
        assert_eq!(world.issuer().await, "CN=Public CA");
        keeper.step().await;
    }
    assert_eq!((world.orders(), *world.answers.windows_asked.lock()), (1, 1));
}

#[tokio::test]
async fn a_certificate_is_replaced_after_two_thirds_of_its_life() {
    let mut world = World::new();
    world.answer(Ok(issued("First CA")));
    world.answer(Ok(issued("Second CA")));
    let mut keeper = world.start();
    keeper.step().await;
    world.clock.pass(53 * DAY);
    keeper.step().await;
    assert_eq!((world.orders(), world.issuer().await.as_str()), (1, "CN=First CA"));
    world.clock.pass(7 * DAY);
    keeper.step().await;
    assert_eq!((world.orders(), world.issuer().await.as_str()), (2, "CN=Second CA"));
    assert_eq!(*world.answers.ordered.lock(), [false, false]);
}

#[tokio::test]
async fn a_certificate_is_replaced_when_its_authority_wants_that_and_named_as_replaced() {
    let mut world = World::new();
    world.answer(Ok(issued("First CA")));
    world.answer(refusal(None));
    world.answer(Ok(issued("Second CA")));
    let day = |days: u32| Timestamp::from_millis(START).saturating_add(days * DAY);
    *world.answers.window.lock() = Some(Window { start: day(5), end: day(6) });
    let mut keeper = world.start();
    keeper.step().await;
    keeper.step().await;
    world.clock.pass(4 * DAY);
    let mut keeper = world.start();
    keeper.step().await;
    assert_eq!(world.orders(), 1);
    world.clock.pass(2 * DAY);
    keeper.step().await;
    world.clock.pass(DAY);
    keeper.step().await;
    assert_eq!(world.issuer().await, "CN=Second CA");
    // What it is said to replace may be why it was refused.
    assert_eq!(*world.answers.ordered.lock(), [false, true, false]);
}

#[tokio::test]
async fn a_gateway_that_starts_again_and_again_asks_no_more_often() {
    let mut world = World::new();
    for _ in 0..10 {
        world.start().step().await;
    }
    assert_eq!(world.orders(), 1);
    world.clock.pass(ACME_RETRY_MIN * 2);
    for _ in 0..10 {
        world.start().step().await;
    }
    assert_eq!(world.orders(), 2);
    let failure = world.report().failure.unwrap();
    assert_eq!((failure.times, failure.why.as_str()), (2, "the authority is away"));
}

#[tokio::test]
async fn an_authority_that_has_had_enough_is_left_alone_for_as_long_as_it_says() {
    let mut world = World::new();
    world.answer(refusal(Some(3 * DAY)));
    world.answer(Ok(issued("Public CA")));
    let mut keeper = world.start();
    keeper.step().await;
    assert_eq!(world.report().failure.unwrap().retry_at, world.clock.now().saturating_add(3 * DAY));
    world.clock.pass(Duration::from_secs(3 * 86_400 - 1));
    keeper.step().await;
    let mut keeper = world.start();
    keeper.step().await;
    assert_eq!(world.orders(), 1);
    world.clock.pass(Duration::from_secs(1));
    keeper.step().await;
    assert_eq!(world.issuer().await, "CN=Public CA");
}

#[tokio::test]
async fn a_renewal_that_fails_leaves_the_certificate_before_to_its_end_and_beyond() {
    let mut world = World::new();
    world.answer(Ok(issued("Public CA")));
    let mut keeper = world.start();
    keeper.step().await;
    for _ in 0..40 {
        world.clock.pass(3 * DAY);
        keeper.step().await;
    }
    assert_eq!(world.issuer().await, "CN=Public CA");
    let report = world.report();
    assert!(report.is_overdue && report.failure.unwrap().times > 10);
    world.clock.pass(ACME_RETRY_MAX * 2);
    world.answer(Ok(issued("Second CA")));
    keeper.step().await;
    assert_eq!(world.issuer().await, "CN=Second CA");
}

#[tokio::test]
async fn what_an_authority_gives_that_is_of_no_use_is_not_shown() {
    let mut world = World::new();
    world.answer(Ok(issued("Public CA")));
    let mut keeper = world.start();
    keeper.step().await;
    world.clock.pass(61 * DAY);
    let other = fixture::made("Other CA", "other.example.org");
    world.answer(Ok(format!("{}{}", other.key, other.leaf).into()));
    keeper.step().await;
    assert_eq!(world.issuer().await, "CN=Public CA");
    assert!(world.report().failure.unwrap().why.contains("does not name console.example.org"));
    assert!(world.report().certificate.is_some());
}

#[tokio::test]
async fn another_authority_is_asked_at_once_while_the_certificate_before_is_shown() {
    let mut world = World::new();
    world.answer(Ok(issued("Staging CA")));
    world.start().step().await;
    let mut keeper = world.start_at("https://other.example/directory", HOST);
    assert_eq!(world.issuer().await, "CN=Staging CA");
    world.answer(Ok(issued("Public CA")));
    keeper.step().await;
    assert_eq!((world.orders(), world.issuer().await.as_str()), (2, "CN=Public CA"));
}

#[tokio::test]
async fn a_certificate_for_the_name_before_is_not_shown() {
    let mut world = World::new();
    world.answer(Ok(issued("Public CA")));
    world.start().step().await;
    (world.tls, _) = fixture::front_door(&world.state(), GATEWAY, world.clock.now());
    let mut keeper = world.start_at(DIRECTORY, "new.example.org");
    assert_eq!(world.issuer().await, "CN=adit CA");
    keeper.step().await;
    assert_eq!(world.orders(), 2);
}

#[tokio::test]
async fn nothing_is_ordered_that_could_not_be_remembered() {
    let mut world = World::new();
    world.answer(Ok(issued("Public CA")));
    let blocked = world.state().path().join(".acme-orders.json.new");
    fs::create_dir(&blocked).unwrap();
    let mut keeper = world.start();
    keeper.step().await;
    assert_eq!(world.orders(), 0);
    fs::remove_dir(blocked).unwrap();
    world.clock.pass(ACME_RETRY_MIN * 2);
    keeper.step().await;
    assert_eq!(world.issuer().await, "CN=Public CA");
}

#[tokio::test]
async fn damaged_files_cost_an_order_and_nothing_else() {
    let mut world = World::new();
    world.answer(Ok(issued("First CA")));
    world.answer(Ok(issued("Second CA")));
    world.start().step().await;
    for file in kept::FILES {
        world.state().write(file, b"{").unwrap();
    }
    let mut keeper = world.start();
    assert_eq!(world.issuer().await, "CN=adit CA");
    keeper.step().await;
    assert_eq!(world.issuer().await, "CN=Second CA");
}

#[tokio::test]
async fn a_connection_lives_on_when_the_certificate_that_it_began_with_is_replaced() {
    let mut world = World::new();
    world.answer(Ok(issued("First CA")));
    world.answer(Ok(issued("Second CA")));
    let mut keeper = world.start();
    keeper.step().await;
    let (mut served, mut browser) = fixture::joined(&world.tls, HOST, BROWSER).await.unwrap();
    world.clock.pass(61 * DAY);
    keeper.step().await;
    assert_eq!(world.issuer().await, "CN=Second CA");
    for _ in 0..2 {
        let mut read = [0; 4];
        served.write_all(b"ping").await.unwrap();
        browser.read_exact(&mut read).await.unwrap();
        browser.write_all(&read).await.unwrap();
        served.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ping");
    }
}
