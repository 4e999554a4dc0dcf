//! Acts of several initiators that never stop, in this process and as `adit admin`, and the judgement of what
//! became of each: done once, or not at all where its answer said so.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adit_core::config::DatabaseUrl;
use adit_core::domain::id::{KeyFingerprint, OrganizationId, ServerId};
use adit_core::domain::role::UserRole;
use adit_core::domain::secret::RegistrationToken;
use adit_core::domain::tier::Tier;
use adit_gateway::platform::{
    EnrolRefusal, Initiator, Location, Platform, PlatformError, ServerText, TokenLife,
};
use adit_net::identity::time::HostClock;
use parking_lot::Mutex;
use sqlx::Row;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::super::lab::{adit, run};
use super::server::rows;

const OPERATORS: u64 = 3;
const MEMBERS: u64 = 3;
const COMMANDS: u64 = 1;
const BETWEEN_ACTS: Duration = Duration::from_millis(10);
/// What `ACT_WAIT` allows, a last attempt, the answer to its commit that does not come, and a loaded machine.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(18);

/// What an initiator was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    Done,
    /// Whether it was made is not known.
    Unknown,
    /// Nothing was changed.
    Nothing,
}

#[derive(Debug, Default)]
struct Book {
    /// By the name of each organization.
    organizations: BTreeMap<String, Told>,
    /// Of each server: what was told to who issued tokens, and to who presented them.
    issued: BTreeMap<ServerId, Vec<Told>>,
    redeemed: BTreeMap<ServerId, Vec<Told>>,
    waits: Vec<Duration>,
    failures: BTreeMap<String, u32>,
}

pub(super) struct Load {
    book: Arc<Mutex<Book>>,
    stopping: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    platform: Arc<Platform>,
}

impl Load {
    /// Starts it on the database of the gateway whose state folder and file these are.
    pub(super) async fn start(state: &Path, config: &Path, url: &str) -> Self {
        let location = Location::Postgres(url.parse::<DatabaseUrl>().unwrap());
        let platform = Platform::open_at(state, &location, Arc::new(HostClock)).await.unwrap();
        let mut load = Self {
            book: Arc::default(),
            stopping: Arc::default(),
            tasks: JoinSet::new(),
            platform: Arc::new(platform),
        };
        for number in 0..OPERATORS {
            load.tasks.spawn(operator(load.worker(), number));
        }
        for number in 0..MEMBERS {
            let (organization, server) = load.member(number).await;
            load.tasks.spawn(member(load.worker(), organization, server));
        }
        for number in 0..COMMANDS {
            load.tasks.spawn(command(load.worker(), number, config.to_owned()));
        }
        load
    }

    fn worker(&self) -> Worker {
        Worker {
            book: Arc::clone(&self.book),
            stopping: Arc::clone(&self.stopping),
            platform: Arc::clone(&self.platform),
        }
    }

    /// An organization with a server that nobody runs.
    async fn member(&self, number: u64) -> (OrganizationId, ServerId) {
        let name = format!("Member {number}").parse().unwrap();
        let organization = self.platform.add_organization(&host(), &name, Tier::Free).await.unwrap();
        let text = ServerText {
            name: "Mirth".parse().unwrap(),
            description: "".parse().unwrap(),
            version: "".parse().unwrap(),
        };
        let server = self.platform.add_server(&owner(organization), &text).await.unwrap();
        (organization, server)
    }

    /// Returns how many acts were told that they are done.
    pub(super) fn done(&self) -> usize {
        self.book.lock().organizations.values().filter(|told| **told == Told::Done).count()
    }

    /// Stops it and fails unless the database at `url` holds what was told.
    pub(super) async fn judge(mut self, url: &str) {
        self.stopping.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.platform.close().await.unwrap();
        let book = std::mem::take(&mut *self.book.lock());
        book.print();
        let longest = book.waits.iter().max().copied().unwrap_or_default();
        assert!(longest < ANSWERED_WITHIN, "an act had its answer after {longest:?}");
        book.judge_organizations(url).await;
        book.judge_tokens(url).await;
    }
}

