//! Stand-in for a hundred connections' agents: what they would have told is written into the gateway's database, and
//! no agent runs. Everything else is made over the API.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures to look at"
)]

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit_core::domain::measurement::{Figure, Span, Sums};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{SqliteConnection, SqlitePool};

use super::driver::Browser;
use super::pages::organization;
use super::stage::id_of;

pub(crate) const CONNECTIONS: usize = 100;
/// A gateway that is always there, and has all links.
const GATEWAY: &str = "ffffffffffffffff";
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const WARDS: [&str; 10] = [
    "Admissions",
    "Radiology",
    "Laboratory",
    "Pharmacy",
    "Cardiology",
    "Oncology",
    "Pathology",
    "Emergency",
    "Surgery",
    "Outpatients",
];
const FEEDS: [(&str, &str); 10] = [
    ("ADT", "mllp"),
    ("Orders", "mllp"),
    ("Results", "mllp"),
    ("Scheduling", "mllp"),
    ("Documents", "mllp"),
    ("Charges", "mllp"),
    ("CT images", "dicom"),
    ("MR images", "dicom"),
    ("Vaccinations", "mllp"),
    ("Device feed", "tcp"),
];

/// What of a connection is told by its agents.
struct Told {
    tunnel: &'static str,
    mirth: bool,
    acknowledged_ago_ms: Option<i64>,
}

