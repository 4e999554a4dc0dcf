use bytes::BytesMut;

use super::super::http::{Header, ResponseFraming};
use super::*;

fn addresses(asked: &str) -> Addresses {
    Addresses::new(asked, "10.0.0.1", "/")
}

fn head(status: u16, headers: &[(&str, &str)]) -> ResponseHead {
    let header = |(name, value): &(&str, &str)| Header { name: (*name).into(), value: (*value).into() };
    ResponseHead {
        status,
        reason: b"OK".to_vec(),
        headers: headers.iter().map(header).collect(),
        framing: ResponseFraming::Length(0),
        declared: ResponseFraming::Length(0),
        origin_closes: false,
    }
}

fn whole(rewrite: Rewrite, body: &str, asked: &str, target: &str) -> Result<Option<String>, Unwritable> {
    let new = rewrite.whole(&mut head(200, &[]), body.as_bytes(), &addresses(asked), target)?;
    Ok(new.map(|new| String::from_utf8(new).unwrap()))
}

/// Returns it as Mirth writes it: its codebase, and the server that the Administrator connects to.
fn launch_file(codebase: &str, server: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?>\n<jnlp codebase=\"{codebase}\" version=\"4.5.2\">\n\
         <information>\n<title>ADT &amp; Lab - Administrator 4.5.2</title>\n<homepage href=\"http://www.nextgen.com\"/>\n\
         <icon href=\"images/x.png\"/>\n</information>\n<!-- <argument>https://other:1</argument> -->\n<resources>\n\
         <j2se href=\"http://java.sun.com/products/autodl/j2se\" java-vm-args=\"--add-opens=a/b=ALL-UNNAMED\"/>\n\
         <jar download=\"eager\" href=\"webstart/client-lib/mirth-client.jar\" main=\"true\" sha256=\"a+b/c=\"/>\n\
         <extension href=\"webstart/extensions/file.jnlp\"/>\n</resources>\n\
         <application-desc main-class=\"com.mirth.connect.client.ui.Mirth\">\n<argument>{server}</argument>\n\
         <argument>4.5.2</argument>\n<argument>-ssl</argument>\n<argument>TLSv1.3,TLSv1.2</argument>\n</application-desc>\n</jnlp>\n"
    )
}

#[track_caller]
fn launches(asked: &str, written: [&str; 2], expected: [&str; 2]) {
    let file = launch_file(written[0], written[1]);
    let new = whole(Rewrite::LaunchFile, &file, asked, "/webstart.jnlp").unwrap();
    assert_eq!(new, Some(launch_file(expected[0], expected[1])), "{asked}: {written:?}");
}

#[test]
fn a_launch_file_changes_only_to_lead_to_the_address_that_the_client_asked_for() {
    for (asked, codebase, server) in [
        ("localhost:9443", "https://localhost:9443", "https://localhost:8443"),
        ("mirth.partner:9443", "https://mirth.partner:9443", "https://mirth.partner:8443"),
        ("[::1]:9443", "https://[::1]:9443", "https://[::1]:8443"),
        ("10.1.2.3:9443", "https://10.1.2.3:9443", "https://10.1.2.3:8443"),
        ("mirth.partner", "https://mirth.partner:443", "https://mirth.partner:8443"),
        ("stmary.localhost:443", "https://stmary.localhost:443", "https://stmary.localhost:8443"),
        // `server.url` and `codebase.webstart.url` of the owner's mirth.properties.
        ("localhost:9443", "http://mirth.hospital.example:8080", "https://mirth.hospital.example"),
        ("localhost:9443", "HTTPS://10.0.0.1:8443", "https://user@10.0.0.1:8443"),
    ] {
        if server.contains('@') {
            let file = launch_file(codebase, server);
            assert_eq!(whole(Rewrite::LaunchFile, &file, asked, "/webstart"), Err(Unwritable::NoServer));
            continue;
        }
        let same = codebase.strip_suffix(":443").is_some_and(|bare| bare.ends_with(asked));
        let here = format!("https://{asked}");
        launches(asked, [codebase, server], [if same { codebase } else { &here }, &here]);
    }
}

