//! Operations of plug-ins that adit does not know, and that would run in place of a known one.

use adit_core::domain::access::Access;
use adit_lab::admin_mirth::{AdminMirth, PASSWORD, USER};
use tokio::net::TcpListener;

use super::lab::{Lab, Part, eventually};

const BASE: &str = "/api/4.5.2";
const SHADOWED: &str = "/api/4.5.2/extensions/foo/properties";

/// Not one request passes between the restart and the look at what it brought.
#[tokio::test(flavor = "multi_thread")]
async fn a_plug_in_that_came_with_a_quick_restart_is_denied_from_the_first_request() {
    let mirth = AdminMirth::start(TcpListener::bind(("127.0.0.1", 0)).await.unwrap()).unwrap();
    let lab = Lab::managing(mirth.address(), &[Access::ReadOnly]).await;
    let mut client = lab.administrator(0).await;
    assert_eq!(client.log_in(BASE, USER, PASSWORD).await.unwrap().status, 200);
    // The stand-in has no such operation, and says so.
    assert_eq!(client.get(SHADOWED).await.unwrap().status, 404);
    let mirth = mirth.restart_with_plug_in().await.unwrap();
    let refused = eventually("the agent answers", async || {
        let mut client = lab.administrator(0).await;
        let answer = client.get(SHADOWED).await.ok()?;
        // It may still be looking.
        (![502, 503].contains(&answer.status.as_u16())).then_some(answer)
    })
    .await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("/extensions/{x}/{y}"), "{}", refused.text());
    assert_eq!(mirth.journal().count("GET", SHADOWED), 0);
    let status = lab.status(Part::B).await.unwrap();
    let managed = status.entries.into_iter().find_map(|entry| entry.admin?.managed).unwrap();
    assert!(managed.unknown_operations.contains(&"GET /extensions/{x}/{y}".to_owned()), "{managed:?}");
    let mut client = lab.administrator(0).await;
    assert_eq!(client.log_in(BASE, USER, PASSWORD).await.unwrap().status, 200);
    for target in ["/extensions/plugins", "/channels", "/users/current", "/server/jvm"] {
        let answer = client.get(&[BASE, target].concat()).await.unwrap();
        assert_eq!(answer.status, 200, "{target}");
    }
    mirth.shutdown().await;
}
