//! How browsers come in, as the gateway's file has it: by a certificate that they trust on the gateway's own port,
//! from files or from an ACME authority, or through a reverse proxy on this host.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::document::Section;
use super::value::Expected;
use super::{HostPort, value};
use crate::domain::limits::TRUSTED_PROXIES_MAX;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleConfig {
    /// What people type.
    pub name: HostPort,
    pub way: ConsoleWay,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleWay {
    /// The gateway's TCP port, for those who ask for the console's name; both files are PEM.
    Certificate { certificate: PathBuf, key: PathBuf },
    /// The same port and name, by a certificate that the gateway gets itself.
    Acme(AcmeConfig),
    /// Plain HTTP on loopback; those named tell whom they are asked by.
    Proxy { listen: SocketAddr, trusted_proxies: Vec<IpAddr> },
}

/// Where the gateway gets a certificate (RFC 8555), the terms of which are agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeConfig {
    /// The URL of the authority's directory.
    pub directory: String,
    /// Where the authority reaches who is responsible, as `mailto:…`.
    pub contact: Option<String>,
    /// CAs beside the public ones that the authority's own certificate may be from, in PEM.
    pub ca: Option<PathBuf>,
}

impl ConsoleConfig {
    /// Returns the address on which plain HTTP is served, if any is.
    #[must_use]
    pub const fn listen(&self) -> Option<SocketAddr> {
        match self.way {
            ConsoleWay::Certificate { .. } | ConsoleWay::Acme(_) => None,
            ConsoleWay::Proxy { listen, .. } => Some(listen),
        }
    }
}

/// Reads `[console]` of a gateway that agents reach at `gateway`.
pub(super) fn read(
    base: &Path,
    gateway: Option<&HostPort>,
    section: &mut Section<'_, '_>,
) -> Option<ConsoleConfig> {
    let name =
        section.required("name", "write what people type, such as \"console.example.org\"", value::web_name);
    let certificate = section.optional("certificate", |value| value::path(base, value));
    let key = section.optional("key", |value| value::path(base, value));
    let listen = section.optional("listen", |value| {
        value::loopback("127.0.0.1:8080: it is plain HTTP, for a reverse proxy on this host", value)
    });
    let trusted_proxies = section.optional("trusted_proxies", |value| {
        value::list(1..=TRUSTED_PROXIES_MAX, value, value::host_address)
    });
    let acme = read_acme(base, section);
    let is_proxied = section.has("listen");
    if is_proxied {
        for key in ["certificate", "key", "acme"] {
            section
                .clash(key, "remove it, or `listen`: behind a reverse proxy it is that which has one".into());
        }
    } else {
        section.clash("trusted_proxies", "remove it, or write where they connect to, as `listen`".into());
        check_name(gateway, name.as_ref()?, section);
    }
    let way = if is_proxied {
        ConsoleWay::Proxy { listen: listen?, trusted_proxies: trusted_proxies.unwrap_or_default() }
    } else if section.has("acme") {
        for key in ["certificate", "key"] {
            section.clash(key, "remove it, or `acme`: that gets a certificate by itself".into());
        }
        ConsoleWay::Acme(acme?)
    } else {
        let pem = "write the path of a PEM file: the certificate first, then those that lead to its CA; or where the \
                   gateway gets one, as `acme`; or, behind a reverse proxy, `listen`";
        section.required("certificate", pem, |_| Ok(()));
        section.required("key", "write the path of the certificate's key in PEM", |_| Ok(()));
        ConsoleWay::Certificate { certificate: certificate?, key: key? }
    };
    Some(ConsoleConfig { name: name?, way })
}

fn check_name(gateway: Option<&HostPort>, name: &HostPort, section: &mut Section<'_, '_>) {
    if name.address().is_some() {
        section.clash("name", "write a DNS name: browsers name no address when they connect".into());
    } else if gateway.is_some_and(|gateway| gateway.host() == name.host()) {
        section.clash("name", ONE_NAME.into());
    }
}

