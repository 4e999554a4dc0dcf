//! The log by filters, with a bounded look at it, and on its way out.

use super::*;
use crate::store::{AuditRecord, Tx};
use adit_core::domain::page::Paging;
use adit_core::protocol::control::{ConfigMismatch, PeerRefusal};

fn found(entries: &[AuditView]) -> Vec<(&str, &str)> {
    entries.iter().map(|it| (it.action.as_str(), it.outcome.as_str())).collect()
}

#[tokio::test]
async fn the_history_of_one_thing_and_of_one_actor_is_found() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    pair.command(&pair.source, ConnectionCommand::Activate).await.unwrap();
    pair.command(&pair.target, ConnectionCommand::Pause).await.unwrap();
    let of = async |filter: AuditFilter| {
        platform.list_audit(&pair.source.initiator, &filter, &Paging::first(50)).await.unwrap().rows
    };
    let object = Some(format!("connection {}", pair.connection));
    let history = of(AuditFilter { object: object.clone(), ..AuditFilter::default() }).await;
    assert_eq!(found(&history), [("pause connection", "done"), ("activate connection", "done")]);
    let by_peer = AuditFilter { object, actor: "mary".parse().ok(), ..AuditFilter::default() };
    assert_eq!(found(&of(by_peer).await), [("pause connection", "done")]);
    let by_nobody = AuditFilter { actor: "%".parse().ok(), ..AuditFilter::default() };
    assert_eq!(of(by_nobody).await, []);
}

#[tokio::test]
async fn a_rare_entry_is_come_to_over_short_pages_that_each_look_at_a_bounded_part() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    for _ in 0..7 {
        pair.world.pass(Duration::from_secs(1));
        platform.set_published(&pair.target.initiator, pair.channel, true).await.unwrap();
    }
    let filter = AuditFilter {
        organization: Some(pair.target.id),
        action: Some("add channel".into()),
        ..AuditFilter::default()
    };
    let mut paging = Paging::first(2);
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let (asked, filter) = (paging.clone(), filter.clone());
        let page = platform
            .look(async move |tx: &mut Tx| Ok::<_, PlatformError>(tx.list_audit(&filter, &asked, 3).await?))
            .await
            .unwrap();
        seen.extend(page.rows.into_iter().map(|row| row.action));
        pages += 1;
        let Some(next) = page.next else { break };
        paging = paging.after(Some(next));
    }
    assert_eq!(seen, ["add channel"]);
    let whole = pair.world.log_length(&pair.target).await;
    assert_eq!(pages, whole / 3 + 1, "three entries a page");
}

#[tokio::test]
async fn an_export_is_every_entry_the_asker_may_read_and_one_entry_itself() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    for _ in 0..600 {
        platform.set_published(&pair.target.initiator, pair.channel, true).await.unwrap();
    }
    let auditor = member(pair.target.id, UserRole::Auditor);
    let before = pair.world.log_length(&pair.target).await;
    let mut export = platform.export_audit(&auditor, &AuditFilter::default()).await.unwrap();
    let mut rows = Vec::new();
    while let Some(page) = export.next_page(platform).await.unwrap() {
        rows.extend(page);
    }
    assert_eq!(rows.len(), before + 1);
    assert_eq!(
        (&*rows[0].action, &*rows[0].object, &*rows[0].detail),
        ("export audit", "audit log", "all entries")
    );
    assert_eq!(rows.iter().filter(|it| it.action == "export audit").count(), 1);
    let whose: std::collections::BTreeSet<_> = rows.iter().map(|it| it.organization.clone()).collect();
    assert_eq!(whose.len(), 1);
    let narrow = AuditFilter { action: Some("request grant".into()), ..AuditFilter::default() };
    let mut export = platform.export_audit(&host(), &narrow).await.unwrap();
    let mut count = 0;
    while let Some(page) = export.next_page(platform).await.unwrap() {
        count += page.len();
    }
    assert_eq!(count, 2, "one for each party");
    assert_eq!(platform.audit(&host(), 1).await.unwrap()[0].detail, "action request grant");
}

impl Pair {
    /// Lakeside asks for one more channel, which is hidden before that is decided, and called otherwise from then on.
    async fn hidden_after_a_request(&self) -> (ChannelId, GrantId) {
        let platform = &self.world.platform;
        let lab = self.world.channel(&self.target, self.target_server, "Lab").await;
        let grant = platform.request_grant(&self.source.initiator, lab, self.source_server).await.unwrap();
        platform.set_published(&self.target.initiator, lab, false).await.unwrap();
        let text =
            ChannelText { name: "Oncology trial".parse().unwrap(), description: Description::default() };
        platform.describe_channel(&self.target.initiator, lab, &text).await.unwrap();
        (lab, grant)
    }

    async fn log(&self, party: &Party) -> Vec<AuditView> {
        self.world.platform.audit(&party.initiator, u32::MAX).await.unwrap()
    }
}