#[test]
fn a_launch_file_below_a_context_path_keeps_it_or_gets_it() {
    let addresses = Addresses::new("localhost:9443", "10.0.0.1", "/mirth");
    let new = |codebase: &str, server: &str| {
        let file = launch_file(codebase, server);
        launch::rewritten(&file, &addresses).unwrap().unwrap()
    };
    let expected = launch_file("https://localhost:9443/mirth", "https://localhost:9443/mirth");
    assert_eq!(new("https://localhost:9443/mirth", "https://localhost:8443/mirth"), expected);
    assert_eq!(new("https://front.example/connect", "https://front.example/connect/"), expected);
}

#[test]
fn an_extensions_launch_file_without_a_server_passes_as_it_is() {
    let file = "<jnlp><information><title>x</title></information><resources>\
                <jar download=\"eager\" href=\"libs/file/file-client.jar\" sha256=\"a=\"/></resources><component-desc/></jnlp>";
    let new = whole(Rewrite::LaunchFile, file, "localhost:9443", "/webstart/extensions/file.jnlp");
    assert_eq!(new, Ok(Some(file.into())));
}

#[test]
fn what_is_loaded_from_mirth_itself_is_loaded_over_the_agents() {
    let file = |host: &str| {
        format!("<jnlp><resources><jar href='https://{host}/webstart/client-lib/x.jar'/></resources></jnlp>")
    };
    for host in ["localhost:8443", "127.0.0.1:8443", "10.0.0.1:8443", "mirth.partner:8443", "elsewhere:1"] {
        let new = whole(Rewrite::LaunchFile, &file(host), "mirth.partner:9443", "/webstart.jnlp");
        assert_eq!(new, Ok(Some(file("mirth.partner:9443"))), "{host}");
    }
}

#[test]
fn a_launch_file_that_cannot_be_set_right_is_not_passed_on() {
    use Unwritable::{LeadsElsewhere, NoServer, Unreadable};
    for (file, expected) in [
        ("<jnlp><application-desc/></jnlp>", NoServer),
        ("<jnlp><application-desc><argument>mirth:8443</argument></application-desc></jnlp>", NoServer),
        (
            "<jnlp><application-desc><argument><![CDATA[https://x]]></argument></application-desc></jnlp>",
            NoServer,
        ),
        ("<jnlp><application-desc><argument>&#104;ttps://x</argument></application-desc></jnlp>", NoServer),
        ("<jnlp codebase='ftp://x/'/>", LeadsElsewhere),
        ("<jnlp codebase='//x/'/>", LeadsElsewhere),
        ("<jnlp codebase='https://a@x/'/>", LeadsElsewhere),
        ("<jnlp codebase='https://x:99999/'/>", LeadsElsewhere),
        ("<jnlp href='https:///x.jnlp'/>", LeadsElsewhere),
        ("<jnlp><resources><jar href='https://evil.example/x.jar'/></resources></jnlp>", LeadsElsewhere),
        ("<jnlp><resources><extension href='//evil.example/x.jnlp'/></resources></jnlp>", LeadsElsewhere),
        ("<!DOCTYPE jnlp [<!ENTITY x 'y'>]><jnlp/>", Unreadable),
        ("<jnlp codebase='https://x", Unreadable),
        ("<jnlp><!-- ", Unreadable),
    ] {
        assert_eq!(
            whole(Rewrite::LaunchFile, file, "localhost:9443", "/webstart.jnlp"),
            Err(expected),
            "{file}"
        );
    }
    let packed = Rewrite::LaunchFile.whole(
        &mut head(200, &[("Content-Encoding", "gzip")]),
        launch_file("https://x", "https://x").as_bytes(),
        &addresses("localhost:9443"),
        "/webstart.jnlp",
    );
    assert_eq!(packed, Err(Unreadable));
}

