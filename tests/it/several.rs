//! Several of everything on one host: connections of an agent, senders on a port, agents on a state.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use adit_core::domain::connection::Protocol;
use adit_lab::measure::Differences;
use adit_lab::messages::Generator;
use adit_lab::sender::Sender;

use super::lab::{HANG_LIMIT, Lab, Part, adit, edit, mirth, run};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_several_connections_gives_each_mirth_its_own_messages() {
    let mirths = [mirth().await, mirth().await, mirth().await];
    let lab = Lab::to_all(&mirths.each_ref().map(|mirth| (Protocol::Mllp, mirth.address()))).await;
    let sending = [0, 1, 2].map(|index| {
        let sender = Sender::kept_open(lab.port(index));
        tokio::spawn(async move { sender.send(Generator::new(91 + index as u64).take(200)).await })
    });
    for (sent, mirth) in sending.into_iter().zip(&mirths) {
        let differences = Differences::between(&sent.await.unwrap().sent, &mirth.journal().received());
        assert!(differences.none(), "{differences}");
    }
    // One of them going down is none of the others' business.
    let [first, second, third] = mirths;
    second.shutdown().await;
    lab.port_refuses(1).await;
    for (index, mirth) in [(0, &first), (2, &third)] {
        let report = Sender::to(lab.port(index)).send(Generator::new(96 + index as u64).take(20)).await;
        assert_eq!(report.accepted(), 20, "{:?}", report.sent);
        assert_eq!(mirth.journal().count(), 220);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_senders_share_one_port() {
    let mirth = mirth().await;
    let lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let sources = (900..932).map(|seed| Generator::new(seed).take(20));
    let report = Sender::to(lab.port(0)).send_from_all(sources).await;
    let differences = Differences::between(&report.sent, &mirth.journal().received());
    assert!(differences.none(), "{differences}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_on_one_state_is_refused_while_the_first_goes_on() {
    let mirth = mirth().await;
    let lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let said = refuses(&lab.config(Part::A)).await;
    assert!(said.contains("is in use by process"), "{said}");
    let report = Sender::to(lab.port(0)).send(Generator::new(99).take(5)).await;
    assert_eq!(report.accepted(), 5, "{:?}", report.sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_others_may_read_is_refused_until_it_is_closed() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    lab.kill(Part::A);
    let state = lab.state(Part::A);
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o755)).unwrap();
    let said = refuses(&lab.config(Part::A)).await;
    assert!(said.contains("mode 0755") && said.contains("chmod 700"), "{said}");
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o700)).unwrap();

    let secrets = state.join("secrets.json");
    std::fs::set_permissions(&secrets, PermissionsExt::from_mode(0o644)).unwrap();
    let said = refuses(&lab.config(Part::A)).await;
    assert!(said.contains("chmod 600"), "{said}");
    std::fs::set_permissions(&secrets, PermissionsExt::from_mode(0o600)).unwrap();
    lab.start(Part::A);
    lab.port_open(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_state_is_named_rather_than_taken_for_empty() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    lab.kill(Part::A);
    for name in ["known-keys.json", "enrolment.json"] {
        let path = lab.state(Part::A).join(name);
        let whole = std::fs::read_to_string(&path).unwrap();
        edit(&path, |text| text[..text.len() / 2].to_owned());
        let said = refuses(&lab.config(Part::A)).await;
        assert!(said.contains(name), "{said}");
        edit(&path, |_| whole);
    }
    lab.start(Part::A);
    lab.port_open(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_of_an_agents_file_is_told_at_once() {
    let lab = Lab::written(&[(Protocol::Mllp, "127.0.0.1:9".parse().unwrap())]);
    edit(&lab.config(Part::A), |text| {
        text.replace("metrics ", "metricks")
            .replace("\"mllp\"", "\"hl7\"")
            .replace("listen     = \"127", "listen     = \"x")
    });
    let said = refuses(&lab.config(Part::A)).await;
    for word in ["metricks", "hl7", "listen"] {
        assert!(said.contains(word), "`{word}` is not named: {said}");
    }
}

/// What an agent says that ends by itself with a failure.
async fn refuses(config: &Path) -> String {
    let mut command = adit();
    command.arg("agent").arg("--config").arg(config);
    let output = tokio::time::timeout(HANG_LIMIT, run(command)).await.expect("it ends by itself");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_addresses_carry_as_well() {
    let listener = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mirth = adit_lab::mirth::Mirth::start(listener, adit_lab::mirth::Behaviour::ACCEPT).unwrap();
    let mut lab = Lab::written(&[(Protocol::Mllp, address)]);
    let listen = format!("[::1]:{}", lab.port(0).port());
    edit(&lab.config(Part::A), |text| text.replace(&lab.port(0).to_string(), &listen));
    lab.connections[0].listen = listen.parse().unwrap();
    lab.start_all().await;
    lab.port_open(0).await;
    let report = Sender::to(lab.port(0)).send(Generator::new(98).take(10)).await;
    assert_eq!(report.accepted(), 10, "{:?}", report.sent);
    assert_eq!(mirth.journal().count(), 10);
}
