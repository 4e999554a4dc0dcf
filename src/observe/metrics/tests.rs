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
        path: Some(PathKind::Direct),
        path_changes: 4,
        rtt: Duration::from_millis(20),
        packets_sent: 100,
        packets_lost: 2,
    }),
    mirth: Some(true),
    port_open: Some(false),
    works: false,
    streams: 3,
    associations: None,
    limit_reached: 6,
    silent_reset: 5,
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
        "adit_path_changes_total{connection=\"adt\"} 4",
        "adit_tunnel_rtt_seconds{connection=\"adt\"} 0.02",
        "adit_tunnel_packets_sent{connection=\"adt\"} 100",
        "adit_tunnel_packets_lost{connection=\"adt\"} 2",
        "adit_mirth_up{connection=\"adt\"} 1",
        "adit_source_port_open{connection=\"adt\"} 0",
        "adit_entry_working{connection=\"adt\"} 0",
        "adit_streams{connection=\"adt\"} 3",
        "adit_streams_limit_reached_total{connection=\"adt\"} 6",
        "adit_streams_silent_reset_total{connection=\"adt\"} 5",
        "adit_streams_opened_total{connection=\"adt\"} 7",
        "adit_streams_cut_total{connection=\"adt\"} 1",
        "adit_bytes_total{connection=\"adt\",direction=\"in\"} 1000",
        "adit_bytes_total{connection=\"adt\",direction=\"out\"} 50",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn the_end_of_the_certificate_is_published_as_unix_time() {
    let text = rendered(|| leaf_expires(Timestamp::from_millis(1_800_000_000_500)));
    assert!(text.contains("adit_leaf_expiry_timestamp 1800000000\n"), "{text}");
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
fn a_path_over_tcp_is_published_as_each_other() {
    let over_tcp = TunnelSample { path: Some(PathKind::Tcp), ..SAMPLE.tunnel.expect("it has one") };
    let text = rendered(|| {
        connection("adt", &ConnectionSample { tunnel: Some(over_tcp), ..SAMPLE });
        control_link_path(Some(PathKind::Tcp));
    });
    for line in [
        "adit_tunnel_up{connection=\"adt\",path=\"tcp\"} 1",
        "adit_tunnel_up{connection=\"adt\",path=\"relay\"} 0",
        "adit_tunnel_up{connection=\"adt\",path=\"direct\"} 0",
        "adit_control_link_path{path=\"tcp\"} 1",
        "adit_control_link_path{path=\"direct\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn an_agents_carriers_are_counted_with_why_each_ended() {
    let text = rendered(|| {
        carrier_opened();
        carrier_ended("dead");
        carrier_not_opened();
        carrier_opened();
    });
    for line in [
        "adit_carrier_up 1",
        "adit_carriers_opened_total 2",
        "adit_carriers_ended_total{why=\"dead\"} 1",
        "adit_carriers_not_opened_total 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(rendered(|| carrier_ended("broken")).contains("adit_carrier_up 0\n"));
}

#[test]
fn messages_are_counted_by_type_with_acknowledgements_by_code() {
    let text = rendered(|| {
        let adt = StreamMetrics::new("adt");
        adt.message("ADT^A01");
        adt.message("ADT^A01");
        adt.acknowledgement("ADT^A01", "AA", Some(Duration::from_millis(3)));
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
fn the_relays_sums_are_published_with_drops_by_reason() {
    let sample = RelaySample {
        packets: 10,
        bytes: 14_520,
        sends: 2,
        answers: 4,
        registered: 3,
        carriers: 9,
        proven_carriers: 7,
        drops: [("forged", 7), ("peer_away", 0)],
    };
    let text = rendered(|| relay(&sample));
    for line in [
        "adit_relay_packets_total 10",
        "adit_relay_bytes_total 14520",
        "adit_relay_sends_total 2",
        "adit_relay_answers_total 4",
        "adit_relay_agents 3",
        "adit_gateway_carriers{proven=\"yes\"} 7",
        "adit_gateway_carriers{proven=\"no\"} 2",
        "adit_relay_dropped_packets_total{reason=\"forged\"} 7",
        "adit_relay_dropped_packets_total{reason=\"peer_away\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn associations_are_counted_by_title_requests_by_name_objects_by_status() {
    let text = rendered(|| {
        connection("ct", &ConnectionSample { associations: Some(2), ..SAMPLE });
        let ct = StreamMetrics::new("ct");
        ct.association("CT1", "accepted");
        ct.association("CT1", "accepted");
        ct.association("CT1", "aborted");
        ct.request("C-STORE");
        ct.object("success", 512, Some(Duration::from_secs(7)));
        ct.object("success", 512, None);
    });
    for line in [
        "adit_dicom_associations{connection=\"ct\"} 2",
        "adit_dicom_associations_total{connection=\"ct\",calling=\"CT1\",outcome=\"accepted\"} 2",
        "adit_dicom_associations_total{connection=\"ct\",calling=\"CT1\",outcome=\"aborted\"} 1",
        "adit_dicom_requests_total{connection=\"ct\",operation=\"C-STORE\"} 1",
        "adit_dicom_objects_total{connection=\"ct\",status=\"success\"} 2",
        "adit_dicom_object_bytes_total{connection=\"ct\",status=\"success\"} 1024",
        "adit_dicom_store_seconds_bucket{connection=\"ct\",status=\"success\",le=\"5\"} 0",
        "adit_dicom_store_seconds_bucket{connection=\"ct\",status=\"success\",le=\"20\"} 1",
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
            matches!(kind, Kind::Histogram) || *name == TUNNEL_RTT,
            "{name}"
        );
    }
}
