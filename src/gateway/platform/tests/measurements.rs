//! What agents measure, as it is kept and shown: whose it is, how it is added up, when it goes.

use adit_core::domain::measurement::{Figure, Span, Sums};

use super::*;
use crate::store::MeasurementRow;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const ALL_MINUTES: MeasuredRange = MeasuredRange { span: Span::Minute, from: None, to: None };
const ALL_HOURS: MeasuredRange = MeasuredRange { span: Span::Hour, from: None, to: None };

/// So many messages, each acknowledged after so many milliseconds.
fn sums(messages: u64) -> Sums {
    let mut sums = Sums::default();
    for figure in [Figure::Messages, Figure::AckAa] {
        sums.add(figure, messages);
    }
    for figure in [Figure::MeasuredMillis, Figure::UpMillis, Figure::RelayMillis] {
        sums.add(figure, 60_000);
    }
    for number in 0..messages {
        sums.latencies_mut().note(Duration::from_millis(number));
    }
    sums
}

fn sum(all: impl IntoIterator<Item = Sums>) -> Sums {
    all.into_iter().fold(Sums::default(), |mut sum, one| {
        sum.merge(&one);
        sum
    })
}

impl Pair {
    /// Says that the minute which began so long ago had so many messages.
    fn measured(&self, side: Side, ago: Duration, messages: u64) {
        let at = Span::Minute.begin(self.world.platform.now().saturating_sub(ago));
        let server = self.server_at(side);
        self.world.platform.take_measured(server, (self.connection, side), at, sums(messages)).unwrap();
    }

    const fn server_at(&self, side: Side) -> ServerId {
        match side {
            Side::Source => self.source_server,
            Side::Target => self.target_server,
        }
    }

    async fn seen(&self, initiator: &Initiator, range: MeasuredRange) -> MeasurementsView {
        self.world.platform.measurements(initiator, self.connection, range).await.unwrap()
    }

    /// Lets time pass as the gateway does, which looks at what is due each second.
    async fn keep(&self, times: usize) {
        for _ in 0..times {
            self.world.platform.keep_measurements().await.unwrap();
            self.world.pass(Duration::from_secs(1));
        }
    }
}

fn messages(end: &EndMeasurements) -> Vec<(String, u64)> {
    end.steps.iter().map(|step| (step.at.to_string(), step.sums.get(Figure::Messages))).collect()
}

#[tokio::test]
async fn each_party_sees_both_ends_and_a_minute_that_was_not_measured_is_not_there() {
    let pair = Pair::new().await;
    for (side, ago, count) in [(Side::Source, 3, 5), (Side::Source, 1, 7), (Side::Target, 1, 2)] {
        pair.measured(side, MINUTE * ago, count);
    }
    pair.measured(Side::Target, Duration::ZERO, 99);
    pair.keep(1).await;
    let auditor = member(pair.target.id, UserRole::Auditor);
    for initiator in [&pair.source.initiator, &pair.target.initiator, &auditor] {
        let view = pair.seen(initiator, ALL_MINUTES).await;
        let at = |minute: &str, count| (format!("2026-11-24T08:{minute}:00Z"), count);
        assert_eq!(messages(&view.source), [at("57", 5), at("59", 7)]);
        assert_eq!(messages(&view.target), [at("59", 2)], "the minute that runs is not shown");
        assert_eq!(view.end(Side::Source).total, sum([sums(5), sums(7)]));
        assert_eq!(
            (view.from.to_string(), view.to.to_string()),
            ("2026-11-23T09:00:00Z".into(), "2026-11-24T09:00:00Z".into())
        );
    }
    let from = pair.world.platform.now().saturating_sub(MINUTE * 2);
    let later = pair.seen(&pair.source.initiator, MeasuredRange { from: Some(from), ..ALL_MINUTES }).await;
    assert_eq!((later.source.steps.len(), later.source.total.clone()), (1, sums(7)));
}

#[tokio::test]
async fn nobody_else_learns_whether_there_is_such_a_connection() {
    let pair = Pair::new().await;
    let (peer, outsider) =
        (pair.world.party("Peer", Tier::Standard).await, pair.world.party("Nobody", Tier::Standard).await);
    pair.world.peers(&pair.source, &peer).await;
    pair.world.peers(&pair.target, &peer).await;
    pair.measured(Side::Source, MINUTE, 5);
    pair.keep(1).await;
    let missing = ConnectionId::from_random([9; 16]);
    for initiator in [&peer.initiator, &outsider.initiator] {
        for id in [pair.connection, missing] {
            for range in [ALL_MINUTES, ALL_HOURS] {
                let asked = pair.world.platform.measurements(initiator, id, range).await;
                assert_eq!(refused(asked), "there is no such connection");
            }
        }
    }
    for nobody in [Initiator::Agent { server: pair.source_server }, host()] {
        refused(pair.world.platform.measurements(&nobody, pair.connection, ALL_MINUTES).await);
    }
}

