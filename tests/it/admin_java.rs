//! A client of Java's own, which trusts what Mirth's Administrator trusts, through two real agents to a
//! Jetty with TLS of its own and a certificate such as Mirth's.

use adit_core::domain::access::Access;
use adit_lab::lab::LabAdmin;

use super::lab::{Lab, free_address, run};
use super::origin::jetty::{Hit, Jetty, Record, java};

#[tokio::test(flavor = "multi_thread")]
async fn a_java_client_gets_through_the_listener_to_a_chunked_login() {
    let folder = tempfile::tempdir().unwrap();
    let mut jetty = Jetty::start_tls(folder.path());
    let listen = free_address();
    let admin = LabAdmin { access: Access::ReadOnly, listen, mirth: jetty.address };
    let _lab = Lab::managing_as(vec![admin]).await;
    jetty.take();

    let mut client = java("JavaClient");
    client.arg(format!("https://{listen}"));
    let output = run(client).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "version 200 4.5.2");

    let records = jetty.take();
    let login: Vec<&Hit> = records
        .iter()
        .filter_map(|record| match record {
            Record::Request(hit) if hit.target == "/api/4.5.2/users/_login" => Some(hit),
            _ => None,
        })
        .collect();
    let [login] = login[..] else { panic!("one login: {records:?}") };
    assert_eq!(lines[1], format!("login 200 {}", login.id));
    assert_eq!(login.method, "POST");
    assert_eq!(login.body, b"username=partner&password=x+y%26z");
    assert!(login.values("Accept").eq(["application/xml", "application/json"]), "{login:?}");
    assert!(login.values("X-Mirth-Server-Url").eq([format!("https://{listen}")]));
    assert!(login.values("Host").eq([listen.to_string()]));
}
