use super::*;
use crate::connection::status::TunnelStatus;
use crate::fixture::Fixture;
use adit_core::domain::path::PathKind;

/// A full minute.
const START: i64 = 1_795_510_800_000;
const SECOND: Duration = Duration::from_secs(1);
const ONE: ConnectionId = ConnectionId::from_bytes([1; 16]);

const fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

fn tunnel(path: PathKind, since: i64, packets: (u64, u64)) -> TunnelStatus {
    TunnelStatus {
        since: at(since),
        silent_since: None,
        path: Some(path),
        why: None,
        path_changes: 0,
        rtt: Duration::from_millis(2),
        packets_sent: packets.0,
        packets_lost: packets.1,
    }
}

fn messages(count: u64, tunnel: Option<TunnelStatus>) -> Reading {
    let mut counted = Sums::default();
    counted.add(Figure::Messages, count);
    Reading { counted, tunnel }
}

/// Looks at a connection at each of these times with so many messages counted; returns the minutes that ended.
fn ended(meter: &mut Meter, looks: &[(i64, u64)], passed: Duration) -> Vec<(i64, u64, u64)> {
    let mut ended = Vec::new();
    for (millis, count) in looks {
        let reading = messages(*count, None);
        if let Some((minute, sums)) = meter.handle(&reading, Latencies::default, at(*millis), passed) {
            let get = |figure| sums.get(figure);
            ended.push((minute.as_millis() - START, get(Figure::Messages), get(Figure::MeasuredMillis)));
        }
    }
    ended
}

#[test]
fn a_minute_has_what_was_counted_in_it_and_the_time_split_at_its_end() {
    let mut meter = Meter::default();
    let looks = [(58_500, 3), (59_500, 4), (60_500, 6), (119_500, 6), (120_500, 7)];
    assert_eq!(ended(&mut meter, &looks, SECOND), [(0, 6, 2_500), (60_000, 1, 2_000)]);
}

#[test]
fn minutes_in_which_the_host_slept_are_not_there() {
    let mut meter = Meter::default();
    assert_eq!(ended(&mut meter, &[(30_000, 1), (600_000, 5)], SECOND), [(0, 5, 2_000)]);
    assert_eq!(ended(&mut meter, &[(660_000, 5)], SECOND), [(600_000, 0, 1_000)]);
}

#[test]
fn a_clock_that_is_set_back_neither_loses_a_count_nor_ends_a_minute_twice() {
    let mut meter = Meter::default();
    let looks = [(60_000, 1), (30_000, 2), (59_000, 3), (61_000, 4), (121_000, 5)];
    assert_eq!(ended(&mut meter, &looks, SECOND), [(60_000, 5, 4_000)]);
    let looks = [(-3_600_000, 6), (-3_540_000, 7)];
    assert_eq!(ended(&mut meter, &looks, SECOND), [(-3_600_000, 2, 3_000)], "by an hour");
}

#[test]
fn a_minute_knows_its_path_its_time_up_its_round_trips_and_its_losses() {
    let mut meter = Meter::default();
    let silent = TunnelStatus { silent_since: Some(at(0)), ..tunnel(PathKind::Direct, 0, (110, 7)) };
    let looks = [
        Some(tunnel(PathKind::Direct, 0, (100, 2))),
        Some(silent),
        None,
        Some(tunnel(PathKind::Relay, 3, (5, 1))),
        Some(tunnel(PathKind::Relay, 3, (9, 1))),
    ];
    for (second, tunnel) in (1..).zip(looks) {
        assert_eq!(meter.handle(&messages(0, tunnel), Latencies::default, at(second * 1_000), SECOND), None);
    }
    let mut latencies = Latencies::default();
    latencies.note(Duration::from_millis(7));
    let (_, sums) =
        meter.handle(&messages(0, None), || latencies.clone(), at(60_000), SECOND).expect("it has ended");
    let expected = [
        (Figure::MeasuredMillis, 6_000),
        (Figure::UpMillis, 3_000),
        (Figure::DirectMillis, 1_000),
        (Figure::RelayMillis, 2_000),
        (Figure::RttMicros, 6_000),
        (Figure::RttSamples, 3),
        (Figure::PacketsSent, 119),
        (Figure::PacketsLost, 8),
    ];
    let mut whole = Sums::default();
    for (figure, sum) in expected {
        whole.add(figure, sum);
    }
    whole.latencies_mut().merge(&latencies);
    assert_eq!(sums, whole);
}

fn told(messages: &[ToGateway]) -> Vec<(ConnectionId, i64)> {
    let told = messages.iter().map(|message| match message {
        ToGateway::Measured { connection, at, .. } => (*connection, (at.as_millis() - START) / 60_000),
        other => panic!("{other:?}"),
    });
    told.collect()
}

