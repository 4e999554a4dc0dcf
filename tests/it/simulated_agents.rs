//! Many simulated agents against one gateway, on a small scale: the tool that loads a gateway tells the truth.

use std::time::Duration;

use adit_lab::agents::{Figures, Noise, Wanted, measure};
use adit_lab::binaries;

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_all_simulated_agents_are_back_with_every_termination_heard() {
    let figures = run(20, Noise::Reports).await;
    assert!(figures.is_complete(), "{figures}");
    assert_eq!((figures.linking.linked, figures.connections), (20, 20));
    assert_eq!((figures.termination.heard, figures.termination.unheard), (5, 0));
    let noise = figures.noise.expect("it was measured");
    assert!(noise.per_second > 20.0, "{noise:?}");
    assert_eq!(figures.storm.map(|storm| storm.linked), Some(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn noisy_addresses_end_no_link() {
    let figures = run(4, Noise::Addresses).await;
    assert!(figures.is_complete(), "{figures}");
}

async fn run(agents: usize, noise: Noise) -> Figures {
    let wanted = Wanted {
        agents,
        noisy: 1,
        noise,
        people: 10,
        seed: 7,
        window: Duration::from_millis(500),
        terminations: if agents < 20 { 1 } else { 5 },
        storm: true,
        patience: Duration::from_secs(60),
        sockets: 3,
        adit: binaries::adit().to_owned(),
        database: None,
        folder: None,
    };
    Box::pin(measure(&wanted, &|_| {})).await.expect("a gateway under small load")
}
