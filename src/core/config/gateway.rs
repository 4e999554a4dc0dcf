//! The gateway's file.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::console::{self, ConsoleConfig};
use super::document::{self, Section};
use super::problem::ConfigProblems;
use super::value::Expected;
use super::{DatabaseSetting, HostPort, LogFormat, TrustDomain, value};
use crate::domain::limits::{IDENTITY_PROVIDERS_MAX, RELAY_MEGABITS_MAX};

pub const STATE_DEFAULT: &str = "/var/lib/adit-gateway";
pub const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 443);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayConfig {
    /// How agents reach this gateway; goes into connector files.
    pub name: HostPort,
    /// UDP for control links and the relay; TCP for enrolment, for agents without UDP and for people.
    pub listen: SocketAddr,
    /// CA, sealing key, and the database where `database` is absent.
    pub state: PathBuf,
    /// Absent: `SQLite` in the state folder.
    pub database: Option<DatabaseSetting>,
    /// In every certificate the gateway signs; another one makes every agent enrol again.
    pub trust_domain: TrustDomain,
    /// Loopback; absent: no metrics are served.
    pub metrics: Option<SocketAddr>,
    pub log: LogFormat,
    pub relay: RelayConfig,
    /// Absent: people come in where agents do, and see the gateway's own CA.
    pub console: Option<ConsoleConfig>,
    pub identity_providers: IdentityProviders,
}

/// Which identity providers the gateway may ask that organizations name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdentityProviders {
    /// URLs whose host and port may be at an address that is not public; others must be at one.
    pub listed: Vec<String>,
    /// CAs beside the public ones, in PEM.
    pub ca: Option<PathBuf>,
}

/// How much the gateway forwards between agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayConfig {
    pub enabled: bool,
    /// For each organization, what its agents send; absent: as much as they can.
    pub megabits_per_second_per_organization: Option<NonZeroU32>,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self { enabled: true, megabits_per_second_per_organization: None }
    }
}

impl GatewayConfig {
    /// Returns whether a text looks like a gateway's file rather than an agent's, right or wrong.
    #[must_use]
    pub fn is_meant_by(text: &str) -> bool {
        let (table, _) = toml::de::DeTable::parse_recoverable(text);
        ["name", "trust_domain"].into_iter().any(|key| table.get_ref().contains_key(key))
    }

    /// Returns whether the file holds a secret: others must not read it.
    #[must_use]
    pub fn holds_secret(&self) -> bool {
        self.database.as_ref().is_some_and(DatabaseSetting::holds_secret)
    }

    /// Returns where browsers find this gateway (RFC 6454 §6.2).
    #[must_use]
    pub fn origin(&self) -> String {
        let at = self.console.as_ref().map_or(&self.name, |console| &console.name).to_string();
        format!("https://{}", at.strip_suffix(":443").unwrap_or(&at))
    }

    /// Reads a whole file; relative paths start at `base`, the folder it stands in.
    pub fn parse(text: &str, base: &Path) -> Result<Self, ConfigProblems> {
        document::parse(text, document::Kind::Gateway, |file| {
            let name = file.required(
                "name",
                "write how agents reach this gateway, such as \"gateway.example.org:443\"",
                value::text,
            );
            let trust_domain = file.required(
                "trust_domain",
                "write a domain of yours for the certificates, such as \"example.org\"",
                value::text,
            );
            let listen = file.optional("listen", value::fixed_address).unwrap_or(LISTEN_DEFAULT);
            let state = file.optional("state", |value| value::path(base, value));
            let database = file.optional("database", |value| value::database(base, value));
            let metrics = file.optional("metrics", value::loopback_address);
            let log = file.optional("log", |value| value::word(&LogFormat::WORDS, value));
            if metrics.is_some_and(|metrics| metrics.port() == listen.port()) {
                file.clash("metrics", format!("write another port; `listen` is on {listen}"));
            }
            let providers = file.optional("identity_providers", |value| {
                value::list(1..=IDENTITY_PROVIDERS_MAX, value, read_issuer)
            });
            let ca = file.optional("identity_provider_ca", |value| value::path(base, value));
            let relay = file.optional_table("relay", |section| Some(read_relay(section)));
            let taken = [Some(listen.port()), metrics.map(|metrics| metrics.port())];
            let console = file.optional_table("console", |section| {
                let console = console::read(base, name.as_ref(), section)?;
                if console.listen().is_some_and(|listen| taken.contains(&Some(listen.port()))) {
                    section.clash(
                        "listen",
                        "write another port; `listen` or `metrics` of the gateway has this one".into(),
                    );
                }
                Some(console)
            });
            Some(Self {
                name: name?,
                listen,
                state: state.unwrap_or_else(|| STATE_DEFAULT.into()),
                database,
                trust_domain: trust_domain?,
                metrics,
                log: log.unwrap_or_default(),
                relay: relay.unwrap_or_default(),
                console,
                identity_providers: IdentityProviders { listed: providers.unwrap_or_default(), ca },
            })
        })
    }
}

