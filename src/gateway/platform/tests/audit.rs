//! The log by filters, with a bounded look at it, and on its way out.

use super::*;
use crate::store::Tx;
use adit_core::domain::page::Paging;

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
