//! Organizations of one region in every relation that there is: St Mary owns what is looked at, Lakeside sends to it,
//! Hillcrest has an agreement with it and nothing else, Riverside has nothing to do with it.

use serde_json::json;

use super::site::{Person, Site};
use adit_core::config::connector::Connector;
use adit_core::domain::id::{GatewayId, KeyFingerprint};
use adit_core::domain::path::PathKind;
use adit_core::domain::role::UserRole;
use adit_core::domain::tier::Tier;
use adit_core::protocol::control::{Report, SessionReport, SessionStage};

pub(super) struct Region {
    pub(super) site: Site,
    pub(super) st_mary: Person,
    pub(super) auditor: Person,
    pub(super) lakeside: Person,
    pub(super) hillcrest: Person,
    pub(super) riverside: Person,
    /// What there is of St Mary's, each with what it is called here and under which path it is found.
    pub(super) things: Vec<Thing>,
}

#[derive(Debug, Clone)]
pub(super) struct Thing {
    pub(super) path: &'static str,
    pub(super) called: &'static str,
    pub(super) id: String,
}

impl Region {
    pub(super) async fn new() -> Self {
        Box::pin(Self::made()).await
    }

    async fn made() -> Self {
        let site = Site::new().await;
        let [st_mary, lakeside, hillcrest, riverside] = ["St Mary", "Lakeside", "Hillcrest", "Riverside"]
            .map(|name| site.organization(name, Tier::Standard));
        let (st_mary, lakeside) = (st_mary.await, lakeside.await);
        let (hillcrest, riverside) = (hillcrest.await, riverside.await);
        let auditor = site.person(st_mary.caller.organization, UserRole::Auditor).await;
        let mut region = Self { site, st_mary, auditor, lakeside, hillcrest, riverside, things: Vec::new() };
        region.make().await;
        region
    }

