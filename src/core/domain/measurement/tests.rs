use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::domain::limits::MEASUREMENT_BYTES_MAX;

/// Latencies of a step, each in microseconds, with some messages.
fn sums() -> impl Strategy<Value = Sums> {
    let figures = vec((0..Figure::ALL.len(), 0_u64..1 << 40), 0..30);
    (figures, vec(0_u64..100_000_000, 0..40)).prop_map(|(figures, micros)| {
        let mut sums = Sums::default();
        for (place, more) in figures {
            sums.add(Figure::ALL[place], more);
        }
        for micros in micros {
            sums.latencies_mut().note(Duration::from_micros(micros));
        }
        sums
    })
}

fn merged<'a>(all: impl IntoIterator<Item = &'a Sums>) -> Sums {
    all.into_iter().fold(Sums::default(), |mut sum, one| {
        sum.merge(one);
        sum
    })
}

proptest! {
    #[test]
    fn sums_merge_to_the_same_in_any_order_and_grouping(all in vec(sums(), 0..6), cut in 0_usize..6) {
        let whole = merged(&all);
        let (front, back) = all.split_at(cut.min(all.len()));
        prop_assert_eq!(&merged([&merged(back), &merged(front)]), &whole);
        prop_assert_eq!(&merged(all.iter().rev()), &whole);
    }

    #[test]
    fn sums_read_back_as_they_were_written(sums in sums()) {
        let bytes = sums.to_bytes();
        prop_assert!(bytes.len() <= MEASUREMENT_BYTES_MAX);
        prop_assert_eq!(Sums::from_bytes(&bytes), Ok(sums.clone()));
        let json = serde_json::to_string(&sums).unwrap();
        prop_assert_eq!(serde_json::from_str::<Sums>(&json).unwrap(), sums);
    }

    #[test]
    fn any_bytes_are_sums_or_none(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(sums) = Sums::from_bytes(&bytes) {
            prop_assert_eq!(Sums::from_bytes(&sums.to_bytes()), Ok(sums));
        }
    }

    #[test]
    fn a_percentile_is_off_by_an_eighth_at_most(mut micros in vec(64_u64..1 << 26, 1..200), is_median in any::<bool>()) {
        let mut latencies = Latencies::default();
        for micros in &micros {
            latencies.note(Duration::from_micros(*micros));
        }
        micros.sort_unstable();
        let (percent, told) = if is_median { (50, latencies.p50()) } else { (99, latencies.p99()) };
        let exact = micros[(micros.len() * percent).div_ceil(100) - 1];
        let told = u64::try_from(told.unwrap().as_micros()).unwrap();
        prop_assert!(told.abs_diff(exact) * 8 <= exact, "{told} for {exact}");
    }

    #[test]
    fn what_cannot_be_true_of_a_minute_is_capped(sums in sums()) {
        let capped = sums.capped(Span::Minute);
        let get = |figure| capped.get(figure);
        prop_assert!(get(Figure::MeasuredMillis) <= 60_000 && get(Figure::UpMillis) <= get(Figure::MeasuredMillis));
        let paths: u64 = PathKind::ALL.map(|path| get(Figure::of_path(path))).into_iter().sum();
        prop_assert!(paths <= get(Figure::UpMillis) && get(Figure::PacketsLost) <= get(Figure::PacketsSent));
        prop_assert_eq!(&capped.clone().capped(Span::Minute), &capped);
    }
}

#[test]
fn each_bucket_ends_where_the_next_begins() {
    let micros = |micros| bucket_of(Duration::from_micros(micros));
    assert_eq!([micros(0), micros(63), micros(64), micros(79), micros(80)], [0, 0, 1, 1, 2]);
    assert_eq!([micros((1 << 26) - 1), micros(1 << 26), micros(u64::MAX)], [80, 81, 81]);
    assert_eq!(bucket_of(Duration::MAX), 81);
    let mut before = 0;
    for octave in 6..26_u32 {
        for quarter in 0..4_u64 {
            let first = (4 + quarter) << (octave - 2);
            assert_eq!((micros(first - 1), micros(first)), (before, before + 1), "{first} µs");
            before += 1;
        }
    }
    assert_eq!(usize::from(before) + 2, BUCKETS);
}