#[tokio::test]
async fn an_hour_is_exactly_the_sum_of_its_minutes_also_of_one_that_comes_late() {
    let pair = Pair::new().await;
    // From 9:00 on.
    for count in 0..60 {
        pair.world.pass(MINUTE);
        pair.measured(Side::Source, MINUTE, count);
        if count != 17 {
            pair.measured(Side::Target, MINUTE, count * 2);
        }
        pair.keep(1).await;
    }
    assert_eq!(pair.seen(&pair.source.initiator, ALL_HOURS).await.source.steps, []);
    pair.world.pass(MINUTE * 6);
    pair.keep(30).await;
    let view = pair.seen(&pair.source.initiator, ALL_HOURS).await;
    let all = || (0..60).map(sums);
    assert_eq!(view.source.total, sum(all()));
    assert_eq!(messages(&view.source), [("2026-11-24T09:00:00Z".into(), 59 * 30)]);
    assert_eq!(view.source.total.latencies().p50(), sum(all()).latencies().p50());

    let late = Span::Minute.begin(pair.world.platform.now()).saturating_sub(MINUTE * (60 + 6 - 17 + 1));
    let at = "2026-11-24T09:17:00Z";
    assert_eq!(late.to_string(), at);
    let end = (pair.connection, Side::Target);
    pair.world.platform.take_measured(pair.target_server, end, late, sums(34)).unwrap();
    pair.world.pass(MINUTE);
    pair.keep(1).await;
    let view = pair.seen(&pair.source.initiator, ALL_HOURS).await;
    assert_eq!(view.target.total, sum((0..60).map(|count| sums(count * 2))));
}

#[tokio::test]
async fn a_gateway_that_was_stopped_within_an_hour_adds_it_up_when_it_is_back() {
    let pair = Pair::new().await;
    pair.world.pass(MINUTE * 10);
    pair.measured(Side::Source, MINUTE, 3);
    pair.world.platform.close().await.unwrap();
    pair.world.pass(HOUR * 5);
    let again = pair.world.again().await;
    for _ in 0..60 {
        again.keep_measurements().await.unwrap();
    }
    let view = again.measurements(&pair.target.initiator, pair.connection, ALL_HOURS).await.unwrap();
    assert_eq!(messages(&view.source), [("2026-11-24T09:00:00Z".into(), 3)]);
}

async fn kept(pair: &Pair, span: Span) -> Vec<MeasurementRow> {
    let mut tx = pair.world.platform.store.read().await.unwrap();
    let all = (Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX));
    tx.measurements(pair.connection, span, all).await.unwrap()
}

#[tokio::test]
async fn minutes_go_after_a_day_and_hours_after_a_quarter_also_of_a_connection_that_has_ended() {
    let pair = Pair::new().await;
    pair.world.pass(MINUTE);
    pair.measured(Side::Source, MINUTE, 3);
    pair.keep(1).await;
    pair.command(&pair.source, ConnectionCommand::Terminate).await.unwrap();
    pair.world.pass(HOUR * 2);
    pair.keep(40).await;
    assert_eq!((kept(&pair, Span::Minute).await.len(), kept(&pair, Span::Hour).await.len()), (1, 1));
    pair.world.pass(HOUR * 24);
    pair.keep(40).await;
    assert_eq!((kept(&pair, Span::Minute).await.len(), kept(&pair, Span::Hour).await.len()), (0, 1));
    let view = pair.seen(&pair.source.initiator, ALL_HOURS).await;
    assert_eq!(view.source.total, sums(3), "its parties see it to the end");
    pair.world.pass(HOUR * 24 * 89);
    pair.keep(2).await;
    assert_eq!(kept(&pair, Span::Hour).await, []);
}

#[tokio::test]
async fn measurements_wake_nobody() {
    let pair = Pair::new().await;
    let before = pair.world.platform.newest_change().await.unwrap();
    let log = pair.world.log_length(&pair.source).await;
    pair.measured(Side::Source, MINUTE, 3);
    pair.world.pass(HOUR * 2);
    pair.keep(40).await;
    assert_eq!(kept(&pair, Span::Hour).await.len(), 1);
    assert_eq!(pair.world.platform.newest_change().await.unwrap(), before);
    assert_eq!(pair.world.log_length(&pair.source).await, log);
}

