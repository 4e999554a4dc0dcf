//! How fast a partner may guess passwords of the managed Mirth, whichever way they go.

use std::fs;
use std::time::{Duration, Instant};

use adit_agent::AUDIT_FILE;
use adit_core::domain::access::Access;
use adit_core::domain::limits::ADMIN_WRONG_LOGINS_BURST;
use adit_lab::admin_client::{Reply, RequestContent};
use adit_lab::admin_mirth::{AdminMirth, PASSWORD, USER};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::lab::{Lab, Part};

const BASE: &str = "/api/4.5.2";

async fn managed(access: Access) -> (AdminMirth, Lab) {
    let mirth = AdminMirth::start(TcpListener::bind(("127.0.0.1", 0)).await.unwrap()).unwrap();
    let lab = Lab::managing(mirth.address(), &[access]).await;
    (mirth, lab)
}

async fn dashboard_login(lab: &Lab, password: &str) -> Reply {
    let form = format!("username={USER}&password={password}&nonce=x");
    let mut client = lab.administrator(0).await;
    client.send("POST", "/webadmin/Login.action", RequestContent::Form(form.into())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboards_login_is_no_faster_way_to_guess() {
    const GUESSES: u32 = ADMIN_WRONG_LOGINS_BURST + 3;
    let (mirth, lab) = managed(Access::ReadOnly).await;
    let began = Instant::now();
    for _ in 0..GUESSES {
        let answer = dashboard_login(&lab, "guess").await;
        assert_eq!(answer.status, 302);
        let location = answer.headers.get("location").unwrap().to_str().unwrap();
        assert!(location.ends_with("/webadmin/Index.action?showAlert=true"), "{location}");
    }
    let took = began.elapsed();
    println!("{GUESSES} guesses at the dashboard took {took:?}");
    assert!(took >= Duration::from_secs((GUESSES - ADMIN_WRONG_LOGINS_BURST - 1).into()), "{took:?}");
    let audit = fs::read_to_string(lab.state(Part::B).join(AUDIT_FILE)).unwrap();
    let failed: Vec<_> = audit.lines().filter(|line| line.contains("\"admin_login_failed\"")).collect();
    assert_eq!(failed.len(), GUESSES as usize);
    assert!(failed.iter().all(|line| !line.contains("guess") && !line.contains("username")), "{failed:?}");
    mirth.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixty_wrong_logins_at_once_few_reach_mirth() {
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let (mirth, lab) = managed(access).await;
        let mut clients = Vec::new();
        for _ in 0..60 {
            let mut client = lab.administrator(0).await;
            // One that has asked for nothing goes after half a minute, in which a busy machine connects no sixty.
            client.get("/api/server/version").await.unwrap();
            clients.push(client);
        }
        let began = Instant::now();
        let mut answers = JoinSet::new();
        for mut client in clients {
            answers.spawn(async move { client.log_in(BASE, USER, "guess").await.map(|reply| reply.status) });
        }
        let statuses = answers.join_all().await;
        let took = began.elapsed();
        let reached = mirth.journal().count("POST", &format!("{BASE}/users/_login"));
        println!("{access}: {reached} of 60 wrong logins at once reached Mirth within {took:?}");
        let paced = u64::from(ADMIN_WRONG_LOGINS_BURST) + took.as_secs() + 1;
        assert!(reached as u64 <= paced, "{reached} in {took:?}");
        assert!(reached < 60);
        for status in statuses {
            assert!([401, 429].contains(&status.unwrap().as_u16()));
        }
        mirth.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn right_passwords_are_not_counted() {
    const LOGINS: u32 = 4 * ADMIN_WRONG_LOGINS_BURST;
    let (mirth, lab) = managed(Access::ReadOnly).await;
    for _ in 0..LOGINS {
        let answer = dashboard_login(&lab, PASSWORD).await;
        let location = answer.headers.get("location").unwrap().to_str().unwrap();
        assert!(location.ends_with("/webadmin/DashboardStatistics.action"), "{location}");
        let mut client = lab.administrator(0).await;
        assert_eq!(client.log_in(BASE, USER, PASSWORD).await.unwrap().status, 200);
    }
    let audit = fs::read_to_string(lab.state(Part::B).join(AUDIT_FILE)).unwrap();
    assert!(!audit.contains("admin_login_failed") && !audit.contains("admin_refused"), "{audit}");
    mirth.shutdown().await;
}
