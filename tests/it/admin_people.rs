//! What people meet of a managed Mirth through two real agents: launch file, dashboard, first login, and
//! the sentence of a refusal. The Mirth is a stand-in; no Mirth runs here.

use adit_core::domain::access::Access;
use adit_lab::admin_client::{AdminClient, Reply, RequestContent, shown_key};
use adit_lab::admin_mirth::{AdminMirth, PASSWORD, PasswordAge, USER};
use tokio::net::TcpListener;

use super::lab::{Lab, run};
use super::origin::jetty::java;

const BASE: &str = "/api/4.5.2";
const BOTH: [Access; 2] = [Access::ReadOnly, Access::ReadWrite];
/// The Administrator's, after every login.
const QUESTION: &str = "/api/4.5.2/users/1/preferences?name=firstlogin&name=checkForNotifications\
                        &name=showNotificationPopup&name=archivedNotifications";

async fn mirth() -> AdminMirth {
    AdminMirth::start(TcpListener::bind(("127.0.0.1", 0)).await.unwrap()).unwrap()
}

/// A client that asks for the listener by this name and its port.
async fn asking_for(lab: &Lab, index: usize, name: &str) -> AdminClient {
    let address = lab.admin[index].listen;
    let key = shown_key(address).await.unwrap();
    AdminClient::connect_as(address, key, &format!("{name}:{}", address.port())).await.unwrap()
}

