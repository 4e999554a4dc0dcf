//! The demo's admin sessions: Lakeside looks into St Mary's Mirth by a view-only connection, and works
//! on it by one with full control. What was refused must not have reached Mirth; what was refused and
//! changed must stand in St Mary's own audit, and both sessions in both organizations' logs.

use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::time::sleep;

use super::{ARRIVE_WITHIN, Demo, DemoError, LOOK_EVERY, Row, read};
use crate::admin_client::{AdminClient, Reply, RequestContent, shown_key};
use crate::admin_mirth::{PASSWORD, USER};
use crate::measure::Histogram;
use adit_agent::AUDIT_FILE;

/// What the Administrator uses.
const BASE: &str = "/api/4.5.2";
const CHANNEL: &str = "<channel version=\"4.5.2\"><id>3f2504e0-4f89-41d3-9a0c-0305e82c3301</id><name>ADT from Lakeside</name></channel>";
const READS: usize = 100;

impl Demo {
    pub(super) async fn manage_mirth(&self, say: &impl Fn(&str)) -> Result<Vec<Row>, DemoError> {
        let mut rows = vec![self.view(say).await?];
        rows.push(self.change(say).await?);
        self.check_own_audit(say).await?;
        self.check_logs(say).await?;
        Ok(rows)
    }

    /// Reads pass; a change is refused by St Mary's agent and never seen by its Mirth.
    async fn view(&self, say: &impl Fn(&str)) -> Result<Row, DemoError> {
        say(&format!(
            "Lakeside logs in to St Mary's Mirth through its own agent, https://{}: the connection is view-only …",
            self.ports.view
        ));
        let mut client = self.administrator(self.ports.view).await?;
        let mut timing = Timing::begin();
        for _ in 0..READS {
            let reply = timing.time(client.get(&format!("{BASE}/channels/statuses")).await?);
            expect("a view-only read", 200, &reply)?;
        }
        let reply = create_channel(&mut client).await?;
        expect("a view-only change", 403, &reply)?;
        let mirth = self.stand_ins.st_mary_admin.journal();
        if mirth.arrived().iter().any(|one| one.method == "POST" && one.target.ends_with("/channels")) {
            return Err(DemoError::Unexpected {
                what: "a refused request".into(),
                found: "it reached Mirth".into(),
            });
        }
        say(&format!(
            "… {READS} reads pass; creating a channel is refused before it reaches Mirth: \"{}\"",
            reply.text().trim()
        ));
        Ok(timing.row("Admin RO, reads", self.path()))
    }

    async fn change(&self, say: &impl Fn(&str)) -> Result<Row, DemoError> {
        let mut client = self.administrator(self.ports.manage).await?;
        let mut timing = Timing::begin();
        let reply = timing.time(create_channel(&mut client).await?);
        expect("creating a channel", 200, &reply)?;
        let id = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
        let deploy = format!("{BASE}/channels/{id}/_deploy");
        let reply = timing.time(client.send("POST", &deploy, RequestContent::Nothing).await?);
        expect("deploying a channel", 204, &reply)?;
        let reply = client.get(&format!("{BASE}/channels/{id}/status")).await?;
        if !reply.text().contains("<state>STARTED</state>") {
            return Err(DemoError::Unexpected { what: "the deployed channel".into(), found: reply.text() });
        }
        say(&format!(
            "Through the connection with full control, https://{}, the same channel is created and deployed.",
            self.ports.manage
        ));
        Ok(timing.row("Admin RW, changes", self.path()))
    }

    /// Returns a client logged in over a connection that is known by the certificate its port shows.
    async fn administrator(&self, port: std::net::SocketAddr) -> Result<AdminClient, DemoError> {
        let mut client = AdminClient::connect(port, shown_key(port).await?).await?;
        expect("the login", 200, &client.log_in(BASE, USER, PASSWORD).await?)?;
        Ok(client)
    }

    /// Checks that the managing agent's file tells of the tunnel only; what was done is in the managed one's.
    async fn check_own_audit(&self, say: &impl Fn(&str)) -> Result<(), DemoError> {
        let path = self.folder.path.join("lab/b/state").join(AUDIT_FILE);
        let deadline = Instant::now() + ARRIVE_WITHIN;
        loop {
            let text = read(&path)?;
            let lines: Vec<AuditLine> =
                text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            let of = |event: &str| lines.iter().find(|line| line.event == event);
            if let (Some(refused), Some(change), Some(_)) =
                (of("admin_refused"), of("admin_change"), of("admin_change_done"))
            {
                say(&format!(
                    "St Mary's agent wrote both into its own audit: refused {}, changed {}.",
                    refused.request(),
                    change.request()
                ));
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(DemoError::Unexpected { what: "St Mary's own audit".into(), found: text });
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Checks that at the gateway, each organization sees both sessions in its own log.
    async fn check_logs(&self, say: &impl Fn(&str)) -> Result<(), DemoError> {
        for (provided, name) in [
            (&self.lab.provisioned.source, "Lakeside's log"),
            (&self.lab.provisioned.target, "St Mary's log"),
        ] {
            let deadline = Instant::now() + ARRIVE_WITHIN;
            while self.sessions_logged(provided).await? < 2 {
                if Instant::now() > deadline {
                    return Err(DemoError::NotUp { what: format!("{name} of admin sessions") });
                }
                sleep(LOOK_EVERY).await;
            }
        }
        say("Both sessions stand in both organizations' audit logs at the gateway.");
        Ok(())
    }

    async fn sessions_logged(&self, provided: &adit_gateway::platform::Provided) -> Result<usize, DemoError> {
        let rows = self.gateway.platform().audit(&provided.initiator, 1_000).await?;
        Ok(rows.iter().filter(|row| row.action == "admin session started").count())
    }
}

async fn create_channel(client: &mut AdminClient) -> Result<Reply, DemoError> {
    Ok(client.send("POST", &format!("{BASE}/channels"), RequestContent::Xml(CHANNEL.into())).await?)
}

fn expect(what: &str, status: u16, reply: &Reply) -> Result<(), DemoError> {
    if reply.status == status {
        return Ok(());
    }
    let found = format!("status {}, {}", reply.status, reply.text());
    Err(DemoError::Unexpected { what: what.into(), found })
}

/// A line of an agent's audit, as far as the demo shows it.
#[derive(Deserialize)]
struct AuditLine {
    event: String,
    #[serde(default)]
    method: String,
    #[serde(default)]
    template: String,
    operation: Option<String>,
}

impl AuditLine {
    fn request(&self) -> String {
        let operation = self.operation.as_deref().unwrap_or("unknown");
        format!("{} {} ({operation})", self.method, self.template)
    }
}

/// Requests one after the other.
struct Timing {
    began: Instant,
    since: Instant,
    latencies: Histogram,
    count: usize,
    bytes: u64,
}

impl Timing {
    fn begin() -> Self {
        let now = Instant::now();
        Self { began: now, since: now, latencies: Histogram::default(), count: 0, bytes: 0 }
    }

    /// Returns the time of the request that was just answered.
    fn time(&mut self, reply: Reply) -> Reply {
        let now = Instant::now();
        self.latencies.record(now - self.since);
        self.since = now;
        self.count += 1;
        self.bytes += reply.body.len() as u64;
        reply
    }

    fn row(&self, what: &str, path: &'static str) -> Row {
        let took = self.began.elapsed().max(Duration::from_millis(1));
        Row::new(what, [self.count; 2], &self.latencies, (self.bytes, took), path)
    }
}
