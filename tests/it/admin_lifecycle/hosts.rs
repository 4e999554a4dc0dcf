//! Who is let in at the managing side's port: by the name that they ask for, and by where they come
//! from.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use adit_core::domain::access::Access;

use super::client::{Client, End, get};
use super::origin::Origin;
use crate::lab::{Lab, Part, edit};

#[tokio::test(flavor = "multi_thread")]
async fn another_host_two_hosts_or_none_are_answered_421_without_mirth() {
    let origin = Origin::start("4.5.2").await;
    let lab = Lab::managing(origin.address, &[Access::ReadWrite]).await;
    let listener = lab.admin_port(0);
    let (own, port) = (format!("Host: {listener}\r\n"), listener.port());
    for hosts in [
        "Host: evil.example\r\n".to_owned(),
        format!("Host: evil.example:{port}\r\n"),
        "Host: 127.0.0.1\r\n".to_owned(),
        format!("Host: 127.0.0.1.evil.example:{port}\r\n"),
        format!("{own}Host: evil.example\r\n"),
        format!("Host: evil.example\r\n{own}"),
        format!("{own}{own}"),
        String::new(),
    ] {
        let mut client = Client::to(listener).await;
        client.send(&format!("GET /api/channels HTTP/1.1\r\nX-Requested-With: it\r\n{hosts}\r\n")).await;
        let (status, _) = client.answer().await;
        assert_eq!(status, 421, "{hosts:?}");
        assert_eq!(client.rest().await, (vec![], End::Whole), "{hosts:?}");
    }
    assert_eq!(origin.arrived(), [""; 0]);
    lab.admin_complains(Part::A, 0, "another Host than this listener's").await;

    // The names of loopback are the listener's own.
    for host in [format!("localhost:{port}"), format!("LOCALHOST:{port}"), format!("[::1]:{port}")] {
        let mut client = Client::to(listener).await;
        client.send(&format!("GET /api/channels HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(client.answer().await.0, 200, "{host}");
    }
    assert_eq!(origin.arrived().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_began_with_one_host_asks_for_no_other() {
    let origin = Origin::start("4.5.2").await;
    let lab = Lab::managing(origin.address, &[Access::ReadWrite]).await;
    let mut client = Client::to(lab.admin_port(0)).await;
    client.get("/api/channels").await;
    assert_eq!(client.answer().await.0, 200);
    client.send("GET /api/users HTTP/1.1\r\nHost: evil.example\r\n\r\n").await;
    assert_eq!(client.answer().await.0, 421);
    assert_eq!(origin.arrived().len(), 1);
    let audit = lab.own_audit(Part::B);
    assert!(audit.contains("admin_refused") && audit.contains("421"), "{audit}");
}

/// The host's own address that is not loopback takes the place of another host's: the connection comes
/// from it, over the loopback device. A host without one cannot show this, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_reset_unless_it_is_inside_allow_from() {
    let Some(own) = own_address() else {
        return println!("this host has no address but loopback's: who comes from elsewhere was not tried");
    };
    let origin = Origin::start("4.5.2").await;
    let mut lab = Lab::written_managing(&[], origin.address, &[Access::ReadWrite]).await;
    let listener = lab.admin_port(0);
    let outside = SocketAddr::new(own, listener.port());
    let file = lab.config(Part::A);
    let allow = |network: &str| {
        let own_lines = format!(
            "listen = \"0.0.0.0:{}\"\nallow_from = [\"{network}\"]\nnames = [\"{own}\", \"127.0.0.1\"]\n",
            listener.port()
        );
        edit(&file, |text| {
            let is_own = |line: &&str| {
                ["allow_from", "names"].iter().any(|key| line.starts_with(key))
                    || line.contains(&listener.port().to_string())
            };
            let others = text.lines().filter(|line| !is_own(line));
            others.fold(String::new(), |text, line| text + line + "\n") + &own_lines
        });
    };
    allow("203.0.113.0/24");
    lab.start_all().await;
    lab.admin_port_opens(0).await;
    assert_eq!(get(listener, "/api/channels").await.0, 200, "loopback is always let in");
    let refused = adit_lab::admin_client::open(outside, None).await.unwrap_err();
    let chain = format!("{refused:?}");
    assert!(chain.contains("ConnectionReset"), "{chain}");
    let why = lab.admin_complains(Part::A, 0, "may not connect here").await;
    assert!(why.contains(&own.to_string()) && why.contains("allow_from"), "{why}");

    lab.kill(Part::A);
    allow(&format!("{own}/32"));
    lab.start(Part::A);
    lab.admin_port_opens(0).await;
    assert_eq!(get(outside, "/api/channels").await.0, 200);
    assert_eq!(origin.arrived().len(), 2);
}

/// The address that the kernel would choose towards anywhere; no packet is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("203.0.113.1", 9)).ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_loopback() && !own.is_unspecified()).then_some(own)
}