#[test]
fn what_is_no_launch_file_passes_as_it_is() {
    for body in ["", "17", "<html><p>not found</html>", "a < b"] {
        assert_eq!(whole(Rewrite::LaunchFile, body, "localhost:9443", "/webstart.jnlp"), Ok(None), "{body}");
    }
    assert!(!Rewrite::LaunchFile.applies_to(&head(404, &[])));
}

/// Checks the page in one piece and cut at every byte.
#[track_caller]
fn page(asked: &str, written: &str, expected: &str) {
    let addresses = addresses(asked);
    let padded = |text: &str| format!("{}{text}{}", "<p>hl</p>".repeat(70), "<p>lh</p>".repeat(70));
    let wire = padded(written);
    for cut in (0..wire.len()).step_by(7).chain([0, wire.len()]) {
        let (mut writer, mut out) = (PageWriter::default(), BytesMut::new());
        for piece in [&wire[..cut], &wire[cut..]] {
            writer.data(piece.as_bytes(), &addresses, &mut out);
        }
        writer.end(&addresses, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), padded(expected), "{asked}, cut at {cut}");
    }
}

#[test]
fn the_buttons_of_a_page_lead_to_the_port_that_the_client_asked_for() {
    for (asked, port) in [("localhost:9443", 9443), ("[::1]:9443", 9443), ("mirth.partner", 443)] {
        let check = |written: &str, expected: &str| {
            page(asked, written, &expected.replace("PORT", &port.to_string()));
        };
        check(
            "window.location.href = 'https://' + window.location.hostname + ':8443/webstart.jnlp?time=' + x;",
            "window.location.href = 'https://' + window.location.hostname + ':PORT/webstart.jnlp?time=' + x;",
        );
        // Mirth before 3.8: its port without TLS.
        check(
            "href = 'http://' + window.location.hostname + ':8080/mirth/webstart.jnlp'",
            "href = 'https://' + window.location.hostname + ':PORT/mirth/webstart.jnlp'",
        );
        check(
            "= 'https://' + window.location.hostname + ':8443' + window.location.pathname;",
            "= 'https://' + window.location.hostname + ':PORT' + window.location.pathname;",
        );
        check("\"http://\"+location.hostname+\":8080\"", "\"https://\"+location.hostname+\":PORT\"");
        check(
            "protocol + '//' + location.hostname + ':8443/'",
            "protocol + '//' + location.hostname + ':PORT/'",
        );
        check(
            "'https://' + location.hostname + '/launcher/'",
            "'https://' + location.hostname + ':PORT/launcher/'",
        );
        check("'http://' + location.host + '/x'", "'https://' + location.host + '/x'");
    }
}

#[test]
fn addresses_of_mirth_in_a_page_become_those_that_the_client_reaches() {
    for (written, expected) in [
        ("<a href=\"http://localhost:8080/webadmin\">", "<a href=\"https://mirth.partner:9443/webadmin\">"),
        ("<a href='https://mirth.partner:8443'>", "<a href='https://mirth.partner:9443'>"),
        (
            "content=\"0;url=https://10.0.0.1:8443/webadmin/Index.action\"",
            "content=\"0;url=https://mirth.partner:9443/webadmin/Index.action\"",
        ),
        ("url(http://0.0.0.0:8080/images/x.png)", "url(https://mirth.partner:9443/images/x.png)"),
        (
            "<a href=\"https://mirth01:8443/webstart.jnlp\">",
            "<a href=\"https://mirth.partner:9443/webstart.jnlp\">",
        ),
    ] {
        page("mirth.partner:9443", written, expected);
    }
}

#[test]
fn everything_else_of_a_page_passes_as_it_is() {
    for written in [
        "<a href=\"https://www.nextgen.com/products\">",
        "href = 'https://s3.amazonaws.com/downloads/mirth-administrator-launcher-latest-' + suffix;",
        "<td class=\"parent\">poll http://localhost:8080/webadmin hourly</td>",
        "<a href=\"https://mirth.partner:9443/webadmin/Index.action\">",
        "window.top.location = window.location;",
        "url: 'webadmin/Index.action',",
        "location.hostname || 'localhost'",
        "href=\"https://localhost:8443@evil.example/\"",
        "caf\u{e9} h\u{2028}l https\u{e9}",
    ] {
        page("mirth.partner:9443", written, written);
    }
}

