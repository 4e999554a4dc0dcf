use super::*;

const SOURCE: &str = r#"
[[p2p_source]]
name     = "adt-to-stmary"
id       = "0d5c2a7e-93c1-4b6f-8d15-6a1e2f3b4c5d"
peer     = "6f1c0b52-41de-4c3a-9a72-0e6a8d1b7f42"
protocol = "mllp"
listen   = "127.0.0.1:6661"
"#;
const TARGET: &str = r#"
[[p2p_target]]
name       = "ct-from-lakeside"
id         = "77a1c3de-1f24-4f0e-8a53-b7d1f0a9c8e6"
peer       = "b201f7aa-6c1d-4e8b-9c40-3d2e5f6a7b81"
protocol   = "dicom"
forward_to = "mirth.local:4242"
"#;

fn parse(text: &str) -> Result<AgentConfig, ConfigProblems> {
    AgentConfig::parse(text, Path::new("/etc/adit"))
}

#[track_caller]
fn check_problems(text: &str, expected: &[&str]) {
    let problems = parse(text).expect_err("was accepted");
    let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

#[test]
fn an_empty_file_means_every_default() {
    let config = parse("").expect("parses");
    assert_eq!(
        config,
        AgentConfig {
            connector: None,
            state: "/var/lib/adit".into(),
            metrics: None,
            listen: "[::]:0".parse().expect("address"),
            proxies: ProxySettings::default(),
            direct_addresses: vec![],
            congestion: Congestion::Bbr,
            log: LogFormat::Text,
            sources: vec![],
            targets: vec![],
            managing: vec![],
            managed: vec![],
        }
    );
}

#[test]
fn a_file_with_a_password_for_the_proxy_holds_a_secret() {
    let open =
        parse("[gateway]\nproxy = \"http://proxy:3128\"\nno_proxy = [\".example.org\"]").expect("parses");
    assert!(!open.holds_secret());
    assert_eq!(open.proxies.no_proxy.as_deref().map(<[_]>::len), Some(1));
    let secret = parse("[gateway]\nproxy = \"http://mirth:hunter2@proxy:3128\"").expect("parses");
    assert!(secret.holds_secret());
    assert!(!format!("{secret:?}").contains("hunter2"));
}

#[test]
fn a_problem_with_the_proxy_never_quotes_it() {
    check_problems(
        "[gateway]\nproxy = \"http://mirth:hunter@2@proxy:3128\"\nno_proxy = [\"a b\"]",
        &[
            "line 2: gateway proxy is [secret]: expected the user and the password of the proxy percent-encoded, as in \
             http://user:p%40ss@proxy.example.org:3128 for p@ss",
            "line 3: gateway no_proxy is a list of 1 element: element 1, \"a b\": expected a host such as \
             gateway.example.org, .example.org for those below it, an address, a network, or *",
        ],
    );
}

#[test]
fn a_proxys_password_under_another_key_is_never_quoted() {
    const URL: &str = "\"http://mirth:hunter2@proxy:3128\"";
    for text in [
        format!("[gateway]\nno_proxy = {URL}"),
        format!("[gateway]\nno_proxy = [{URL}]"),
        format!("state = [{URL}]"),
        format!("metrics = {URL}"),
        format!("listen = {URL}"),
    ] {
        let problems = parse(&text).expect_err("refused").to_string();
        assert!(!problems.contains("hunter2"), "{problems}");
    }
}

#[test]
fn as_many_hosts_as_may_go_without_the_proxy_and_no_more() {
    let parse_many = |count: usize| {
        let hosts: Vec<_> = (0..count).map(|number| format!("\"host{number}.example.org\"")).collect();
        parse(&format!("[gateway]\nproxy = \"http://proxy:3128\"\nno_proxy = [{}]", hosts.join(", ")))
    };
    assert!(parse_many(limits::NO_PROXY_MAX).is_ok());
    assert!(parse_many(limits::NO_PROXY_MAX + 1).is_err());
}

#[test]
fn an_entry_has_the_limits_of_its_protocol_unless_the_file_says_otherwise() {
    let config = parse(&format!("{SOURCE}{TARGET}")).expect("parses");
    let limits: Vec<_> = config
        .entries()
        .map(|(side, entry)| (side, entry.name.as_str(), entry.streams_max, entry.stall_limit.as_secs()))
        .collect();
    assert_eq!(
        limits,
        [(Side::Source, "adt-to-stmary", 1_024, 4), (Side::Target, "ct-from-lakeside", 1_024, 60)]
    );
    assert!(config.targets[0].probe);
    assert!(!config.holds_secret());

    let own =
        format!("{SOURCE}streams_max = 16\nstall_limit_seconds = 10\nsecret = \"{}\"\n", "5a".repeat(32));
    let config = parse(&own).expect("parses");
    let entry = &config.sources[0].entry;
    assert_eq!((entry.streams_max, entry.stall_limit), (16, Duration::from_secs(10)));
    assert!(config.holds_secret());
}

#[test]
fn all_entries_of_a_peer_share_the_path_that_any_of_them_names() {
    let second = SOURCE.replace("adt-to", "oru-to").replace("0d5c", "0d5d").replace("6661", "6662");
    let config = parse(&format!("{SOURCE}{second}path = \"relay\"\n{TARGET}")).expect("parses");
    let paths: Vec<_> = config.entries().map(|(_, entry)| entry.path).collect();
    assert_eq!(
        paths,
        [PathPreference::only(PathKind::Relay), PathPreference::only(PathKind::Relay), PathPreference::AUTO]
    );
    check_problems(
        &format!("{SOURCE}path = \"direct\"{second}path = \"relay\"\n"),
        &[
            "line 15: p2p_source \"oru-to-stmary\" path is \"relay\": write one path for all entries of a peer; \
           p2p_source \"adt-to-stmary\" on line 2 allows direct",
        ],
    );
    check_problems(
        &format!("{SOURCE}path = \"udp\"\n"),
        &[
            "line 8: p2p_source \"adt-to-stmary\" path is \"udp\": expected \"auto\" or \"direct\" or \"relay\" or \
             \"tcp\"",
        ],
    );
}

#[test]
fn an_owner_prefers_paths_in_an_order_and_allows_no_other() {
    let check = |line: &str, expected: &str| {
        let config = parse(&format!("{SOURCE}{line}\n")).expect("parses");
        assert_eq!(config.sources[0].entry.path.to_string(), expected, "{line}");
    };
    check("", "auto");
    check("path = \"tcp\"", "tcp");
    check("prefer = [\"relay\", \"direct\"]", "relay,direct");
    check("prefer = [\"tcp\", \"relay\", \"direct\"]", "tcp,relay,direct");
    check("path = \"relay\"\nprefer = [\"relay\"]", "relay");
    check("prefer = [\"direct\", \"relay\", \"tcp\"]", "auto");

    let second = SOURCE.replace("adt-to", "oru-to").replace("0d5c", "0d5d").replace("6661", "6662");
    let both = "prefer = [\"relay\"]\n";
    parse(&format!("{SOURCE}{both}{second}path = \"relay\"\n")).expect("the two say the same");
    check_problems(
        &format!("{SOURCE}path = \"tcp\"\n{both}"),
        &["line 9: p2p_source \"adt-to-stmary\" prefer is a list of 1 element: keep this or `path`, which \
             says \"tcp\"; they mean the same"],
    );
    check_problems(
        &format!("{SOURCE}path = \"relay\"\n{second}prefer = [\"relay\", \"tcp\"]\n"),
        &["line 16: p2p_source \"oru-to-stmary\" prefer is a list of 2 elements: write one path for all \
             entries of a peer; p2p_source \"adt-to-stmary\" on line 2 allows relay"],
    );
    for (list, remedy) in [
        ("[]", "a list of 0 elements: expected a list in brackets with 1 to 3 elements"),
        (
            "[\"tcp\", \"tcp\"]",
            "a list of 2 elements: tcp is named twice; name each path once, most wanted first",
        ),
        ("[\"udp\"]", "a list of 1 element: element 1, \"udp\": expected \"direct\" or \"relay\" or \"tcp\""),
        ("\"tcp\"", "\"tcp\": expected a list in brackets with 1 to 3 elements, as in key = [\"value\"]"),
    ] {
        let expected = format!("line 8: p2p_source \"adt-to-stmary\" prefer is {remedy}");
        check_problems(&format!("{SOURCE}prefer = {list}\n"), &[&expected]);
    }
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let config = parse("connector = \"connector.toml\"\nstate = \"/srv/adit\"\n").expect("parses");
    assert_eq!(config.connector, Some("/etc/adit/connector.toml".into()));
    assert_eq!(config.state, Path::new("/srv/adit"));
}

#[test]
fn every_problem_is_reported_at_once_from_its_line_to_its_remedy() {
    let text = r#"metrics = "0.0.0.0:9464"
listen = "6661"
congestion = "reno"
metric = 1
direct_addresses = ["192.0.2.1:4433", "0.0.0.0:1"]

[[p2p_source]]
name = "two words"
protocol = "hl7"
listen = "127.0.0.1:0"
streams_max = 0
"#;
    check_problems(
        text,
        &[
            "line 1: metrics is \"0.0.0.0:9464\": expected a loopback address such as 127.0.0.1:9464: metrics \
             are served without authentication; let a collector on this host pass them on",
            "line 2: listen is \"6661\": expected an address and a port, such as 127.0.0.1:6661 or [::1]:6661",
            "line 3: congestion is \"reno\": expected \"bbr\" or \"cubic\"",
            "line 4: metric is no key of this file: did you mean `metrics`?",
            "line 5: direct_addresses is a list of 2 elements: element 2, \"0.0.0.0:1\": expected an address that \
             peers can send to",
            "line 7: p2p_source \"two words\" id is missing: write the connection's id from `adit admin \
             connection entry`",
            "line 7: p2p_source \"two words\" peer is missing: write the other server's id from `adit admin \
             connection entry`",
            "line 8: p2p_source \"two words\" name is \"two words\": expected up to 64 letters, digits, `.`, \
             `-` and `_`, such as adt-to-stmary, and no id",
            "line 9: p2p_source \"two words\" protocol is \"hl7\": expected \"mllp\" or \"dicom\" or \"tcp\"",
            "line 10: p2p_source \"two words\" listen is \"127.0.0.1:0\": expected a port other than 0: others \
             must know it beforehand",
            "line 11: p2p_source \"two words\" streams_max is 0: expected a whole number from 1 to 16384, \
             without quotes",
        ],
    );
}

#[test]
fn a_name_an_id_or_a_port_belongs_to_one_entry() {
    let text = format!("metrics = \"127.0.0.1:6661\"{SOURCE}{SOURCE}");
    check_problems(
        &text,
        &[
            "line 7: p2p_source \"adt-to-stmary\" listen is \"127.0.0.1:6661\": write another port; `metrics` \
             listens on 127.0.0.1:6661",
            "line 10: p2p_source \"adt-to-stmary\" name is \"adt-to-stmary\": write another name; p2p_source \
             \"adt-to-stmary\" on line 2 has this one",
            "line 11: p2p_source \"adt-to-stmary\" id is \"0d5c2a7e-93c1-4b6f-8d15-6a1e2f3b4c5d\": keep one \
             entry for a connection; p2p_source \"adt-to-stmary\" on line 2 has this id",
            "line 14: p2p_source \"adt-to-stmary\" listen is \"127.0.0.1:6661\": write another port; `metrics` \
             listens on 127.0.0.1:6661",
        ],
    );
}

#[test]
fn a_secret_never_appears_in_a_problem() {
    let text = format!("{SOURCE}secret = \"{}\"\n", "5a".repeat(31));
    check_problems(
        &text,
        &[
            "line 8: p2p_source \"adt-to-stmary\" secret is [secret]: expected the 64 hexadecimal digits that \
           `adit admin connection view-secret` shows",
        ],
    );
    let misplaced = format!("{SOURCE}peer_key = \"{}\"\n", "5a".repeat(32));
    check_problems(
        &misplaced,
        &[
            "line 8: p2p_source \"adt-to-stmary\" peer_key is 64 hexadecimal digits: expected `sha256:` followed \
           by 64 hexadecimal digits",
        ],
    );
    let broken = format!("{SOURCE}secret = \"{}\n", "5a".repeat(32));
    assert!(!parse(&broken).expect_err("refused").to_string().contains("5a5a"));
}

#[test]
fn an_entry_in_single_brackets_is_told_to_use_two() {
    check_problems(
        "[p2p_source]\nname = \"a\"\n",
        &["line 1: p2p_source is a table: expected entries that each begin with `[[p2p_source]]`"],
    );
}

#[test]
fn an_unknown_key_near_no_other_is_answered_with_all_keys() {
    check_problems(
        "zzzzzzzz = 1\n",
        &["line 1: zzzzzzzz is no key of this file: remove it; the keys here are `admin_managed`, \
           `admin_managing`, `congestion`, `connector`, `direct_addresses`, `gateway`, `listen`, `log`, `metrics`, `p2p_source`, `p2p_target`, `state`"],
    );
}

#[test]
fn one_entry_above_the_bound_is_refused() {
    let entries = |count: usize| -> String {
        (0..count)
            .map(|number| {
                SOURCE
                    .replace("adt-to-stmary", &format!("adt-{number}"))
                    .replace("4c5d\"", &format!("{number:04x}\""))
                    .replace("6661", &(1_024 + number).to_string())
            })
            .collect()
    };
    assert_eq!(parse(&entries(limits::ENTRIES_MAX)).expect("parses").sources.len(), limits::ENTRIES_MAX);
    check_problems(
        &entries(limits::ENTRIES_MAX + 1),
        &["line 2: p2p_source is a list of 1025 elements: expected at most 1024 entries"],
    );
}

const MANAGING: &str = r#"
[[admin_managing]]
name   = "stmary-mirth"
id     = "3c9e1f70-2a4b-4d8c-b6e5-0f1a2b3c4d5e"
peer   = "6f1c0b52-41de-4c3a-9a72-0e6a8d1b7f42"
listen = "127.0.0.1:8443"
"#;
const MANAGED: &str = r#"
[[admin_managed]]
name  = "lakeside-views-us"
id    = "b3f0a1c2-5d6e-4f70-8a91-b2c3d4e5f607"
peer  = "b201f7aa-6c1d-4e8b-9c40-3d2e5f6a7b81"
mirth = "https://127.0.0.1:9443"
"#;

#[test]
fn an_admin_entry_allows_no_more_than_its_file_says() {
    let config = parse(&format!("{MANAGING}{MANAGED}")).expect("parses");
    let managed = &config.managed[0];
    assert_eq!(managed.max_access(), Access::ReadOnly);
    assert!(managed.hide.is_empty() && managed.show.is_empty() && managed.mirth_key.is_none());
    assert!(managed.mask, "credentials are masked unless the owner says so");
    assert_eq!((managed.entry.streams_max, managed.entry.stall_limit.as_secs()), (64, 60));
    let managing = &config.managing[0];
    for (address, may) in [
        ("127.0.0.1", true),
        ("::1", true),
        ("::ffff:127.0.0.1", true),
        ("10.1.2.3", false),
        ("fe80::1", false),
    ] {
        assert_eq!(managing.lets_in(address.parse().expect("address")), may, "{address}");
    }
    let more = format!(
        "{MANAGED}max_access = \"read-write\"\nhide = [\"messages\", \"users\"]\nshow = [\"server-property\"]\n\
         mask = false\n"
    );
    let managed = parse(&more).expect("parses").managed.remove(0);
    assert_eq!(managed.max_access(), Access::ReadWrite);
    assert_eq!(managed.hide.len() + managed.show.len(), 3);
    assert!(!managed.mask);
}

#[test]
fn a_listener_beyond_this_host_names_who_may_connect() {
    let wide = MANAGING.replace("127.0.0.1:8443", "10.1.2.3:8443");
    check_problems(
        &wide,
        &[
            "line 6: admin_managing \"stmary-mirth\" listen is \"10.1.2.3:8443\": write a loopback address, or name \
           the networks that may connect with `allow_from = [\"10.1.2.0/24\"]`",
        ],
    );
    let named = format!("{wide}allow_from = [\"10.1.0.0/16\", \"2001:db8::/64\"]\n");
    let managing = parse(&named).expect("parses").managing.remove(0);
    for (address, may) in
        [("10.1.9.9", true), ("::ffff:10.1.9.9", true), ("10.2.0.1", false), ("2001:db8::5", true)]
    {
        assert_eq!(managing.lets_in(address.parse().expect("address")), may, "{address}");
    }
    check_problems(
        &format!("{wide}allow_from = [\"10.1.2.3/16\"]\n"),
        &[
            "line 6: admin_managing \"stmary-mirth\" listen is \"10.1.2.3:8443\": write a loopback address, or name \
             the networks that may connect with `allow_from = [\"10.1.2.0/24\"]`",
            "line 7: admin_managing \"stmary-mirth\" allow_from is a list of 1 element: element 1, \
             \"10.1.2.3/16\": expected a network; for this one write \"10.1.0.0/16\"",
        ],
    );
    check_problems(
        &format!("{MANAGING}allow_from = [\"0.0.0.0/0\"]\n"),
        &["line 7: admin_managing \"stmary-mirth\" allow_from is a list of 1 element: element 1, \
             \"0.0.0.0/0\": expected a network smaller than every address there is"],
    );
}

#[test]
fn an_unknown_word_is_answered_with_the_words_there_are() {
    check_problems(
        &format!("{MANAGED}hide = [\"patients\"]\nshow = [\"messages\"]\nmax_access = \"full\"\n"),
        &[
            "line 7: admin_managed \"lakeside-views-us\" hide is a list of 1 element: element 1, \"patients\": \
             expected \"messages\" or \"scripts\" or \"configuration-map\" or \"server-settings\" or \
             \"server-log\" or \"users\" or \"events\" or \"global-maps\"",
            "line 8: admin_managed \"lakeside-views-us\" show is a list of 1 element: element 1, \"messages\": \
             expected \"server-configuration\" or \"server-property\"",
            "line 9: admin_managed \"lakeside-views-us\" max_access is \"full\": expected \"read-only\" or \
             \"read-write\"",
        ],
    );
}

#[test]
fn random_text_never_panics() {
    use proptest::prelude::{ProptestConfig, proptest};
    proptest!(ProptestConfig::with_cases(512), |(text in "[\\[\\]a-z_0-9=\"'.:\n #{},-]{0,200}")| {
        drop(parse(&text));
        drop(parse(&format!("{SOURCE}{text}")));
    });
}

#[test]
fn a_user_who_may_connect_is_a_name_or_a_number() {
    let config = parse(&format!("{SOURCE}allow_users = [\"mirth\", 1000, 0]")).expect("parses");
    let named = vec![LocalUser::Name("mirth".into()), LocalUser::Id(1_000), LocalUser::Id(0)];
    assert_eq!(config.sources[0].allow_users, Some(named));
    assert_eq!(parse(SOURCE).expect("parses").sources[0].allow_users, None);
}

#[test]
fn a_user_that_cannot_be_told_from_others_is_a_problem() {
    let of = |users: &str| format!("{SOURCE}allow_users = {users}");
    let problem = |users: &str, knows: bool| {
        AgentConfig::parse_on_host(&of(users), Path::new(""), &|_| knows).expect_err("refused").to_string()
    };
    assert!(problem("[\"ghost\"]", false).contains("expected a user of this host"));
    let full = (0..limits::ALLOWED_USERS_MAX).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    assert!(AgentConfig::parse(&of(&format!("[{full}]")), Path::new("")).is_ok());
    assert!(problem(&format!("[{full},1000]"), true).contains("with 1 to 64 elements"));
    for users in ["[65534]", "[4294967295]", "[-1]", "[1.5]", "[]", "\"mirth\"", "[true]"] {
        assert!(problem(users, true).contains("allow_users"), "{users}");
    }
}

#[test]
fn users_are_known_on_loopback_only() {
    let remote = SOURCE.replace("127.0.0.1", "0.0.0.0");
    let problem = parse(&format!("{remote}allow_users = [0]")).expect_err("refused").to_string();
    assert!(problem.contains("let `listen` be a loopback address"), "{problem}");
}