async fn put(client: &mut AdminClient, path: &str, body: &'static str) -> Reply {
    client.send("PUT", &format!("{BASE}{path}"), RequestContent::Xml(body.into())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administrator_that_is_launched_connects_to_the_listener() {
    let mirth = mirth().await;
    let lab = Lab::managing(mirth.address(), &BOTH).await;
    for (index, access) in BOTH.into_iter().enumerate() {
        let listen = lab.admin[index].listen;
        assert_ne!(listen.port(), mirth.address().port());
        let client = lab.administrator(index).await;
        drop(client);
        let mut launcher = java("Launcher");
        launcher.arg(format!("https://{listen}/webstart.jnlp?time=1&maxHeapSize=512m"));
        let output = run(launcher).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(
            lines[..3],
            [format!("codebase https://{listen}"), format!("argument https://{listen}"), "jar 200".into()]
        );
        if access == Access::ReadOnly {
            let why = "view-only: this connection may not change anything on the managed server (DELETE /channels/{channelId})";
            assert_eq!(lines[3], format!("change 403 {why}"), "the sentence stands in the status line");
        } else {
            assert!(
                lines[3].starts_with("change 401"),
                "it is this listener's Mirth that asks for a login: {said}"
            );
        }
    }
    mirth.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_file_is_that_of_the_name_asked_for_with_its_own_length() {
    let mirth = mirth().await;
    let lab = Lab::managing(mirth.address(), &BOTH).await;
    for index in 0..BOTH.len() {
        drop(lab.administrator(index).await);
        for name in ["localhost", "127.0.0.1", "[::1]"] {
            let asked = format!("{name}:{}", lab.admin[index].listen.port());
            let mut client = asking_for(&lab, index, name).await;
            let file = client.get("/webstart.jnlp").await.unwrap();
            assert_eq!(file.header("content-length"), Some(file.body.len().to_string().as_str()));
            for expected in
                [format!("codebase=\"https://{asked}\""), format!("<argument>https://{asked}</argument>")]
            {
                assert!(file.text().contains(&expected), "{expected}: {}", file.text());
            }
            assert!(!file.text().contains(&mirth.address().port().to_string()), "{}", file.text());
            let head = client.send("HEAD", "/webstart.jnlp", RequestContent::Nothing).await.unwrap();
            assert_eq!((head.status.as_u16(), head.header("content-length")), (200, None));
        }
    }
    mirth.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_goes_from_sign_in_to_launch_without_leaving_the_listener() {
    let mirth = mirth().await;
    let lab = Lab::managing(mirth.address(), &BOTH).await;
    for index in 0..BOTH.len() {
        let listen = lab.admin[index].listen;
        let mut client = lab.administrator(index).await;
        let head = client.send("HEAD", "/webadmin/Index.action", RequestContent::Nothing).await.unwrap();
        assert_eq!(head.status, 200, "the landing page shows its sign-in");
        let mut sign_in = async |password: &str| {
            let form = format!("op=login&version=0.0.0&username={USER}&password={password}&nonce=0f");
            client.send("POST", "/webadmin/Login.action", RequestContent::Form(form.into())).await.unwrap()
        };
        let wrong = sign_in("x").await;
        let alert = format!("https://{listen}/webadmin/Index.action?showAlert=true");
        assert_eq!((wrong.status.as_u16(), wrong.header("location")), (302, Some(alert.as_str())));
        let right = sign_in(PASSWORD).await;
        let next = format!("https://{listen}/webadmin/DashboardStatistics.action");
        assert_eq!((right.status.as_u16(), right.header("location")), (302, Some(next.as_str())));
        let alert = client.get("/webadmin/Index.action?showAlert=true").await.unwrap();
        assert_eq!(alert.status, 200, "{alert:?}");
        for font in ["eot?", "woff", "ttf", "svg", "woff2?v=1"] {
            let path = format!("/webadmin/fonts/glyphicons-halflings-regular.{font}");
            assert_eq!(client.get(&path).await.unwrap().status, 200, "{path}");
        }
        let dashboard = client.get("/webadmin/DashboardStatistics.action").await.unwrap();
        let button = format!("window.location.hostname + ':{}/webstart.jnlp", listen.port());
        assert!(dashboard.text().contains(&button), "{}", dashboard.text());
    }
    mirth.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_login_through_view_only_neither_opens_a_dialog_nor_changes_anything() {
    let mirth = mirth().await;
    let lab = Lab::managing(mirth.address(), &BOTH).await;
    let mut view = lab.administrator(0).await;
    assert_eq!(view.log_in(BASE, USER, PASSWORD).await.unwrap().status, 200);
    let preferences = view.get(QUESTION).await.unwrap();
    assert_eq!(preferences.text(), "<properties><property name=\"firstlogin\">false</property></properties>");
    assert_eq!(view.get(&format!("{BASE}/users/1/preferences/firstlogin")).await.unwrap().text(), "false");
    let unasked = view.get(&format!("{BASE}/users/1/preferences?name=columns")).await.unwrap();
    assert_eq!(unasked.text(), "<properties/>");
    for (path, body) in [("/users/1", "<user><id>1</id></user>"), ("/users/1/password", "other")] {
        assert_eq!(put(&mut view, path, body).await.status, 403, "{path} is not said to be saved");
    }
    assert_eq!(
        put(&mut view, "/users/1/preferences", "<properties/>").await.status,
        204,
        "as at every logout"
    );
    assert_eq!(mirth.changes_of_user(), Vec::<String>::new());

    let mut manage = lab.administrator(1).await;
    assert_eq!(manage.log_in(BASE, USER, PASSWORD).await.unwrap().status, 200);
    assert_eq!(manage.get(QUESTION).await.unwrap().text(), "<properties/>", "who may save is asked");
    assert_eq!(put(&mut manage, "/users/1", "<user><id>1</id></user>").await.status, 204);
    assert_eq!(put(&mut manage, "/users/1/preferences/firstlogin", "false").await.status, 204);
    assert_eq!(mirth.changes_of_user(), ["user", "firstlogin=false"]);
    mirth.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_in_its_grace_period_logs_in_to_view_only_without_a_dialog() {
    let mirth = mirth().await;
    let lab = Lab::managing(mirth.address(), &BOTH).await;
    mirth.age_password(PasswordAge::Grace);
    for (index, status) in ["SUCCESS", "SUCCESS_GRACE_PERIOD"].into_iter().enumerate() {
        let mut client = lab.administrator(index).await;
        let login = client.log_in(BASE, USER, PASSWORD).await.unwrap();
        let expected = format!("<status>{status}</status><message>Your password has expired. Change it");
        assert!(login.status == 200 && login.text().contains(&expected), "{login:?}");
        assert_eq!(client.get(&format!("{BASE}/users/current")).await.unwrap().status, 200);
    }
    mirth.age_password(PasswordAge::Expired);
    let mut client = lab.administrator(0).await;
    let refused = client.log_in(BASE, USER, PASSWORD).await.unwrap();
    assert!(
        refused.status == 401 && refused.text().contains("FAIL_EXPIRED"),
        "Mirth's own answer: {refused:?}"
    );
    assert_eq!(mirth.changes_of_user(), Vec::<String>::new());
    mirth.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_says_its_sentence_in_the_status_line() {
    let mirth = mirth().await;
    let lab = Lab::managing(mirth.address(), &[Access::ReadOnly]).await;
    drop(lab.administrator(0).await);
    let mut client = lab.administrator(0).await;
    for (method, target, status) in [
        ("DELETE", "/api/channels/1", 403),
        ("GET", "/api/server/encryption", 403),
        ("GET", "/api/channels/%2e", 400),
        ("GET", "/webadmin/Index.action?x=y", 400),
    ] {
        let refused = client.send(method, target, RequestContent::Nothing).await.unwrap();
        assert_eq!(refused.status, status, "{target}");
        assert_eq!(refused.reason.as_deref(), Some(refused.text().trim_end()), "{target}");
    }
    let mut elsewhere = asking_for(&lab, 0, "evil.example").await;
    let refused = elsewhere.get("/").await.unwrap();
    assert_eq!(refused.reason.as_deref(), Some("adit: this listener does not serve that Host."));
    mirth.shutdown().await;
    let gone = client.get("/api/channels").await.unwrap();
    assert!(gone.status == 502 || gone.status == 503, "{gone:?}");
    assert!(
        gone.reason.is_some_and(|reason| reason.starts_with("adit: the managed Mirth")),
        "{:?}",
        gone.body
    );
}