#[test]
fn headers_that_lead_on_lead_to_the_address_that_the_client_asked_for() {
    for (name, written, expected) in [
        (
            "Location",
            "https://10.0.0.1:8443/webadmin/Index.action",
            "https://localhost:9443/webadmin/Index.action",
        ),
        ("Location", "https://10.0.0.1:8443", "https://localhost:9443"),
        ("location", "http://localhost:8080/webadmin/", "https://localhost:9443/webadmin/"),
        ("Location", "https://localhost:8443/x?a=b#c", "https://localhost:9443/x?a=b#c"),
        ("Location", "https://localhost:9443/x", "https://localhost:9443/x"),
        ("Location", "/webadmin", "/webadmin"),
        ("Location", "https://10.0.0.1:8443.evil/x", "https://10.0.0.1:8443.evil/x"),
        ("Location", "https://login.example/sso", "https://login.example/sso"),
        ("Content-Location", "https://[::1]:8443/x", "https://localhost:9443/x"),
        ("Refresh", "0; url=http://localhost:8080/webadmin/", "0; url=https://localhost:9443/webadmin/"),
        ("Refresh", "5;URL='https://10.0.0.1/x'", "5;URL='https://localhost:9443/x'"),
        ("Refresh", "5", "5"),
        ("X-Other", "https://10.0.0.1:8443", "https://10.0.0.1:8443"),
    ] {
        let mut head = head(302, &[(name, written)]);
        addresses("localhost:9443").amend(&mut head);
        assert_eq!(String::from_utf8_lossy(&head.headers[0].value), expected, "{name}");
    }
}

const QUESTION: &str = "/api/4.5.2/users/1/preferences?name=firstlogin&name=checkForNotifications";

#[track_caller]
fn preferences(written: &str, expected: Option<&str>) {
    let new = whole(Rewrite::Preferences, written, "localhost:9443", QUESTION).unwrap();
    assert_eq!(new.as_deref(), expected, "{written}");
}

#[test]
fn the_first_login_is_over_for_a_view_only_client_whatever_mirth_keeps_of_it() {
    let done = "<property name=\"firstlogin\">false</property>";
    preferences("<properties/>", Some(&format!("<properties>{done}</properties>")));
    preferences("<properties/>\n", Some(&format!("<properties>{done}</properties>\n")));
    let other = "<property name=\"archivedNotifications\">&lt;set/&gt;</property>";
    let of = |inner: &str| format!("<properties>\n  {inner}\n</properties>");
    preferences(&of(other), Some(&format!("<properties>\n  {other}\n{done}</properties>")));
    preferences(&of("<property name=\"firstlogin\">true</property>"), Some(&of(done)));
    preferences(&of(&(done.to_owned() + other)), Some(&of(&(done.to_owned() + other))));
}

#[test]
fn the_first_login_is_over_in_json_too() {
    let done = r#"{"$":"false","@name":"firstlogin"}"#;
    let other = r#"{"$":"1","@name":"x"}"#;
    let check = |written: &str, expected: &str| {
        preferences(
            &format!("{{\"properties\":{written}}}"),
            Some(&format!("{{\"properties\":{expected}}}")),
        );
    };
    check("null", &format!("{{\"property\":{done}}}"));
    check("\"\"", &format!("{{\"property\":{done}}}"));
    check(&format!("{{\"property\":{other}}}"), &format!("{{\"property\":[{other},{done}]}}"));
    check(
        &format!("{{\"property\":[{other},{other}]}}"),
        &format!("{{\"property\":[{other},{other},{done}]}}"),
    );
    let unset = r#"{"$":"true","@name":"firstlogin"}"#;
    check(&format!("{{\"property\":[{unset},{other}]}}"), &format!("{{\"property\":[{other},{done}]}}"));
}

