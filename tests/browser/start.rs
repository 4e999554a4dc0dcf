//! The stage itself: two people, each signed in by the link that the operator gave out.

use super::pages::fill;
use super::stage::{Partnership, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn two_people_are_signed_in_at_browsers_of_their_own() {
    let stage = Stage::start("standard").await;
    let (ada, bob) = stage.owners("free").await;
    ada.says("Lakeside Clinic").await;
    bob.says("St Mary Hospital").await;
    let partnership = Partnership::make(&ada, &bob).await;
    ada.open(&format!("/connections/{}", partnership.connection)).await;
    ada.says("Lakeside Mirth → St Mary Mirth").await;
    ada.says("Ready").await;
    assert!(ada.picture().await.len() > 10_000);
    ada.close().await;
    bob.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_opens() {
    let stage = Stage::start("standard").await;
    let (ada, bob) = stage.owners("standard").await;
    for page in fill(&ada, &bob, str::to_owned).await {
        ada.open(&page.path).await;
        let text = ada.text().await;
        assert!(
            ada.count("h1").await == 1 && ada.count(".notice.bad[role=alert]").await == 0,
            "{}: {text}",
            page.name
        );
    }
    ada.close().await;
    bob.close().await;
}
