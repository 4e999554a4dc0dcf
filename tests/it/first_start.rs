//! The first start of an agent: it waits while its gateway is away, says so to those who ask, and ends by
//! itself only for what no wait would change.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use adit_core::domain::connection::Protocol;
use rustix::process::Signal;

use super::lab::{Lab, Part, adit, edit, free_address, mirth, run};

const WAITS: &str = "not enrolled yet";

fn lab() -> Lab {
    Lab::written(&[(Protocol::Mllp, free_address())])
}

/// Whether a command about A succeeds, and what it says.
async fn says(lab: &Lab, words: &[&str]) -> (bool, String) {
    let mut command = adit();
    command.args(words).arg("--config").arg(lab.config(Part::A));
    let output = run(command).await;
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// All that systemd was told so far.
fn told(systemd: &UnixDatagram) -> String {
    let mut told = String::new();
    let mut datagram = [0; 1024];
    while let Ok(length) = systemd.recv(&mut datagram) {
        told.push_str(std::str::from_utf8(&datagram[..length]).unwrap());
        told.push('\n');
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_says_that_it_waits_until_its_gateway_comes_to_enrol_it() {
    let mirth = mirth().await;
    let mut lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    let notify = lab.dir().join("notify");
    let systemd = UnixDatagram::bind(&notify).unwrap();
    systemd.set_nonblocking(true).unwrap();
    let began = Instant::now();
    lab.start_with(Part::A, "NOTIFY_SOCKET", notify.as_os_str());
    lab.logs(Part::A, WAITS).await;
    let why = "waits for enrolment: no gateway answers";
    for (words, is_well, expected) in [
        (&["status"][..], false, why),
        (&["status", "--json"], false, why),
        (&["check"], false, why),
        (&["health", "--live"], true, "waits for enrolment"),
        (&["health", "--startup"], false, why),
        (&["health", "--ready"], false, why),
    ] {
        let (succeeds, said) = says(&lab, words).await;
        assert!(succeeds == is_well && said.contains(expected), "{words:?}: {said}");
    }
    let said = told(&systemd);
    assert!(said.contains("EXTEND_TIMEOUT_USEC=") && said.contains("STATUS="), "{said}");
    assert!(!said.contains("READY=1"), "{said}");

    lab.start(Part::Gateway);
    lab.gateway_serves().await;
    lab.start(Part::B);
    lab.port_open(0).await;
    assert!(told(&systemd).contains("READY=1"));
    let lines = lab.log(Part::A).lines().filter(|line| line.contains(WAITS)).count();
    let minutes = usize::try_from(began.elapsed().as_secs() / 60).unwrap();
    assert!(lines <= minutes + 1, "{lines} lines in {minutes} minutes");
    assert!(says(&lab, &["health", "--startup"]).await.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_waits_ends_in_order_when_it_is_told_to() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut lab = lab();
        lab.start(Part::A);
        lab.logs(Part::A, WAITS).await;
        lab.signal(Part::A, signal);
        assert!(lab.ended(Part::A).await.success());
        assert!(!lab.state(Part::A).join("agent.sock").exists());
        let (succeeds, said) = says(&lab, &["status"]).await;
        assert!(!succeeds && said.contains("no agent answers"), "{said}");
    }
}

/// What A says that ends by itself.
async fn refuses(lab: &mut Lab) -> String {
    lab.start(Part::A);
    assert_eq!(lab.ended(Part::A).await.code(), Some(1));
    lab.log(Part::A)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_or_a_wrong_ca_key_ends_the_agent_with_a_sentence() {
    let mut lab = lab();
    lab.start(Part::Gateway);
    lab.gateway_serves().await;
    let connector = lab.dir().join("a").join("connector.toml");
    let whole = std::fs::read_to_string(&connector).unwrap();
    let value = |key: &str| {
        let line = whole.lines().find(|line| line.split('=').next().is_some_and(|name| name.trim() == key));
        line.unwrap().split('"').nth(1).unwrap().to_owned()
    };
    let zeros = |text: &str| -> String {
        text.chars().map(|char| if char.is_ascii_hexdigit() { '0' } else { char }).collect()
    };
    let (token, key) = (value("token"), value("key"));
    let wrong_key = format!("sha256:{}", zeros(key.strip_prefix("sha256:").unwrap()));

    edit(&connector, |text| text.replace(&token, &zeros(&token)));
    let said = refuses(&mut lab).await;
    assert!(said.contains("refused to enrol this agent") && said.contains("connector file"), "{said}");
    edit(&connector, |_| whole.replace(&key, &wrong_key));
    let said = refuses(&mut lab).await;
    assert!(said.contains("is not the one this connector file belongs to"), "{said}");
    assert!(!said.contains(WAITS) && !said.contains("panicked"), "{said}");

    edit(&connector, |_| whole.clone());
    lab.start(Part::A);
    lab.logs(Part::A, "the agent is running").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_for_metrics_costs_nothing_but_the_metrics() {
    let mirth = mirth().await;
    let mut lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    let taken: Vec<_> = [Part::Gateway, Part::A, Part::B]
        .map(|part| {
            let config = std::fs::read_to_string(lab.config(part)).unwrap();
            let line = config.lines().find(|line| line.starts_with("metrics")).unwrap();
            TcpListener::bind(line.split('"').nth(1).unwrap()).unwrap()
        })
        .into();
    lab.start_all().await;
    lab.port_open(0).await;
    for part in [Part::Gateway, Part::A, Part::B] {
        lab.logs(part, "no metrics are served").await;
    }
    drop(taken);
    for part in [Part::Gateway, Part::A, Part::B] {
        super::lab::eventually("metrics are served", async || lab.metrics(part).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_nobody_has_begun_ends_before_it_serves() {
    let mut lab = lab();
    std::fs::remove_file(lab.state(Part::Gateway).join("platform.db")).unwrap();
    std::fs::remove_file(lab.state(Part::Gateway).join("sealing.key")).unwrap();
    lab.start(Part::Gateway);
    assert_eq!(lab.ended(Part::Gateway).await.code(), Some(1));
    let log = lab.log(Part::Gateway);
    assert!(log.contains("adit gateway init --organization"), "{log}");
    assert!(!log.contains("gateway serves") && !log.contains("has stopped"), "{log}");
}