#[test]
fn what_is_no_list_of_preferences_passes_as_it_is() {
    for written in
        ["", "17", "<list/>", "<properties><x/>", "{\"list\":null}", "[1]", "<properties class=\"x\"/>"]
    {
        preferences(written, None);
    }
}

#[test]
fn one_preference_is_answered_even_if_mirth_has_none() {
    for status in [200, 204] {
        let mut head = head(status, &[]);
        let target = "/api/users/1/preferences/firstlogin";
        let new = Rewrite::Preference.whole(&mut head, b"", &addresses("localhost:9443"), target);
        assert_eq!((new, head.status), (Ok(Some(b"false".to_vec())), 200));
    }
}

#[test]
fn a_login_in_its_grace_period_is_a_login() {
    let xml = |status: &str| {
        format!(
            "<com.mirth.connect.model.LoginStatus>\n  <status>{status}</status>\n  <message>Your password has expired.</message>\n\
             </com.mirth.connect.model.LoginStatus>"
        )
    };
    let json = |status: &str| {
        format!("{{\"com.mirth.connect.model.LoginStatus\":{{\"status\" : \"{status}\",\"message\":\"x\"}}}}")
    };
    let new = |text: &str| whole(Rewrite::Login, text, "localhost:9443", "/api/users/_login").unwrap();
    assert_eq!(new(&xml("SUCCESS_GRACE_PERIOD")), Some(xml("SUCCESS")));
    assert_eq!(new(&json("SUCCESS_GRACE_PERIOD")), Some(json("SUCCESS")));
    for other in
        [xml("SUCCESS"), xml("FAIL_EXPIRED"), json("FAIL"), "<message>SUCCESS_GRACE_PERIOD</message>".into()]
    {
        assert_eq!(new(&other), None, "{other}");
    }
    assert!(!Rewrite::Login.applies_to(&head(401, &[])), "an expired password is Mirth's to refuse");
}

#[track_caller]
fn chosen(
    access: Access,
    method: &str,
    target: &str,
    template: &str,
    operation: Option<&'static str>,
) -> Option<Rewrite> {
    let names = Named { template: template.into(), operation, changes: false, rule: String::new() };
    Rewrite::of(access, method, target, &names)
}

#[test]
fn addresses_are_set_right_for_every_access_but_logins_for_view_only_alone() {
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let view_only = |rewrite| (access == Access::ReadOnly).then_some(rewrite);
        let launch = Some(Rewrite::LaunchFile);
        assert_eq!(chosen(access, "GET", "/webstart.jnlp?time=1", "/webstart.jnlp", None), launch);
        assert_eq!(chosen(access, "GET", "/mirth/webstart", "/webstart", None), launch);
        assert_eq!(
            chosen(access, "GET", "/webstart/extensions/x.jnlp", "/webstart/extensions/*.jnlp", None),
            launch
        );
        assert_eq!(chosen(access, "GET", "/webstart/client-lib/x.jar", "/webstart/client-lib/*", None), None);
        let dashboard = "/webadmin/DashboardStatistics.action";
        assert_eq!(chosen(access, "GET", dashboard, dashboard, None), Some(Rewrite::Page));
        let all = "/users/{userId}/preferences";
        let preferences = |target| chosen(access, "GET", target, all, Some("getUserPreferences"));
        assert_eq!(preferences(QUESTION), view_only(Rewrite::Preferences));
        assert_eq!(preferences("/api/users/1/preferences"), view_only(Rewrite::Preferences));
        assert_eq!(preferences("/api/users/1/preferences?name=columns"), None);
        assert_eq!(chosen(access, "PUT", "/api/users/1/preferences", all, Some("setUserPreferences")), None);
        let one = "/users/{userId}/preferences/{name}";
        let preference = |target| chosen(access, "GET", target, one, Some("getUserPreference"));
        assert_eq!(preference("/api/users/1/preferences/firstlogin"), view_only(Rewrite::Preference));
        assert_eq!(preference("/api/users/1/preferences/columns"), None);
        let login = chosen(access, "POST", "/api/users/_login", "/users/_login", Some("login"));
        assert_eq!(login, view_only(Rewrite::Login));
    }
}
