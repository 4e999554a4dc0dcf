//! The connector configuration: how one server's agent finds its gateway and enrols.
//!
//! It never holds an address to dial and never an access level: those are the agent's own file's.

use zeroize::Zeroizing;

use super::document::{self, Section};
use super::problem::ConfigProblems;
use super::{HostPort, TrustDomain, value};
use crate::domain::id::{KeyFingerprint, ServerId};
use crate::domain::limits;
use crate::domain::secret::RegistrationToken;
use crate::domain::time::Timestamp;

/// The version of the file's form.
const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connector {
    /// Tried in turn; at least one.
    pub addresses: Vec<HostPort>,
    pub trust_domain: TrustDomain,
    /// The CA's public key, checked before the token is sent.
    pub key: KeyFingerprint,
    pub server: ServerId,
    /// Absent once it was used and erased.
    pub token: Option<RegistrationToken>,
}

impl Connector {
    pub fn parse(text: &str) -> Result<Self, ConfigProblems> {
        document::parse(text, document::Kind::Connector, |file| {
            let version = file.required("version", "write 1", |value| {
                value::number(VERSION..=VERSION, value).map_err(|_| {
                    value::Expected("expected 1; a newer form needs a newer adit: install it".into())
                })
            });
            let gateway = file.table("gateway", read_gateway);
            let server = file.table("server", read_server);
            version?;
            let (addresses, trust_domain, key) = gateway?;
            let (server, token) = server?;
            Some(Self { addresses, trust_domain, key, server, token })
        })
    }

    /// Returns the file as its server's owner downloads it. It holds the token: write it with mode 0600.
    #[must_use]
    pub fn render(&self, server_name: &str, token_expires: Timestamp) -> Zeroizing<String> {
        let addresses: Vec<_> = self.addresses.iter().map(|address| format!("\"{address}\"")).collect();
        let token =
            self.token.as_ref().map_or_else(Zeroizing::default, |token| Zeroizing::new(token.reveal_hex()));
        Zeroizing::new(format!(
            "# connector.toml for server {server_name:?}; token expires {token_expires}; keep private\n\
             version = {VERSION}\n\
             \n\
             [gateway]\n\
             addresses    = [{}]\n\
             trust_domain = \"{}\"\n\
             key          = \"{}\" # the CA's key\n\
             \n\
             [server]\n\
             id    = \"{}\"\n\
             token = \"{}\"\n",
            addresses.join(", "),
            self.trust_domain,
            self.key,
            self.server,
            token.as_str(),
        ))
    }
}

/// Returns the same text without its token, everything else as its owner wrote it; `None` when the text is no
/// connector file or holds none.
#[must_use]
pub fn without_token(text: &str) -> Option<String> {
    let table = toml::de::DeTable::parse(text).ok()?;
    let token = table.get_ref().get("server")?.get_ref().as_table()?.get("token")?;
    if token.get_ref().as_str()?.is_empty() {
        return None;
    }
    let span = token.span();
    Some(format!("{}\"\"{}", text.get(..span.start)?, text.get(span.end..)?))
}

fn read_gateway(section: &mut Section<'_, '_>) -> Option<(Vec<HostPort>, TrustDomain, KeyFingerprint)> {
    let download = "have `adit admin token issue` on the gateway's host write this file anew";
    let addresses = section.required("addresses", download, |value| {
        value::list(1..=limits::GATEWAY_ADDRESSES_MAX, value, value::text)
    });
    let trust_domain = section.required("trust_domain", download, value::text);
    let key = section.required("key", download, value::text);
    Some((addresses?, trust_domain?, key?))
}

fn read_server(section: &mut Section<'_, '_>) -> Option<(ServerId, Option<RegistrationToken>)> {
    let id = section.required(
        "id",
        "have `adit admin token issue` on the gateway's host write this file anew",
        value::text,
    );
    let token = section.optional("token", |value| match value.as_str() {
        Some("") => Ok(None),
        Some(text) => RegistrationToken::from_hex(text)
            .map(Some)
            .map_err(|_| value::Expected("expected 64 hexadecimal digits; make a new token".into())),
        None => Err(value::Expected("expected a text in double quotes".into())),
    });
    Some((id?, token.flatten()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector() -> Connector {
        Connector {
            addresses: vec![
                "gateway.example.org:443".parse().expect("host"),
                "[2001:db8::1]:443".parse().expect("host"),
            ],
            trust_domain: "example.org".parse().expect("domain"),
            key: KeyFingerprint::from_bytes([3; 32]),
            server: ServerId::from_random([4; 16]),
            token: Some(RegistrationToken::from_bytes([0x5a; 32])),
        }
    }

    fn rendered() -> Zeroizing<String> {
        connector().render("St \"Mary\"\nprod", Timestamp::from_millis(1_795_510_800_000))
    }

    #[test]
    fn a_connector_file_reads_back_what_was_rendered() {
        let text = rendered();
        assert!(text.starts_with(
            "# connector.toml for server \"St \\\"Mary\\\"\\nprod\"; token expires 2026-11-24T09:00:00Z; keep \
             private\n"
        ));
        assert_eq!(Connector::parse(&text), Ok(connector()));
    }

    #[test]
    fn an_erased_token_leaves_everything_else_as_it_was() {
        let text = rendered();
        let erased = without_token(&text).expect("held a token");
        assert!(!erased.contains("5a5a"));
        assert_eq!(Connector::parse(&erased), Ok(Connector { token: None, ..connector() }));
        assert_eq!(text.lines().count(), erased.lines().count());
        assert_eq!(without_token(&erased), None);
    }

    #[test]
    fn a_problem_never_shows_the_token() {
        let text = rendered().replace("5a5a\"", "5a5x\"").replace("version = 1", "version = 2");
        let problems = Connector::parse(&text).expect_err("refused").to_string();
        assert!(problems.contains("server token is [secret]: expected 64"), "{problems}");
        assert!(problems.contains("version is 2"), "{problems}");
        assert!(!problems.contains("5a5"), "{problems}");
    }

    #[test]
    fn a_broken_line_is_named_without_being_quoted() {
        let text = rendered().replace("5a5a\"", "5a5a");
        let problems = Connector::parse(&text).expect_err("refused").to_string();
        assert!(problems.starts_with("line 11: this line is not TOML: "), "{problems}");
        assert!(!problems.contains("5a5a"), "{problems}");
    }

    #[test]
    fn a_file_cut_at_any_byte_is_read_or_refused_without_panic() {
        let text = rendered();
        for cut in (0..text.len()).filter(|&cut| text.is_char_boundary(cut)) {
            drop(Connector::parse(&text[..cut]));
        }
    }
}
