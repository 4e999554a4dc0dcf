//! A page whose gateway goes and comes back: it says so, and then shows what has happened meanwhile.

use super::stage::{Partnership, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_page_catches_up_by_itself_after_the_gateway_was_killed() {
    let mut stage = Stage::start("standard").await;
    let (ada, bob) = stage.owners("free").await;
    let partnership = Partnership::make(&ada, &bob).await;
    for (person, path) in
        [(&ada, format!("/connections/{}", partnership.connection)), (&bob, "/connections".into())]
    {
        person.open(&path).await;
        person.says("Live").await;
        person.says("Ready").await;
    }
    let (adas, bobs) = (ada.mark().await, bob.mark().await);
    stage.stop_gateway();
    for person in [&ada, &bob] {
        person.says("Not live: the gateway is not reached").await;
    }
    stage.admin(&["connection", "activate", &partnership.connection, "--as", "St Mary Hospital"]).await;
    stage.start_gateway().await;
    for person in [&ada, &bob] {
        person.no_longer_says("Not live").await;
        person.says("Live").await;
        person.has("main .chip.good").await;
        person.says("Active").await;
    }
    adas.is_still_there().await;
    bobs.is_still_there().await;
}