#[tokio::test]
async fn whoever_holds_a_grant_never_reads_what_a_hidden_channel_is_called_now() {
    for way in 0..6 {
        let pair = Pair::new().await;
        let platform = &pair.world.platform;
        let (lab, grant) = pair.hidden_after_a_request().await;
        let (holder, owner) = (&pair.source.initiator, &pair.target.initiator);
        match way {
            0 => platform.deny_grant(owner, grant).await.unwrap(),
            1 => platform.revoke_grant(owner, grant).await.unwrap(),
            2 => platform.relinquish_grant(holder, grant).await.unwrap(),
            3 => drop(platform.delete_channel(owner, lab).await.unwrap()),
            4 => drop(platform.delete_server(owner, pair.target_server).await.unwrap()),
            _ => {
                let peering = platform.peerings(holder).await.unwrap()[0].id;
                platform.end_peering(holder, peering).await.unwrap();
            }
        }
        let log = format!("{:?}", pair.log(&pair.source).await);
        assert!(!log.contains("Oncology"), "way {way}: {log}");
        assert!(log.contains(&format!("channel {lab}")), "way {way}: the grant is still told apart");
        let ends = pair.log(&pair.target).await;
        let ends = ends.iter().filter(|entry| entry.object == format!("grant {grant}"));
        assert!(ends.clone().any(|entry| entry.detail.contains("channel Oncology trial")), "way {way}");
    }
}

#[tokio::test]
async fn an_approval_makes_its_holder_a_party_that_reads_the_name() {
    let pair = Pair::new().await;
    let (_, grant) = pair.hidden_after_a_request().await;
    pair.world.platform.approve_grant(&pair.target.initiator, grant, None).await.unwrap();
    assert!(pair.world.last_entry(&pair.source).await.3.starts_with("channel Oncology trial, connection"));
}

#[tokio::test]
async fn an_agent_at_an_ended_connection_is_called_in_the_other_log_as_its_server_was_then() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    pair.command(&pair.source, ConnectionCommand::Terminate).await.unwrap();
    let renamed = text("Research cluster");
    platform.describe_server(&pair.target.initiator, pair.target_server, &renamed).await.unwrap();
    let (server, connection) = (pair.target_server, Some(pair.connection));
    let peer = Some(pair.source_server);
    platform.refused_peer(server, connection, peer, PeerRefusal::Unlisted, 1).await.unwrap();
    let mismatch = platform.config_mismatch(server, pair.connection, ConfigMismatch::Side).await;
    mismatch.unwrap();
    drop(platform.fetch_secret(server, pair.connection).await);
    let log = format!("{:?}", pair.log(&pair.source).await);
    assert!(log.contains("agent of St Mary Mirth") && !log.contains("Research"), "{log}");
}

async fn exported(platform: &Platform, mut export: AuditExport) -> Vec<AuditView> {
    let mut rows = Vec::new();
    while let Some(page) = export.next_page(platform).await.unwrap() {
        rows.extend(page);
    }
    rows
}

#[tokio::test]
async fn an_export_is_the_log_of_one_moment_however_long_it_takes_and_whatever_the_clock_says() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let hide =
        async |published| platform.set_published(&pair.target.initiator, pair.channel, published).await;
    let export = platform.export_audit(&pair.target.initiator, &AuditFilter::default()).await.unwrap();
    hide(false).await.unwrap();
    pair.world.clock.0.fetch_sub(3_600_000, Ordering::SeqCst);
    hide(true).await.unwrap();
    let first = exported(platform, export).await;
    assert!(!first.iter().any(|row| row.action.contains("publish")), "{first:?}");
    assert_eq!(first[0].action, "export audit");
    let export = platform.export_audit(&pair.target.initiator, &AuditFilter::default()).await.unwrap();
    let second = exported(platform, export).await;
    assert!(first.iter().all(|row| second.contains(row)), "the second has all that the first has");
    assert_eq!(second.len(), first.len() + 3);
}

#[tokio::test]
async fn an_export_waits_for_what_has_begun_and_has_not_committed() {
    let pair = Pair::new().await;
    let platform = &pair.world.platform;
    let mut begun = platform.store.write().await.unwrap();
    let at = platform.now();
    let late = AuditRecord {
        at,
        organization: Some(pair.target.id),
        actor: "Ada".into(),
        action: "add server",
        object: "late".into(),
        outcome: AuditOutcome::Done,
        detail: String::new(),
        bucket: None,
        act: None,
    };
    begun.append_audit_times(&late, 1).await.unwrap();
    pair.world.pass(Duration::from_secs(1));
    let until = AuditFilter { until: Some(platform.now()), ..AuditFilter::default() };
    let mut exporting = std::pin::pin!(platform.export_audit(&pair.target.initiator, &until));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut exporting).await;
    assert!(early.is_err(), "an export does not begin while an act is under way");
    begun.commit().await.unwrap();
    let export = exporting.await.unwrap();
    assert!(exported(platform, export).await.iter().any(|row| row.object == "late"));
}
