//! `adit explain`: what would become of a request, asked of a running agent.

use adit_core::domain::access::Access;

use super::observed::said;
use super::origin::Origin;
use crate::lab::{Lab, Part, edit};

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_by_which_rule_what_would_happen_even_in_its_exit_code() {
    let origin = Origin::start("4.5.2").await;
    let mut lab = Lab::written_managing(&[], origin.address, &[Access::ReadOnly, Access::ReadWrite]).await;
    edit(&lab.config(Part::B), |text| text.replacen("max_access", "hide = [\"users\"]\nmax_access", 1));
    lab.start_all().await;
    lab.admin_port_opens(0).await;
    lab.admin_port_opens(1).await;
    let heard = origin.arrived().len();
    let cases: [(usize, &str, &str, bool, &[&str]); 9] = [
        (
            0,
            "GET",
            "/api/channels",
            true,
            &["getChannels", "forwarded to Mirth as /api/channels", "must be empty"],
        ),
        (0, "GET", "/api/4.5.2/channels/", true, &["getChannels", "forwarded to Mirth"]),
        (0, "GET", "/api/users", false, &["getAllUsers", "refused with 403", "users"]),
        (0, "POST", "/api/channels", false, &["createChannel", "refused with 403", "view-only"]),
        (0, "GET", "/api/extensions/bedboard/beds", false, &["none that adit knows", "refused with 403"]),
        (0, "PUT", "/api/users/1/preferences", true, &["answered 204 by the agent", "Mirth hears nothing"]),
        (0, "GET", "/api/server/encryption", false, &["refused with 403"]),
        (
            1,
            "POST",
            "/api/channels",
            true,
            &["createChannel", "forwarded", "written down before it is sent on"],
        ),
        (1, "GET", "/api/channels/../users", false, &["refused with 400"]),
    ];
    for (index, method, target, passes, expected) in cases {
        let name = lab.admin_name(Part::B, index);
        let output = lab.agent_command(Part::B, &["explain", &name, method, target]).await;
        let said = said(&output);
        println!("$ adit explain {name} {method} {target}\n{said}");
        assert_eq!(output.status.code(), Some(i32::from(!passes)), "{method} {target}: {said}");
        for words in expected {
            assert!(said.contains(words), "{method} {target}: no `{words}` in: {said}");
        }
    }
    assert_eq!(origin.arrived().len(), heard, "an explanation sends nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_that_cannot_tell_says_where_to_ask_or_what_is_missing() {
    let mut origin = Origin::start("4.5.2").await;
    let mut lab = Lab::written_managing(&[], origin.address, &[Access::ReadOnly]).await;
    let name = lab.admin_name(Part::B, 0);
    let not_running = lab.agent_command(Part::B, &["explain", &name, "GET", "/api/channels"]).await;
    assert!(!not_running.status.success(), "{}", said(&not_running));
    lab.start_all().await;
    lab.admin_port_opens(0).await;
    let own = lab.admin_name(Part::A, 0);
    let managing = lab.agent_command(Part::A, &["explain", &own, "GET", "/api/channels"]).await;
    let why = said(&managing);
    println!("on the managing side: {why}");
    assert!(!managing.status.success() && why.contains("managed"), "{why}");
    let nobody = lab.agent_command(Part::B, &["explain", "nobody", "GET", "/api/channels"]).await;
    assert!(!nobody.status.success() && said(&nobody).contains("nobody"), "{}", said(&nobody));
    let json = lab.agent_command(Part::B, &["explain", "--json", &name, "GET", "/api/channels"]).await;
    assert!(json.status.success() && said(&json).starts_with("{\"access\":\"read-only\""), "{}", said(&json));

    origin.stop().await;
    lab.admin_port_refuses(0).await;
    let gone = lab.agent_command(Part::B, &["explain", &name, "GET", "/api/channels"]).await;
    println!("while Mirth is away: {}", said(&gone));
}