#[test]
fn nothing_has_no_percentile_and_what_is_above_all_has_the_last_bound() {
    let mut latencies = Latencies::default();
    assert_eq!((latencies.p50(), latencies.p99()), (None, None));
    latencies.note(Duration::from_hours(1));
    assert_eq!(latencies.p50(), Some(Duration::from_micros(1 << 26)));
}

#[test]
fn the_largest_sums_fit_their_bound_as_they_are_kept() {
    let mut sums = Sums::default();
    for figure in Figure::ALL {
        sums.add(figure, u64::MAX);
    }
    for bucket in 0..=u8::MAX {
        sums.latencies_mut().add(bucket, u64::MAX);
    }
    let bytes = sums.to_bytes();
    assert!(bytes.len() <= MEASUREMENT_BYTES_MAX, "{}", bytes.len());
    assert_eq!(Sums::from_bytes(&bytes), Ok(sums));
    assert_eq!(Sums::from_bytes(&vec![0; MEASUREMENT_BYTES_MAX + 1]), Err(UnreadableSums));
}

/// What is on disk must read the same for ever: a figure keeps its place.
#[test]
fn what_was_kept_by_this_build_reads_the_same_by_the_next() {
    let mut sums = Sums::default();
    for (number, figure) in (1..).zip(Figure::ALL) {
        sums.add(figure, number * 100);
    }
    sums.latencies_mut().note(Duration::from_millis(3));
    let kept = [
        "016402c80103ac0204900305f40306d80407bc0508a0060984070ae8070bcc08",
        "0cb0090d940a0ef80a0fdc0b10c00c11a40d12880e13ec0e14d00f15b410960101",
    ];
    assert_eq!(hex::encode(sums.to_bytes()), kept.concat());
}

#[test]
fn a_figure_that_only_a_newer_build_knows_costs_no_other() {
    let mut known = Sums::default();
    known.add(Figure::Messages, 7);
    let mut bytes = known.to_bytes();
    bytes.extend([100, 5, 0xff, 0x7f, 1]);
    assert_eq!(Sums::from_bytes(&bytes), Ok(known.clone()));
    let json = r#"{"messages":7,"retries":[1,{"a":2}]}"#;
    assert_eq!(serde_json::from_str::<Sums>(json).unwrap(), known);
}

#[test]
fn people_are_told_shares_means_and_the_path_used_for_longest() {
    let mut sums = Sums::default();
    assert_eq!((sums.path(), sums.rtt_mean(), sums.loss_share()), (None, None, None));
    for (figure, more) in [
        (Figure::UpMillis, 45_000),
        (Figure::DirectMillis, 15_000),
        (Figure::TcpMillis, 30_000),
        (Figure::RttMicros, 900),
        (Figure::RttSamples, 3),
        (Figure::PacketsSent, 200),
        (Figure::PacketsLost, 1),
        (Figure::AckAa, 4),
        (Figure::AckOther, 1),
    ] {
        sums.add(figure, more);
    }
    assert_eq!(sums.path(), Some(PathKind::Tcp));
    assert_eq!(sums.rtt_mean(), Some(Duration::from_micros(300)));
    assert_eq!((sums.loss_share(), sums.acknowledged()), (Some(0.005), 5));
    assert!((sums.up_share(Span::Minute.length()) - 0.75).abs() < f64::EPSILON);
}

#[test]
fn a_step_begins_at_the_full_minute_or_hour() {
    let at = Timestamp::from_millis(1_795_510_800_000 + 3_723_004);
    assert_eq!(Span::Minute.begin(at).to_string(), "2026-11-24T10:02:00Z");
    assert_eq!(Span::Hour.begin(at).to_string(), "2026-11-24T10:00:00Z");
    assert_eq!(Span::Minute.begin(Timestamp::from_millis(-1)).as_millis(), -60_000);
    assert_eq!(Span::Hour.begin(Timestamp::from_millis(i64::MIN)).as_millis(), i64::MIN);
}