fn read_acme(base: &Path, section: &mut Section<'_, '_>) -> Option<AcmeConfig> {
    let directory = section.optional("acme", |value| {
        value::https_url("a directory such as \"https://acme-v02.api.letsencrypt.org/directory\"", value)
    });
    let contact = section.optional("acme_contact", mail_link);
    let ca = section.optional("acme_ca", |value| value::path(base, value));
    let agreed = section.optional("acme_terms_of_service_agreed", agreement);
    if section.has("acme") {
        let terms = "read the authority's terms of service, and write true to agree to them";
        section.required("acme_terms_of_service_agreed", terms, |_| Ok(()));
    } else {
        for key in ["acme_contact", "acme_ca", "acme_terms_of_service_agreed"] {
            section.clash(key, "remove it, or write the authority's directory, as `acme`".into());
        }
    }
    agreed?;
    Some(AcmeConfig { directory: directory?, contact, ca })
}

fn agreement(value: &DeValue<'_>) -> Result<(), Expected> {
    let is_agreed = value::boolean(value)?;
    let no_order = || {
        Expected(
            "expected true: no authority signs for who does not agree; write it, or remove `acme`".into(),
        )
    };
    if is_agreed { Ok(()) } else { Err(no_order()) }
}

fn mail_link(value: &DeValue<'_>) -> Result<String, Expected> {
    let text = value::string(value)?;
    let is_address = |address: &str| {
        address.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
            && address.bytes().all(|byte| byte.is_ascii_graphic() && !b",?<>\"".contains(&byte))
    };
    if text.strip_prefix("mailto:").is_some_and(is_address) {
        return Ok(text.to_owned());
    }
    Err(Expected("expected one address such as \"mailto:integration@example.org\"".into()))
}

const ONE_NAME: &str = "write another name than the gateway's own: agents come by that one and must see the gateway's \
                        own certificate, and they cannot be told from other programs that speak only HTTP/1.1";

#[cfg(test)]
mod tests {
    use crate::config::gateway::GatewayConfig;

    use super::*;

    const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

    fn parse(console: &str) -> Result<GatewayConfig, String> {
        let text = format!("name = \"gateway.example.org:443\"\ntrust_domain = \"example.org\"\n{console}");
        GatewayConfig::parse(&text, Path::new("/etc/adit")).map_err(|problems| problems.to_string())
    }

    #[test]
    fn browsers_find_the_gateway_at_the_consoles_name_or_else_at_its_own() {
        let origin = |console: &str| parse(console).unwrap().origin();
        assert_eq!(origin(""), "https://gateway.example.org");
        let files = "certificate = \"c.pem\"\nkey = \"/run/k.pem\"\n";
        let console = |name: &str| format!("[console]\nname = \"{name}\"\n{files}");
        assert_eq!(origin(&console("Console.example.org")), "https://console.example.org");
        assert_eq!(origin(&console("console.example.org:443")), "https://console.example.org");
        assert_eq!(origin(&console("console.example.org:8443")), "https://console.example.org:8443");
        let way = parse(&console("console.example.org")).unwrap().console.unwrap().way;
        let (certificate, key) = ("/etc/adit/c.pem".into(), "/run/k.pem".into());
        assert_eq!(way, ConsoleWay::Certificate { certificate, key });
    }

    #[test]
    fn behind_a_proxy_no_certificate_is_needed_and_nobody_is_trusted_unless_named() {
        let console = |more: &str| {
            format!("[console]\nname = \"gateway.example.org:8443\"\nlisten = \"127.0.0.1:8080\"\n{more}")
        };
        let way = |more: &str| parse(&console(more)).unwrap().console.unwrap().way;
        let listen = "127.0.0.1:8080".parse().unwrap();
        assert_eq!(way(""), ConsoleWay::Proxy { listen, trusted_proxies: Vec::new() });
        let trusted_proxies = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(
            way("trusted_proxies = [\"127.0.0.1\", \"::1\"]"),
            ConsoleWay::Proxy { listen, trusted_proxies }
        );
    }