fn only_the_first(connection: ConnectionId) -> Standing {
    if connection == Fixture::id(1) { Standing::Listed } else { Standing::Unlisted }
}

#[tokio::test]
async fn what_is_counted_is_told_once_in_the_minute_that_follows() {
    let fixture = Fixture::new();
    let measurements = Measurements::default();
    let entry = fixture.entries.get(Fixture::id(1)).unwrap();
    measurements.sample(&fixture.entries, at(0), SECOND);
    for (code, millis) in [(AckCode::Aa, 3), (AckCode::Ae, 40), (AckCode::Other, 3)] {
        entry.stats.messages.fetch_add(1, Ordering::Relaxed);
        entry.stats.passing.note_ack(code, Some(Duration::from_millis(millis)));
    }
    measurements.sample(&fixture.entries, at(60_000), SECOND);
    let is_listed = only_the_first;
    assert_eq!(measurements.take_due(at(60_000), is_listed), []);
    let all = measurements.take_due(at(119_999), is_listed);
    assert_eq!(told(&all), [(Fixture::id(1), 0)], "of the other one the gateway knows nothing");
    let ToGateway::Measured { sums, .. } = &all[0] else { unreachable!() };
    let get = |figure| sums.get(figure);
    assert_eq!(
        [get(Figure::AckAa), get(Figure::AckAe), get(Figure::AckAr), get(Figure::AckOther)],
        [1, 1, 0, 1]
    );
    assert_eq!((get(Figure::Messages), sums.latencies().counts().map(|(_, count)| count).sum()), (3, 3_u64));
    assert_eq!(measurements.take_due(at(119_999), is_listed), [], "once");
}

#[tokio::test]
async fn what_could_not_be_told_is_caught_up_with_slowly_and_an_hour_of_it_at_most() {
    let fixture = Fixture::new();
    let measurements = Measurements::default();
    for minute in 0..100 {
        measurements.sample(&fixture.entries, at(minute * 60_000), SECOND);
    }
    let now = at(99 * 60_000 + 50_000);
    let first = told(&measurements.take_due(now, only_the_first));
    let minutes = |from: i64, to: i64| (from..to).map(|minute| (Fixture::id(1), minute));
    let oldest = 99 - i64::try_from(MEASUREMENTS_UNSENT_MAX).unwrap();
    let caught_up = i64::try_from(MEASUREMENTS_CAUGHT_UP_AT_ONCE).unwrap();
    let expected: Vec<_> = minutes(98, 99).chain(minutes(oldest, oldest + caught_up)).collect();
    assert_eq!(first, expected);
    let mut rest = 0;
    loop {
        match measurements.take_due(now, |_| Standing::Listed).len() {
            0 => break,
            more => rest += more,
        }
    }
    assert_eq!(first.len() + rest, 2 * MEASUREMENTS_UNSENT_MAX);
}

#[tokio::test]
async fn the_last_minutes_of_a_connection_that_ended_are_told_and_none_that_began_later() {
    let fixture = Fixture::new();
    let measurements = Measurements::default();
    measurements.sample(&fixture.entries, at(0), SECOND);
    measurements.sample(&fixture.entries, at(60_000), SECOND);
    let ended = |connection| match only_the_first(connection) {
        Standing::Listed => Standing::Ended,
        standing => standing,
    };
    // The end is heard of in the second minute, when the first has not had its turn.
    let mut all = told(&measurements.take_due(at(60_000), ended));
    for minute in 2..10 {
        measurements.sample(&fixture.entries, at(minute * 60_000), SECOND);
        all.extend(told(&measurements.take_due(at(minute * 60_000 + 50_000), ended)));
    }
    all.sort_unstable();
    assert_eq!(all, [(Fixture::id(1), 0), (Fixture::id(1), 1)]);
    measurements.take_due(at(600_000), only_the_first);
    measurements.sample(&fixture.entries, at(660_000), SECOND);
    measurements.sample(&fixture.entries, at(720_000), SECOND);
    let back = told(&measurements.take_due(at(720_000 + 50_000), only_the_first));
    assert!(back.contains(&(Fixture::id(1), 11)), "an end that a person undid: {back:?}");
}

#[test]
fn connections_are_told_of_all_over_the_minute() {
    let turns = (0..=u8::MAX).map(|number| {
        let id = ConnectionId::from_random([number.wrapping_mul(151); 16]);
        (0..60).find(|second| is_due(id, at(0), at(60_000 + second * 1_000))).unwrap()
    });
    let turns: std::collections::BTreeSet<_> = turns.collect();
    assert!(turns.len() > 30 && turns.last() < Some(&45), "{turns:?}");
    assert!(is_due(ONE, at(0), at(60_000 + 45_000)));
}
