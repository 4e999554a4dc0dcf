//! What the two parties of a connection are told of its measurements, and that nobody else is.

use adit_core::domain::connection::{Protocol, Side};
use adit_core::domain::id::{ConnectionId, OrganizationId, ServerId, UserId};
use adit_core::domain::measurement::{Figure, Span, Sums};
use adit_core::domain::role::UserRole;
use adit_core::domain::tier::Tier;
use adit_core::domain::time::Timestamp;
use adit_net::identity::time::TimeSource;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use super::ask;
use crate::http::Api;
use crate::http::api::routes;
use crate::http::caller::Caller;
use crate::platform::{Initiator, Plan, Platform, TokenLife};
use crate::store::fixture::Place;

const NOW: Timestamp = Timestamp::from_millis(1_795_510_800_000);

#[derive(Debug)]
struct Stopped;

impl TimeSource for Stopped {
    fn now(&self) -> Timestamp {
        NOW
    }
}

struct World {
    api: Arc<Api>,
    parties: [OrganizationId; 2],
    outsider: OrganizationId,
    source: ServerId,
    connection: ConnectionId,
    _places: (Place, tempfile::TempDir),
}

impl World {
    async fn new() -> Self {
        let (place, folder) = (Place::new().await, tempfile::tempdir().unwrap());
        let state = folder.path().join("state");
        let platform = Platform::open_at(&state, &place.location, Arc::new(Stopped)).await.unwrap();
        let plan = Plan {
            source_organization: "Lakeside".parse().unwrap(),
            source_server: "a".parse().unwrap(),
            target_organization: "St Mary".parse().unwrap(),
            target_server: "b".parse().unwrap(),
            channels: vec![("ADT".parse().unwrap(), Protocol::Mllp)],
            admin: Vec::new(),
            token_life: TokenLife::Hour,
        };
        let made = platform.provision(&plan).await.unwrap();
        let parties = [&made.source.initiator, &made.target.initiator].map(|initiator| match initiator {
            Initiator::Member { organization, .. } => *organization,
            other => panic!("{other:?}"),
        });
        let host = Initiator::Host { name: "test".into() };
        let outsider =
            platform.add_organization(&host, &"Nobody".parse().unwrap(), Tier::Free).await.unwrap();
        let api = Arc::new(Api::over(Arc::new(platform), "https://gateway.example"));
        let source = made.source.server;
        Self { api, parties, outsider, source, connection: made.connections[0], _places: (place, folder) }
    }

    async fn get(&self, organization: OrganizationId, path: &str) -> (StatusCode, Value) {
        let initiator =
            Initiator::Member { organization, role: UserRole::Auditor, name: "Ada".into(), proof: None };
        let user = UserId::from_bytes([1; 16]);
        let mut request = Request::get(format!("/api/v1/connections/{path}")).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Caller { user, organization, initiator });
        ask(routes(Arc::clone(&self.api)), request).await
    }
}

/// A minute of an agent that saw all it can.
fn sums() -> Sums {
    let mut sums = Sums::default();
    for (figure, sum) in [
        (Figure::MeasuredMillis, 60_000),
        (Figure::UpMillis, 45_000),
        (Figure::RelayMillis, 45_000),
        (Figure::Messages, 5),
        (Figure::AckAa, 3),
        (Figure::AckAe, 1),
        (Figure::BytesSent, 1_000),
        (Figure::BytesReceived, 200),
        (Figure::ObjectsStored, 2),
        (Figure::ObjectsFailed, 1),
        (Figure::PacketsSent, 400),
        (Figure::PacketsLost, 1),
        (Figure::RttMicros, 4_500),
        (Figure::RttSamples, 3),
    ] {
        sums.add(figure, sum);
    }
    for millis in [2, 2, 2, 60] {
        sums.latencies_mut().note(Duration::from_millis(millis));
    }
    sums
}

async fn measured() -> World {
    let world = World::new().await;
    for minutes in [3, 2] {
        let at = NOW.saturating_sub(Span::Minute.length() * minutes);
        world.api.platform.take_measured(world.source, (world.connection, Side::Source), at, sums()).unwrap();
    }
    world.api.platform.keep_measurements().await.unwrap();
    world
}

fn expected(up: f64, times: u64) -> Value {
    json!({
        "up": up,
        "measured_seconds": 60.0 * if times == 1 { 1.0 } else { 2.0 },
        "path": "relay",
        "rtt_ms": 1.5,
        "loss": 0.0025,
        "messages": 5 * times,
        "acknowledgements": {
            "AA": 3 * times, "AE": times, "AR": 0, "CA": 0, "CE": 0, "CR": 0, "other": 0
        },
        "latency": { "p50_ms": 1.92, "p99_ms": 61.44 },
        "bytes_sent": 1_000 * times,
        "bytes_received": 200 * times,
        "objects": { "stored": 2 * times, "failed": times },
    })
}