    #[test]
    fn an_authority_is_named_by_its_directory_and_its_terms_are_agreed_to() {
        let way = |more: &str| {
            let text = format!("[console]\nname = \"console.example.org\"\nacme = \"{DIRECTORY}\"\n{more}");
            parse(&text).map(|config| config.console.unwrap().way)
        };
        let agreed = "acme_terms_of_service_agreed = true\n";
        let directory = DIRECTORY.to_owned();
        let least = AcmeConfig { directory: directory.clone(), contact: None, ca: None };
        assert_eq!(way(agreed), Ok(ConsoleWay::Acme(least)));
        let more = format!("{agreed}acme_contact = \"mailto:it@example.org\"\nacme_ca = \"step.pem\"\n");
        let contact = Some("mailto:it@example.org".into());
        let ca = Some("/etc/adit/step.pem".into());
        assert_eq!(way(&more), Ok(ConsoleWay::Acme(AcmeConfig { directory, contact, ca })));
        for (wrong, expected) in [
            ("", "acme_terms_of_service_agreed is missing: read the authority's terms"),
            ("acme_terms_of_service_agreed = false", "expected true"),
            ("acme_terms_of_service_agreed = true\ncertificate = \"c.pem\"", "remove it, or `acme`"),
            ("acme_terms_of_service_agreed = true\nlisten = \"127.0.0.1:80\"", "remove it, or `listen`"),
            (
                "acme_terms_of_service_agreed = true\nacme_contact = \"it@example.org\"",
                "expected one address",
            ),
            (
                "acme_terms_of_service_agreed = true\nacme_contact = \"mailto:a@b,c@d\"",
                "expected one address",
            ),
        ] {
            let said = way(wrong).expect_err(wrong);
            assert!(said.contains(expected), "{wrong}: {said}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_named_with_what_to_write() {
        let files = "certificate = \"c.pem\"\nkey = \"k.pem\"";
        for (console, expected) in [
            (String::new(), "name is missing"),
            ("name = \"console.example.org\"".to_owned(), "certificate is missing"),
            (
                "name = \"c.example.org\"\nacme = \"http://a.example\"".to_owned(),
                "expected a directory such as",
            ),
            (
                format!("name = \"192.0.2.1\"\nacme = \"{DIRECTORY}\"\nacme_terms_of_service_agreed = true"),
                "write a DNS name",
            ),
            (
                format!("name = \"c.example.org\"\n{files}\nacme_ca = \"ca.pem\""),
                "write the authority's directory, as `acme`",
            ),
            ("name = \"console.example.org\"\ncertificate = \"c.pem\"".to_owned(), "key is missing"),
            (format!("name = \"192.0.2.1\"\n{files}"), "write a DNS name"),
            (format!("name = \"gateway.example.org\"\n{files}"), "write another name than the gateway's own"),
            (
                format!("name = \"gateway.example.org:8443\"\n{files}"),
                "write another name than the gateway's own",
            ),
            (
                format!("name = \"c.example.org\"\nlisten = \"127.0.0.1:80\"\n{files}"),
                "remove it, or `listen`",
            ),
            ("name = \"c.example.org\"\nlisten = \"0.0.0.0:80\"".to_owned(), "it is plain HTTP"),
            ("name = \"c.example.org\"\nlisten = \"127.0.0.1:443\"".to_owned(), "write another port"),
            (
                format!("name = \"c.example.org\"\n{files}\ntrusted_proxies = [\"127.0.0.1\"]"),
                "write where they connect to",
            ),
            (
                "name = \"c.example.org\"\nlisten = \"127.0.0.1:80\"\ntrusted_proxies = [\"any\"]".to_owned(),
                "an address without a port",
            ),
        ] {
            let said = parse(&format!("[console]\n{console}")).expect_err(&console);
            assert!(said.contains(expected), "{console}: {said}");
        }
    }
}