fn host() -> Initiator {
    Initiator::Host { name: "operator".into() }
}

fn owner(organization: OrganizationId) -> Initiator {
    Initiator::Member { organization, role: UserRole::Owner, name: "owner".into(), proof: None }
}

struct Worker {
    book: Arc<Mutex<Book>>,
    stopping: Arc<AtomicBool>,
    platform: Arc<Platform>,
}

impl Worker {
    async fn goes_on(&self) -> bool {
        sleep(BETWEEN_ACTS).await;
        !self.stopping.load(Ordering::Relaxed)
    }

    /// Notes how long it took and what an answer says.
    #[expect(clippy::needless_pass_by_value, reason = "the answer is a view of one, made for this")]
    fn told<T>(&self, asked: Instant, answer: Result<T, &PlatformError>) -> Told {
        let mut book = self.book.lock();
        book.waits.push(asked.elapsed());
        let Err(error) = answer else { return Told::Done };
        *book.failures.entry(chain(error)).or_default() += 1;
        match error {
            PlatformError::Unknown(_) => Told::Unknown,
            PlatformError::Away(_) | PlatformError::Store(_) => Told::Nothing,
            other => panic!("no rule forbids this: {other}"),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Makes one organization after the other.
async fn operator(worker: Worker, number: u64) {
    for count in 0_u64.. {
        if !worker.goes_on().await {
            return;
        }
        let text = format!("Operator {number} {count}");
        let name = text.parse().unwrap();
        let asked = Instant::now();
        let answer = worker.platform.add_organization(&host(), &name, Tier::Free).await;
        let told = worker.told(asked, answer.as_ref());
        worker.book.lock().organizations.insert(text, told);
    }
}

/// Issues one token after the other; two keys present each at the same time.
async fn member(worker: Worker, organization: OrganizationId, server: ServerId) {
    while worker.goes_on().await {
        let asked = Instant::now();
        let answer = worker.platform.issue_token(&owner(organization), server, TokenLife::Hour).await;
        let told = worker.told(asked, answer.as_ref());
        worker.book.lock().issued.entry(server).or_default().push(told);
        let Ok(issued) = answer else { continue };
        let (one, other) =
            tokio::join!(present(&worker, server, &issued.token), present(&worker, server, &issued.token));
        let told = match (one, other) {
            (Some(Told::Done), Some(Told::Done)) => panic!("two keys have used one token"),
            (None, Some(Told::Nothing) | None) | (Some(Told::Nothing), None) => {
                panic!("a token is used, and nobody was told so: {one:?} {other:?}")
            }
            (one, other) => one.into_iter().chain(other).min().unwrap_or(Told::Nothing),
        };
        worker.book.lock().redeemed.entry(server).or_default().push(told);
    }
}

/// Returns what became of it; none where a rule was in the way, as the other was first.
async fn present(worker: &Worker, server: ServerId, token: &RegistrationToken) -> Option<Told> {
    static KEYS: AtomicU64 = AtomicU64::new(0);
    let mut key = [0xa5; 32];
    key[..8].copy_from_slice(&KEYS.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let (key, from) = (KeyFingerprint::from_bytes(key), IpAddr::V4(Ipv4Addr::LOCALHOST));
    let asked = Instant::now();
    match worker.platform.redeem_token(server, token, key, from).await {
        Ok(_) => Some(worker.told(asked, Ok(()))),
        Err(EnrolRefusal::Platform(error)) => Some(worker.told(asked, Err::<(), _>(&error))),
        Err(EnrolRefusal::OtherKey) => None,
        Err(other) => panic!("a good token is refused: {other}"),
    }
}

/// Makes organizations as somebody on the gateway's host does.
async fn command(worker: Worker, number: u64, config: std::path::PathBuf) {
    for count in 0_u64.. {
        if !worker.goes_on().await {
            return;
        }
        let name = format!("Command {number} {count}");
        let mut command = adit();
        command.arg("admin").arg("--config").arg(&config).args(["org", "add", &name]);
        let asked = Instant::now();
        let output = run(command).await;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let told = match output.status.success() {
            true => Told::Done,
            false if said.contains("is not known") => Told::Unknown,
            false => Told::Nothing,
        };
        let mut book = worker.book.lock();
        book.waits.push(asked.elapsed());
        if told != Told::Done {
            *book.failures.entry(said.replace(&config.display().to_string(), "FILE")).or_default() += 1;
        }
        book.organizations.insert(name, told);
    }
}

impl Book {
    fn print(&self) {
        let told = self.organizations.values().chain(self.issued.values().flatten());
        let told: Vec<_> = told.chain(self.redeemed.values().flatten()).collect();
        let count = |wanted: Told| told.iter().filter(|told| ***told == wanted).count();
        let mut waits = self.waits.clone();
        waits.sort();
        let at = |share: usize| waits[(waits.len() - 1) * share / 1000];
        println!(
            "{} acts: {} done, {} not done, {} not known; answered after {:?} (p50), {:?} (p99), {:?} (p99.9), {:?} at most",
            told.len(),
            count(Told::Done),
            count(Told::Nothing),
            count(Told::Unknown),
            at(500),
            at(990),
            at(999),
            at(1000),
        );
        for (failure, times) in &self.failures {
            println!("  {times} times: {failure}");
        }
    }

    /// Each that was told to be there is, once, with one act of the audit; none that was told not to be.
    async fn judge_organizations(&self, url: &str) {
        let held = counted(url, "SELECT name, count(*) FROM organization GROUP BY name").await;
        // Its detail is `name NAME, tier TIER`, in two logs for each act.
        let acts = "SELECT split_part(substr(detail, 6), ', tier', 1) AS name, count(DISTINCT act) FROM audit
            WHERE action = 'add organization' AND outcome = 'done' GROUP BY name";
        let acts = counted(url, acts).await;
        assert!(!acts.is_empty(), "the audit names organizations");
        for (name, told) in &self.organizations {
            let found = [&held, &acts].map(|counts| counts.get(name).copied().unwrap_or(0));
            let fits = match told {
                Told::Done => found == [1, 1],
                Told::Nothing => found == [0, 0],
                Told::Unknown => found == [1, 1] || found == [0, 0],
            };
            assert!(fits, "{name}: told {told:?}, found {found:?} (organizations, acts)");
        }
        let refused =
            "SELECT object, count(*) FROM audit WHERE action = 'add organization' AND outcome <> 'done'
            GROUP BY object";
        let refused = counted(url, refused).await;
        assert!(refused.is_empty(), "no rule forbids any: {refused:?}");
    }

    /// As many acts as were told to be done, and at most as many more as are not known.
    async fn judge_tokens(&self, url: &str) {
        for (action, told) in [("issue token", &self.issued), ("enrol", &self.redeemed)] {
            let acts = format!(
                "SELECT substr(object, 8), count(DISTINCT act) FROM audit WHERE action = '{action}'
                 AND outcome = 'done' GROUP BY object"
            );
            let acts = counted(url, &acts).await;
            for (server, told) in told {
                let count = |wanted: Told| told.iter().filter(|told| **told == wanted).count();
                let (done, unknown) = (count(Told::Done), count(Told::Unknown));
                let found = acts.get(&server.to_string()).copied().unwrap_or(0);
                let found = usize::try_from(found).unwrap();
                assert!(
                    (done..=done + unknown).contains(&found),
                    "{action} of {server}: {done} done, {unknown} not known, {found} acts in the audit"
                );
            }
        }
    }
}

async fn counted(url: &str, query: &str) -> BTreeMap<String, i64> {
    rows(url, query).await.iter().map(|row| (row.get(0), row.get(1))).collect()
}
