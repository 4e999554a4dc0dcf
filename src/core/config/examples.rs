//! The files in `config/` are documentation that must be true: every key, its default, its form.

use std::path::Path;

use super::agent::AgentConfig;
use super::connector::Connector;
use super::console::ConsoleWay;
use super::gateway::GatewayConfig;

const AGENT: &str = include_str!("../../../config/agent.toml");
const GATEWAY: &str = include_str!("../../../config/gateway.toml");
const CONNECTOR: &str = include_str!("../../../config/connector.toml");

/// Returns the text with the lines after `mark` taken as written.
fn uncommented(text: &str, mark: &str) -> String {
    let is_key = |rest: &str| {
        rest.starts_with('[')
            || rest
                .split_once(" = ")
                .is_some_and(|(key, _)| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
    };
    let lines = text.lines().map(|line| line.strip_prefix(mark).filter(|rest| is_key(rest)).unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns every key a file may have, as its reader answers an unknown one.
fn keys_of(problems: &str) -> Vec<&str> {
    let list = problems.split_once("the keys here are ").expect("lists the keys").1;
    list.lines().next().expect("one line").split(", ").map(|key| key.trim_matches('`')).collect()
}

fn agent(text: &str) -> AgentConfig {
    AgentConfig::parse(text, Path::new("/etc/adit")).expect("parses")
}

fn gateway(text: &str) -> GatewayConfig {
    GatewayConfig::parse(text, Path::new("/etc/adit")).expect("parses")
}

#[test]
fn the_example_files_parse() {
    assert_eq!(agent(AGENT).entries().count(), 4);
    assert_eq!(gateway(GATEWAY).trust_domain.as_str(), "example.org");
    assert!(Connector::parse(CONNECTOR).expect("parses").token.is_some());
}

#[test]
fn the_defaults_the_example_files_show_are_the_defaults() {
    for (text, least) in [(AGENT, 8), (GATEWAY, 3)] {
        let shown = uncommented(text, "# ").lines().filter(|line| !line.starts_with('#')).count();
        let written = text.lines().filter(|line| !line.starts_with('#')).count();
        assert!(shown - written >= least, "only {} defaults are shown", shown - written);
    }
    assert_eq!(agent(&uncommented(AGENT, "# ")), agent(AGENT));
    assert_eq!(gateway(&uncommented(GATEWAY, "# ")), gateway(GATEWAY));
}

#[test]
fn the_example_files_show_every_key() {
    let whole_agent = uncommented(&uncommented(AGENT, "# "), "#~ ");
    let whole_gateway = uncommented(&uncommented(GATEWAY, "# "), "#~ ");
    assert!(agent(&whole_agent).metrics.is_some());
    assert!(agent(&whole_agent).proxies.proxy.is_some());
    assert!(gateway(&whole_gateway).metrics.is_some() && gateway(&whole_gateway).database.is_some());

    let check = |problems: String, part: &str| {
        for key in keys_of(&problems) {
            let shown = part.lines().any(|line| {
                line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
                    || line == format!("[[{key}]]")
                    || line == format!("[{key}]")
            });
            assert!(shown, "`{key}` is not shown");
        }
    };
    let refused = |text: &str| AgentConfig::parse(text, Path::new("")).expect_err("refused").to_string();
    check(refused("zzzzzzzzz = 1"), &whole_agent);
    let (head, entries) = whole_agent.split_once("[[p2p_source]]").expect("has a source");
    let (_, way) = head.split_once("[gateway]").expect("has a way to the gateway");
    check(refused("[gateway]\nzzzzzzzzz = 1"), way);
    let (source, rest) = entries.split_once("[[p2p_target]]").expect("has a target");
    let (target, rest) = rest.split_once("[[admin_managing]]").expect("has a managing side");
    let (managing, managed) = rest.split_once("[[admin_managed]]").expect("has a managed side");
    check(refused("[[p2p_source]]\nzzzzzzzzz = 1"), source);
    check(refused("[[p2p_target]]\nzzzzzzzzz = 1"), target);
    check(refused("[[admin_managing]]\nzzzzzzzzz = 1"), managing);
    check(refused("[[admin_managed]]\nzzzzzzzzz = 1"), managed);
    let refused = GatewayConfig::parse("zzzzzzzzz = 1", Path::new("")).expect_err("refused").to_string();
    check(refused, &whole_gateway);
    let (_, relay) = whole_gateway.split_once("[relay]").expect("has a relay");
    let refused =
        GatewayConfig::parse("[relay]\nzzzzzzzzz = 1", Path::new("")).expect_err("refused").to_string();
    check(refused, relay);
    let (_, console) = whole_gateway.split_once("[console]").expect("has a console");
    let other_way = uncommented(console, "#~~ ");
    let refused =
        GatewayConfig::parse("[console]\nzzzzzzzzz = 1", Path::new("")).expect_err("refused").to_string();
    check(refused, &uncommented(&other_way, "#~~~ "));
    let (rest, _) = whole_gateway.split_once("[console]").expect("has a console");
    let without_files = |console: &str| {
        let has_none = |line: &&str| !line.starts_with("certificate") && !line.starts_with("key");
        let lines: Vec<_> = console.lines().filter(has_none).collect();
        gateway(&format!("{rest}[console]{}", lines.join("\n"))).console.expect("has a console")
    };
    assert!(without_files(&other_way).listen().is_some());
    let by_acme = without_files(&uncommented(console, "#~~~ "));
    assert!(matches!(by_acme.way, ConsoleWay::Acme(acme) if acme.ca.is_some() && acme.contact.is_some()));
}