/// Makes a hundred connections from servers of Ada's to channels of Bob's, whose organizations have an agreement, and
/// some offers. Nine in ten are Active, and most of those connected. Returns the first connection.
pub(crate) async fn gather(ada: &Browser, bob: &Browser, database: &Path) -> String {
    let mut sources = Vec::new();
    let mut connections = Vec::new();
    for (number, ward) in WARDS.into_iter().enumerate() {
        let server = json!({
            "name": format!("Lakeside {ward}"), "description": format!("Mirth of {ward}, building {number}"),
            "version": "4.5.2",
        });
        sources.push(id_of(&ada.does("POST", "/servers", &server).await));
    }
    for ward in WARDS {
        let server = json!({ "name": format!("St Mary {ward}"), "description": "", "version": "4.5.2" });
        let server = id_of(&bob.does("POST", "/servers", &server).await);
        for (number, (feed, protocol)) in FEEDS.into_iter().enumerate() {
            let channel = json!({
                "server": server, "name": format!("{ward} {feed}"), "description": format!("{feed} of {ward}"),
                "protocol": protocol, "published": true,
            });
            let channel = id_of(&bob.does("POST", "/channels", &channel).await);
            let asked = json!({ "channel": channel, "source_server": sources[number] });
            let grant = id_of(&ada.does("POST", "/grants/request", &asked).await);
            let made = bob.does("POST", &format!("/grants/{grant}/approve"), &json!({})).await;
            connections.push(made["connection"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(connections.len(), CONNECTIONS);
    for (number, connection) in connections.iter().enumerate() {
        decide(ada, bob, connection, number).await;
    }
    let recipient = organization(bob).await;
    for (server, access) in [(&sources[0], "read-only"), (&sources[1], "read-write")] {
        ada.does("POST", "/offers", &json!({ "recipient": recipient, "server": server, "access": access }))
            .await;
    }
    tell(database, &connections).await;
    connections.swap_remove(0)
}

/// Most are activated; of the others some wait, are paused or have ended.
async fn decide(ada: &Browser, bob: &Browser, connection: &str, number: usize) {
    let does = async |who: &Browser, verb: &str| {
        who.does("POST", &format!("/connections/{connection}/{verb}"), &Value::Null).await;
    };
    if number % 25 == 24 {
        return;
    }
    does(ada, "activate").await;
    if number % 20 == 13 {
        does(bob, "pause").await;
    }
    if number % 33 == 32 {
        does(ada, "terminate").await;
    }
}

async fn tell(database: &Path, connections: &[String]) {
    let options = SqliteConnectOptions::new().filename(database).busy_timeout(Duration::from_secs(30));
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_millis()).unwrap();
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO gateway_lease (gateway, until) VALUES ($1, $2)")
        .bind(GATEWAY)
        .bind(now + 24 * HOUR_MS)
        .execute(&mut *tx)
        .await
        .unwrap();
    let linked = "INSERT OR REPLACE INTO server_link (server, gateway, is_up, since, software)
        SELECT id, $1, name NOT LIKE '%Pathology', $2, $3 FROM server";
    sqlx::query(linked)
        .bind(GATEWAY)
        .bind(now - 5 * HOUR_MS)
        .bind(env!("CARGO_PKG_VERSION"))
        .execute(&mut *tx)
        .await
        .unwrap();
    for (number, connection) in connections.iter().enumerate() {
        let told = Told::of(number);
        for side in ["source", "target"] {
            let is_target = side == "target";
            sqlx::query(
                "INSERT INTO connection_fact (connection, side, tunnel, tunnel_since, mirth_up, mirth_since, last_ack_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(connection)
            .bind(side)
            .bind(told.tunnel)
            .bind(now - 4 * HOUR_MS)
            .bind(is_target.then_some(told.mirth))
            .bind(is_target.then_some(now - 4 * HOUR_MS))
            .bind(told.acknowledged_ago_ms.filter(|_| !is_target).map(|ago| now - ago))
            .execute(&mut *tx)
            .await
            .unwrap();
        }
        sqlx::query("UPDATE connection SET first_connected_at = $1 WHERE id = $2")
            .bind(now - 90 * 24 * HOUR_MS)
            .bind(connection)
            .execute(&mut *tx)
            .await
            .unwrap();
        let spans = [(Span::Minute, MINUTE_MS, 24 * 60), (Span::Hour, HOUR_MS, 24 * 90)];
        // The first alone has more than the last hour.
        for (span, step, steps) in spans {
            let steps = if number == 0 { steps } else { 60.min(steps) };
            for back in 1..=steps {
                let at = now - now % step - back * step;
                for side in ["source", "target"] {
                    sqlx::query(
                        "INSERT OR REPLACE INTO measurement (connection, span, at, side, sums) VALUES ($1, $2, $3, $4, $5)",
                    )
                    .bind(connection)
                    .bind(span.as_str())
                    .bind(at)
                    .bind(side)
                    .bind(sums(number, at, step).to_bytes())
                    .execute(&mut *tx)
                    .await
                    .unwrap();
                }
            }
        }
    }
    hold_sessions(&mut tx, now).await;
    tx.commit().await.unwrap();
    pool.close().await;
}

/// Sessions of every admin connection, as if they were accepted: one that runs, one that is not heard of, and others
/// that have ended, some with refusals and changes.
async fn hold_sessions(tx: &mut SqliteConnection, now: i64) {
    let held = "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 11)
        INSERT INTO admin_session (id, connection, source_owner, target_owner, run, number, round, local_peer,
            begun_at, heard_at, ended_at, requests, refused, changes, audits, judged)
        SELECT printf('00000000-0000-4000-8000-%012d', row_number() OVER ()), c.id, c.source_owner, c.target_owner,
            '', n, 0, CASE n % 3 WHEN 0 THEN '2001:db8:85a3::8a2e:370:7334' ELSE '10.20.30.' || n END,
            $1 - n * 7 * $2, $1 - n * 6 * $2, CASE WHEN n > 1 THEN $1 - n * 6 * $2 END,
            1200 + n * 317, n % 4 * 3, CASE c.kind WHEN 'Admin RW' THEN n % 3 ELSE 0 END, 0,
            n % 4 > 0 OR c.kind = 'Admin RW' AND n % 3 > 0
        FROM n JOIN connection c ON c.kind <> 'P2P'";
    let added = sqlx::query(held).bind(now).bind(HOUR_MS).execute(tx).await.unwrap();
    assert!(added.rows_affected() >= 24);
}

impl Told {
    fn of(number: usize) -> Self {
        let tunnel = match number % 17 {
            16 => "down",
            5 | 11 => "relay",
            14 => "tcp",
            _ => "direct",
        };
        let acknowledged_ago_ms = (number % 11 != 10).then_some(4_000 + number as i64 * 7_919);
        Self { tunnel, mirth: number % 29 != 28, acknowledged_ago_ms }
    }
}

/// A day as hospitals have them: little at night, most before noon, and now and then a refusal.
fn sums(number: usize, at: i64, step: i64) -> Sums {
    let hour = at.rem_euclid(24 * HOUR_MS) as f64 / HOUR_MS as f64;
    let busy = 0.15 + 0.85 * (-((hour - 10.5) / 5.0).powi(2)).exp();
    let draw = (at / step).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(number as i64 * 97) >> 33;
    let noise = 0.7 + 0.6 * (draw.rem_euclid(1_000) as f64 / 1_000.0);
    let minutes = (step / MINUTE_MS) as f64;
    let messages = ((12 + (number * 7) % 40) as f64 * busy * noise * minutes) as u64;
    let refused = if draw.rem_euclid(37) == 0 { messages / 12 } else { 0 };
    let mut sums = Sums::default();
    for (figure, count) in [
        (Figure::Messages, messages),
        (Figure::AckAa, messages - refused),
        (Figure::AckAe, refused),
        (Figure::BytesSent, messages * 1_840),
        (Figure::BytesReceived, messages * 160),
        (Figure::MeasuredMillis, step as u64),
        (Figure::UpMillis, step as u64),
        (if draw.rem_euclid(40) < 4 { Figure::RelayMillis } else { Figure::DirectMillis }, step as u64),
        (Figure::RttMicros, 11_000 + draw.rem_euclid(2_500) as u64),
        (Figure::RttSamples, 1),
    ] {
        sums.add(figure, count);
    }
    for message in 0..messages.min(50) {
        let slow = if message % 23 == 22 { 9 } else { 1 };
        sums.latencies_mut().note(Duration::from_micros(slow * (14_000 + draw.rem_euclid(9_000) as u64)));
    }
    sums
}