#[tokio::test]
async fn each_party_is_shown_both_ends_step_by_step() {
    let world = measured().await;
    for party in world.parties {
        let (status, shown) = world.get(party, &format!("{}/measurements", world.connection)).await;
        let step = |at: &str| {
            let mut step = expected(0.75, 1);
            step["at"] = at.into();
            step
        };
        let steps = [step("2026-11-24T08:57:00Z"), step("2026-11-24T08:58:00Z")];
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            shown,
            json!({
                "span": "minute", "from": "2026-11-23T09:00:00Z", "to": "2026-11-24T09:00:00Z",
                "source": { "steps": steps }, "target": { "steps": [] },
            })
        );
    }
}

#[tokio::test]
async fn steps_are_put_together_as_it_is_asked_for() {
    let world = measured().await;
    let path = format!("{}/measurements?every=15", world.connection);
    let (status, shown) = world.get(world.parties[0], &path).await;
    assert_eq!(status, StatusCode::OK);
    let mut both = expected(0.1, 2);
    both["at"] = "2026-11-24T08:45:00Z".into();
    assert_eq!(shown["source"]["steps"], json!([both]));
    // One of them begins a span of two minutes, the other is in the middle of one.
    let path = format!("{}/measurements?every=2", world.connection);
    let (_, shown) = world.get(world.parties[0], &path).await;
    let at = |step: usize| shown["source"]["steps"][step]["at"].clone();
    assert_eq!((at(0), at(1)), (json!("2026-11-24T08:56:00Z"), json!("2026-11-24T08:58:00Z")));
}

#[tokio::test]
async fn of_a_step_that_the_range_cuts_the_time_within_it_counts() {
    let world = measured().await;
    for (range, up) in [
        ("from=2026-11-24T08:57:00Z", 0.5),
        ("to=2026-11-24T08:59:00Z", 0.1071),
        ("from=2026-11-24T08:57:00Z&to=2026-11-24T08:59:00Z", 0.75),
    ] {
        let path = format!("{}/measurements?every=15&{range}", world.connection);
        let (status, shown) = world.get(world.parties[0], &path).await;
        let mut both = expected(up, 2);
        both["at"] = "2026-11-24T08:45:00Z".into();
        assert_eq!((status, &shown["source"]["steps"]), (StatusCode::OK, &json!([both])), "{range}");
    }
}

#[tokio::test]
async fn a_total_is_of_the_range_that_is_asked_for() {
    let world = measured().await;
    let range = "from=2026-11-24T08:56:00Z&to=2026-11-24T09:00:30Z&span=minute";
    let path = format!("{}/measurements/total?{range}", world.connection);
    let (status, shown) = world.get(world.parties[1], &path).await;
    assert_eq!((status, &shown["from"]), (StatusCode::OK, &json!("2026-11-24T08:56:00Z")));
    assert_eq!(shown["source"], expected(0.375, 2));
    let nothing = json!({
        "up": 0.0, "measured_seconds": 0.0, "messages": 0,
        "acknowledgements": { "AA": 0, "AE": 0, "AR": 0, "CA": 0, "CE": 0, "CR": 0, "other": 0 },
        "bytes_sent": 0, "bytes_received": 0, "objects": { "stored": 0, "failed": 0 },
    });
    assert_eq!(shown["target"], nothing);
    let path = format!("{}/measurements/total?span=hour", world.connection);
    let (_, hours) = world.get(world.parties[1], &path).await;
    assert_eq!(hours["source"]["messages"], 0, "no hour is over yet");
}

#[tokio::test]
async fn to_an_outsider_a_connection_is_missing_like_one_that_is() {
    let world = measured().await;
    let missing = ConnectionId::from_bytes([9; 16]);
    for end in ["measurements", "measurements/total", "measurements?span=hour"] {
        let there = world.get(world.outsider, &format!("{}/{end}", world.connection)).await;
        let not_there = world.get(world.outsider, &format!("{missing}/{end}")).await;
        assert_eq!(there, not_there);
        assert_eq!(there.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_range_that_cannot_be_read_is_said_to_be_none() {
    let world = World::new().await;
    for (query, status) in [
        ("span=day", StatusCode::BAD_REQUEST),
        ("since=2026", StatusCode::BAD_REQUEST),
        ("every=0", StatusCode::BAD_REQUEST),
        ("every=1441", StatusCode::BAD_REQUEST),
        ("every=some", StatusCode::BAD_REQUEST),
        ("from=yesterday", StatusCode::UNPROCESSABLE_ENTITY),
        ("to=", StatusCode::UNPROCESSABLE_ENTITY),
        ("from=2026-11-24T09:00:00Z&to=1970-01-01T00:00:00Z", StatusCode::OK),
    ] {
        let path = format!("{}/measurements?{query}", world.connection);
        assert_eq!(world.get(world.parties[0], &path).await.0, status, "{query}");
    }
}