/// An agent that was tampered with says a name in every place that it can think of.
#[tokio::test]
async fn nothing_is_kept_but_numbers_under_known_words() {
    let pair = Pair::new().await;
    let canary = "Mary-Miller-19740903";
    let said = format!(
        r#"{{"messages":2,"{canary}":7,"name":"{canary}","latencies":[[5,1],[250,3]],"note":{{"x":["{canary}"]}}}}"#
    );
    let said: Sums = serde_json::from_str(&said).unwrap();
    let at = Span::Minute.begin(pair.world.platform.now()).saturating_sub(MINUTE);
    let end = (pair.connection, Side::Source);
    pair.world.platform.take_measured(pair.source_server, end, at, said.clone()).unwrap();
    pair.world.platform.close().await.unwrap();
    let contents = pair.world.place.contents().await;
    assert!(!contents.windows(canary.len()).any(|window| window == canary.as_bytes()));
    let again = pair.world.again().await;
    let mut tx = again.store.read().await.unwrap();
    let words = tx.texts("SELECT DISTINCT span || ' ' || side AS it FROM measurement").await;
    assert_eq!(words, ["minute source"]);
    drop(tx);
    let view = again.measurements(&pair.source.initiator, pair.connection, ALL_MINUTES).await.unwrap();
    assert_eq!(view.source.total, said);
}

#[tokio::test]
async fn what_could_not_be_written_is_written_with_the_next() {
    let mut pair = Pair::new().await;
    pair.world.platform.act_wait = Duration::ZERO;
    pair.measured(Side::Source, MINUTE, 3);
    pair.world.platform.faults.set_away(true);
    assert!(pair.world.platform.keep_measurements().await.is_err());
    pair.world.platform.faults.set_away(false);
    pair.world.platform.close().await.unwrap();
    let view = pair.world.again().await;
    let view = view.measurements(&pair.source.initiator, pair.connection, ALL_MINUTES).await.unwrap();
    assert_eq!(view.source.total, sums(3));
}

#[tokio::test]
async fn what_was_measured_before_a_connection_ended_is_taken_for_an_hour_after() {
    let pair = Pair::new().await;
    pair.world.pass(MINUTE * 10);
    pair.command(&pair.source, ConnectionCommand::Terminate).await.unwrap();
    pair.world.pass(MINUTE * 3);
    let platform = &pair.world.platform;
    let late = async |server, ago: u32, count| {
        let at = Span::Minute.begin(platform.now()).saturating_sub(MINUTE * ago);
        platform.take_measured_late(server, pair.connection, at, sums(count)).await
    };
    for (ago, count) in [(5, 7), (4, 8)] {
        late(pair.source_server, ago, count).await.unwrap().unwrap();
    }
    let after = late(pair.source_server, 2, 9).await.unwrap();
    assert_eq!(after, Err(MeasurementRefused::Ended), "of what came after the end nothing is taken");
    let stranger = pair.world.party("Stranger", Tier::Standard).await;
    let strange = pair.world.server(&stranger, "strange").await;
    assert!(matches!(late(strange, 5, 9).await, Err(AgentError::NotFound)));
    pair.keep(1).await;
    let view = pair.seen(&pair.target.initiator, ALL_MINUTES).await;
    let at = |minute: &str, count| (format!("2026-11-24T09:{minute}:00Z"), count);
    assert_eq!(messages(&view.source), [at("08", 7), at("09", 8)]);
    pair.world.pass(MINUTE * 60);
    assert_eq!(late(pair.source_server, 66, 9).await.unwrap(), Err(MeasurementRefused::Ended));
    pair.world.pass(HOUR * 2);
    pair.keep(40).await;
    assert_eq!(pair.seen(&pair.source.initiator, ALL_HOURS).await.source.total, sum([sums(7), sums(8)]));
}

/// Its clock is slower, so that to it the hour is not over when the other one has added it up.
#[tokio::test]
async fn an_hour_that_one_gateway_has_added_up_takes_what_comes_by_another() {
    let pair = Pair::new().await;
    pair.world.pass(MINUTE * 10);
    pair.measured(Side::Source, MINUTE, 3);
    pair.keep(1).await;
    let slow = Clock(AtomicI64::new(pair.world.platform.now().as_millis()));
    let slow = pair.world.opened_with(Arc::new(slow)).await;
    let at = Span::Minute.begin(slow.now()).saturating_sub(MINUTE * 2);
    pair.world.pass(HOUR);
    pair.keep(40).await;
    assert_eq!(pair.seen(&pair.source.initiator, ALL_HOURS).await.source.total, sums(3));
    slow.take_measured(pair.source_server, (pair.connection, Side::Source), at, sums(4)).unwrap();
    slow.keep_measurements().await.unwrap();
    let view = pair.seen(&pair.source.initiator, ALL_HOURS).await;
    assert_eq!(view.source.total, sum([sums(3), sums(4)]));
}