    /// Returns who looks, and what they are called here.
    pub(super) fn viewers(&self) -> [(&'static str, Option<&Person>); 6] {
        [
            ("owner", Some(&self.st_mary)),
            ("auditor", Some(&self.auditor)),
            ("other party", Some(&self.lakeside)),
            ("agreement only", Some(&self.hillcrest)),
            ("outsider", Some(&self.riverside)),
            ("nobody", None),
        ]
    }

    pub(super) fn of_path(&self, path: &str) -> Vec<Thing> {
        let first = path.trim_start_matches('/').split('/').next().unwrap();
        self.things.iter().filter(|thing| thing.path == first).cloned().collect()
    }

    fn add(&mut self, path: &'static str, called: &'static str, id: impl Into<String>) -> String {
        let id = id.into();
        self.things.push(Thing { path, called, id: id.clone() });
        id
    }

    async fn make(&mut self) {
        let (st_mary, lakeside) = (self.st_mary.clone(), self.lakeside.clone());
        let target = self.site.server(&st_mary, "St Mary Mirth").await;
        let source = self.site.server(&lakeside, "Lakeside Mirth").await;
        self.site.server(&self.riverside, "Riverside Mirth").await;
        let peering = self.site.peers(&lakeside, &st_mary).await;
        self.site.peers(&self.hillcrest, &st_mary).await;
        let connected = self.site.channel(&st_mary, &target, "connected", true).await;
        let published = self.site.channel(&st_mary, &target, "published", true).await;
        let hidden = self.site.channel(&st_mary, &target, "hidden", false).await;
        let request = json!({"channel": connected, "source_server": source});
        let granted = self.site.post(&lakeside, "/grants/request", request).await.is(201).field("id");
        let path = format!("/grants/{granted}/approve");
        let p2p = self.site.act(&st_mary, &path).await.is(200).field("connection");
        self.site.act(&st_mary, &format!("/connections/{p2p}/activate")).await.is(200);
        let request = json!({"channel": published, "source_server": source});
        let pending = self.site.post(&lakeside, "/grants/request", request).await.is(201).field("id");
        let offer = json!({"server": target, "recipient": lakeside.organization(), "access": "read-only"});
        let offered = self.site.post(&st_mary, "/offers", offer).await.is(201).field("id");
        let hiding = self.site.channel(&st_mary, &target, "hidden later", true).await;
        let request = json!({"channel": hiding, "source_server": source});
        let blind = self.site.post(&lakeside, "/grants/request", request).await.is(201).field("id");
        self.site.act(&st_mary, &format!("/channels/{hiding}/unpublish")).await.is(200);
        let ended = self.end_one(&source, &target).await;
        self.run_agents(&source, &target, &p2p).await;
        let administered = self.administer(&source, &target).await;
        self.site.act(&lakeside, &format!("/connections/{p2p}/pause")).await.is(200);
        self.site.api_token(&st_mary, UserRole::Auditor).await;
        self.add("organizations", "St Mary", st_mary.organization());
        self.add("servers", "target", target);
        self.add("channels", "with a connection", connected);
        self.add("channels", "published", published);
        self.add("channels", "hidden", hidden);
        self.add("peerings", "with Lakeside", peering);
        self.add("grants", "approved", granted);
        self.add("grants", "pending", pending);
        self.add("grants", "pending, of a channel that is hidden", blind);
        self.add("channels", "hidden, with a pending grant", hiding);
        self.add("connections", "P2P, paused", p2p);
        self.add("connections", "Admin RO, offered", offered.clone());
        self.add("offers", "Admin RO, offered", offered);
        self.add("connections", "Admin RW, active, with sessions", administered);
        for (path, called, id) in ended {
            self.add(path, called, id);
        }
    }

    /// Has a connection end over a channel that is hidden since, and an offer be declined.
    async fn end_one(&self, source: &str, target: &str) -> [(&'static str, &'static str, String); 4] {
        let (site, st_mary, lakeside) = (&self.site, &self.st_mary, &self.lakeside);
        let channel = site.channel(st_mary, target, "once connected", true).await;
        let request = json!({"channel": channel, "source_server": source});
        let grant = site.post(lakeside, "/grants/request", request).await.is(201).field("id");
        let connection =
            site.act(st_mary, &format!("/grants/{grant}/approve")).await.is(200).field("connection");
        site.act(lakeside, &format!("/connections/{connection}/terminate")).await.is(200);
        site.act(st_mary, &format!("/channels/{channel}/unpublish")).await.is(200);
        let offer = json!({"server": target, "recipient": lakeside.organization(), "access": "read-write"});
        let offer = site.post(st_mary, "/offers", offer).await.is(201).field("id");
        site.act(lakeside, &format!("/offers/{offer}/decline")).await.is(200);
        [
            ("channels", "hidden, with an ended connection", channel),
            ("grants", "of an ended connection, of a channel that is hidden", grant),
            ("connections", "P2P, ended", connection),
            ("connections", "Admin RW, declined", offer),
        ]
    }

    /// Has an admin connection with sessions that its agents tell of, the managing one of one that has no row.
    async fn administer(&self, source: &str, target: &str) -> String {
        let (site, st_mary, lakeside) = (&self.site, &self.st_mary, &self.lakeside);
        let offer = json!({"server": target, "recipient": lakeside.organization(), "access": "read-write"});
        let id = site.post(st_mary, "/offers", offer).await.is(201).field("id");
        let path = format!("/offers/{id}/accept");
        site.post(lakeside, &path, json!({"server": source})).await.is(200);
        for (server, last) in [(source, 1), (target, 1), (source, 2), (target, 3)] {
            let session = SessionReport {
                number: last,
                stage: if last == 1 { SessionStage::Started } else { SessionStage::Ended }.into(),
                local_peer: std::net::Ipv4Addr::new(10, 0, 0, u8::try_from(last).unwrap()).into(),
                requests: 0,
                refused: 0,
                changes: 0,
                audits: 0,
            };
            let (server, id) = (server.parse().unwrap(), id.parse().unwrap());
            site.api.platform.admin_session(server, id, &session).await.unwrap();
        }
        id
    }

    /// Has both servers' agents enrol and tell all that an agent can tell.
    async fn run_agents(&self, source: &str, target: &str, connection: &str) {
        let (platform, connection) = (&self.site.api.platform, connection.parse().unwrap());
        let gateway = GatewayId::from_bytes([7; 8]);
        platform.start_service(gateway).await.unwrap();
        let now = platform.now();
        for (number, owner, server) in [(1, &self.lakeside, source), (2, &self.st_mary, target)] {
            let path = format!("/servers/{server}/connector");
            let file = self.site.post(owner, &path, json!({"life": "1h"})).await.is(201).field("file");
            let token = Connector::parse(&file).unwrap().token.unwrap();
            let (server, key) = (server.parse().unwrap(), KeyFingerprint::from_bytes([number; 32]));
            platform.redeem_token(server, &token, key, "192.0.2.1".parse().unwrap()).await.unwrap();
            platform.linked_by(gateway, server, "0.1.0".into());
            let path = Some(PathKind::Direct.into());
            let report = Report {
                tunnel: path,
                mirth: (number == 2).then_some(true),
                last_ack: Some(now),
                fault: None,
            };
            platform.report(server, connection, &report, now).await.unwrap();
        }
        platform.flush_reports().await.unwrap();
    }
}
