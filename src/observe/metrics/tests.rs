use super::*;

fn rendered(count: impl FnOnce()) -> String {
    let recorder = builder().expect("buckets").build_recorder();
    metrics::with_local_recorder(&recorder, || {
        describe();
        count();
    });
    recorder.handle().render()
}

const SAMPLE: ConnectionSample = ConnectionSample {
    tunnel: Some(TunnelSample {
        path: Path::Direct,
        rtt: Duration::from_millis(20),
        packets_sent: 100,
        packets_lost: 2,
    }),
    mirth: Some(true),
    port_open: Some(false),
    streams: 3,
    streams_opened: 7,
    streams_cut: 1,
    bytes_into_tunnel: 1_000,
    bytes_out_of_tunnel: 50,
};

#[test]
fn a_connection_is_published_whole() {
    let text = rendered(|| connection("adt", &SAMPLE));
    for line in [
        "adit_tunnel_up{connection=\"adt\",path=\"direct\"} 1",
        "adit_tunnel_rtt_seconds{connection=\"adt\"} 0.02",
        "adit_tunnel_packets_sent{connection=\"adt\"} 100",
        "adit_tunnel_packets_lost{connection=\"adt\"} 2",
        "adit_mirth_up{connection=\"adt\"} 1",
        "adit_source_port_open{connection=\"adt\"} 0",
        "adit_streams{connection=\"adt\"} 3",
        "adit_streams_opened_total{connection=\"adt\"} 7",
        "adit_streams_cut_total{connection=\"adt\"} 1",
        "adit_bytes_total{connection=\"adt\",direction=\"in\"} 1000",
        "adit_bytes_total{connection=\"adt\",direction=\"out\"} 50",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_tunnel_that_went_down_is_published_as_down() {
    let text = rendered(|| {
        connection("adt", &SAMPLE);
        connection("adt", &ConnectionSample { tunnel: None, ..SAMPLE });
    });
    assert!(text.contains("adit_tunnel_up{connection=\"adt\",path=\"direct\"} 0\n"), "{text}");
}

#[test]
fn messages_and_acknowledgements_are_counted_by_type_and_code() {
    let text = rendered(|| {
        message("adt", "ADT^A01");
        message("adt", "ADT^A01");
        acknowledgement("adt", "ADT^A01", "AA", Some(Duration::from_millis(3)));
    });
    for line in [
        "adit_messages_total{connection=\"adt\",type=\"ADT^A01\"} 2",
        "adit_acknowledgements_total{connection=\"adt\",type=\"ADT^A01\",code=\"AA\"} 1",
        "adit_acknowledgement_seconds_bucket{connection=\"adt\",type=\"ADT^A01\",le=\"0.0025\"} 0",
        "adit_acknowledgement_seconds_bucket{connection=\"adt\",type=\"ADT^A01\",le=\"0.005\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn every_name_says_what_it_counts() {
    let mut names = std::collections::BTreeSet::new();
    for (kind, name, help) in DESCRIPTIONS {
        assert!(names.insert(name), "{name} is described twice");
        assert!(name.starts_with("adit_") && help.ends_with('.'), "{name}: {help}");
        assert_eq!(name.ends_with("_total"), matches!(kind, Kind::Counter), "{name}");
        assert_eq!(
            name.ends_with("_seconds"),
            matches!(kind, Kind::Histogram) || name == TUNNEL_RTT,
            "{name}"
        );
    }
}