fn read_relay(section: &mut Section<'_, '_>) -> RelayConfig {
    let enabled = section.optional("enabled", value::boolean);
    let megabits = section.optional("megabits_per_second_per_organization", |value| {
        value::number(1..=RELAY_MEGABITS_MAX, value)
    });
    RelayConfig {
        enabled: enabled.unwrap_or(RelayConfig::default().enabled),
        megabits_per_second_per_organization: megabits.and_then(NonZeroU32::new),
    }
}

fn read_issuer(value: &DeValue<'_>) -> Result<String, Expected> {
    value::https_url("an issuer such as \"https://keycloak.hospital.example/realms/main\"", value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "name = \"gateway.example.org:443\"\ntrust_domain = \"example.org\"\n";

    #[test]
    fn a_name_with_a_trust_domain_is_all_a_gateway_needs() {
        let config = GatewayConfig::parse(LEAST, Path::new("/etc/adit")).expect("parses");
        assert_eq!(config.listen, "[::]:443".parse().expect("address"));
        assert_eq!(config.state, Path::new(STATE_DEFAULT));
        assert_eq!((config.metrics, config.log), (None, LogFormat::Text));
    }

    #[test]
    fn the_relay_is_on_without_a_limit_unless_its_table_says_otherwise() {
        let parse = |relay: &str| {
            let text = format!("{LEAST}{relay}");
            GatewayConfig::parse(&text, Path::new("")).map(|config| config.relay)
        };
        let limit = |megabits| RelayConfig {
            megabits_per_second_per_organization: NonZeroU32::new(megabits),
            ..RelayConfig::default()
        };
        assert_eq!(parse(""), Ok(RelayConfig { enabled: true, megabits_per_second_per_organization: None }));
        assert_eq!(parse("[relay]\n"), Ok(RelayConfig::default()));
        assert_eq!(parse("[relay]\nenabled = false\n").map(|relay| relay.enabled), Ok(false));
        for megabits in [1, RELAY_MEGABITS_MAX] {
            let relay = format!("[relay]\nmegabits_per_second_per_organization = {megabits}\n");
            assert_eq!(parse(&relay), Ok(limit(megabits)));
        }
        for wrong in ["relay = true", "[relay]\nenable = false", "[relay]\nenabled = 1"] {
            assert_eq!(parse(wrong).expect_err(wrong).iter().count(), 1);
        }
        for megabits in ["0", "1_000_001", "0.5"] {
            let relay = format!("[relay]\nmegabits_per_second_per_organization = {megabits}\n");
            let problems = parse(&relay).expect_err("refused").to_string();
            assert!(problems.contains("expected a whole number from 1 to 1000000"), "{problems}");
        }
    }

    #[test]
    fn a_gateways_file_is_told_from_an_agents_even_when_it_is_wrong() {
        assert!(GatewayConfig::is_meant_by("name = 1\nlisten = \n"));
        assert!(!GatewayConfig::is_meant_by(include_str!("../../../config/agent.toml")));
        assert!(!GatewayConfig::is_meant_by(""));
    }

    #[test]
    fn a_file_of_another_kind_is_named() {
        let agents = GatewayConfig::parse(include_str!("../../../config/agent.toml"), Path::new(""));
        let said = agents.expect_err("refused").to_string();
        assert_eq!(said, "this is an agent's file: expected a gateway's file; name that one");
        let gateways = crate::config::connector::Connector::parse(LEAST).expect_err("refused").to_string();
        assert!(gateways.starts_with("this is a gateway's file"), "{gateways}");
    }

    #[test]
    fn an_unquoted_value_is_to_be_quoted() {
        for line in ["name = gateway.example.org:443", "listen = 0.0.0.0:443"] {
            let said = GatewayConfig::parse(line, Path::new("")).expect_err(line).to_string();
            assert!(said.contains("put the value in quotes") && said.starts_with("line 1"), "{said}");
        }
    }

    #[test]
    fn the_database_is_in_the_state_folder_unless_a_url_or_the_file_of_one_is_named() {
        let parse = |database: &str| {
            let text = format!("{LEAST}{database}");
            GatewayConfig::parse(&text, Path::new("/etc/adit"))
        };
        assert_eq!(parse("").unwrap().database, None);
        let url = parse("database = \"postgres://adit:hunter2@db/adit\"").unwrap();
        assert!(url.holds_secret());
        assert!(!format!("{url:?}").contains("hunter2"));
        let file = parse("database = \"database-url\"").unwrap();
        assert_eq!(file.database, Some(DatabaseSetting::File("/etc/adit/database-url".into())));
        assert!(!file.holds_secret());
        for wrong in ["\"mysql://adit:hunter2@db\"", "\"postgres://db/adit?passwrd=hunter2\"", "\"\"", "1"] {
            let said = parse(&format!("database = {wrong}")).expect_err(wrong).to_string();
            assert!(said.contains("database is [secret]: expected") && !said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn identity_providers_are_listed_by_their_issuers_over_https() {
        let parse = |list: &str| {
            let text = format!("{LEAST}identity_providers = {list}\nidentity_provider_ca = \"ca.pem\"\n");
            GatewayConfig::parse(&text, Path::new("/etc/adit")).map(|config| config.identity_providers)
        };
        let listed = parse("[\"https://keycloak.example:8443/realms/main\"]").unwrap();
        assert_eq!(listed.listed, ["https://keycloak.example:8443/realms/main"]);
        assert_eq!(listed.ca, Some("/etc/adit/ca.pem".into()));
        for right in ["https://[fd00::1]/", "https://[fd00::1]:8443/", "https://10.0.0.1", "https://kc"] {
            parse(&format!("[\"{right}\"]")).expect(right);
        }
        for wrong in [
            "[]",
            "[\"http://keycloak.example\"]",
            "[\"keycloak.example\"]",
            "[\"https://\"]",
            "[\"https://a@b\"]",
            "[\"https://keycloak.example:99999/\"]",
            "[\"https://keycloak.example:/\"]",
            "[\"https://10.0.0.300/\"]",
            "[\"https://*.example/\"]",
        ] {
            parse(wrong).expect_err(wrong);
        }
    }

    #[test]
    fn every_problem_is_reported_at_once_in_the_order_of_lines() {
        let text = "name = \"gateway\"\nlisten = \"[::]:0\"\nmetrics = \"0.0.0.0:9465\"\nconsol = 1\n";
        let problems = GatewayConfig::parse(text, Path::new("")).expect_err("refused");
        let lines: Vec<_> = problems.iter().map(|problem| (problem.line, problem.key.as_str())).collect();
        assert_eq!(
            lines,
            [
                (Some(1), "name"),
                (Some(2), "listen"),
                (Some(3), "metrics"),
                (Some(4), "consol"),
                (None, "trust_domain")
            ]
        );
    }

    #[test]
    fn metrics_cannot_take_the_port_of_the_gateway() {
        let text = format!("{LEAST}metrics = \"127.0.0.1:443\"\n");
        let problems = GatewayConfig::parse(&text, Path::new("")).expect_err("refused");
        assert_eq!(
            problems.to_string(),
            "line 3: metrics is \"127.0.0.1:443\": write another port; `listen` is on [::]:443"
        );
    }
}
