//! HTTP proxies between this host and its gateway: which one is asked, and how (CONNECT, RFC 9110 §9.3.6).
//!
//! A proxy may ask for a user and a password (Basic, RFC 7617). What else it may ask for is not spoken, and
//! named. Passwords are in no error and no line of the log.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use adit_core::config::{HostPort, InvalidProxy, ProxySettings, ProxyUrl, Unproxied};
use adit_core::protocol::text::listed;

use super::switch::{self, Answer};
use crate::transport::resolve::{first_connected, resolve};

/// From the request to the proxy's answer, which waits for the gateway; with the dialling below the limit of
/// a whole carrier.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// Where the environment names a proxy, and what is dialled without it; the first that is set counts.
const PROXY_VARIABLES: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const NO_PROXY_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];
const SCHEMES_MAX: usize = 8;

/// Which proxy leads to a host, if any.
#[derive(Debug)]
pub struct Proxies {
    named: Named,
    matcher: Matcher,
    is_for_none: bool,
}

#[derive(Debug)]
enum Named {
    None,
    One { at: HostPort, by: &'static str },
    Unusable { variable: &'static str, source: InvalidProxy },
}

impl Default for Proxies {
    /// Every host is dialled as it is.
    fn default() -> Self {
        Self::new(&ProxySettings::default(), |_| None)
    }
}

impl Proxies {
    /// Takes what the file says, and where it says nothing, this process's environment.
    #[must_use]
    pub fn of_host(settings: &ProxySettings) -> Self {
        Self::new(settings, |variable| std::env::var(variable).ok())
    }

    /// Takes what the file says, and where it says nothing, `variable`.
    #[must_use]
    pub fn new(settings: &ProxySettings, variable: impl Fn(&str) -> Option<String>) -> Self {
        let first_of = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| Some((name, variable(name).filter(|value| !value.is_empty())?)))
        };
        let written = settings.proxy.as_ref().map(|proxy| (proxy.clone(), "`proxy` in the agent's file"));
        let from_file = written.is_some();
        let found = written.map(Ok).or_else(|| {
            let (name, value) = first_of(PROXY_VARIABLES)?;
            let read: Result<ProxyUrl, _> = value.trim().parse();
            Some(read.map(|proxy| (proxy, name)).map_err(|source| (name, source)))
        });
        let no_proxy = match &settings.no_proxy {
            Some(hosts) => hosts.iter().map(Unproxied::as_str).collect::<Vec<_>>().join(","),
            None if from_file => String::new(),
            None => first_of(NO_PROXY_VARIABLES).map(|(_, hosts)| hosts).unwrap_or_default(),
        };
        let is_for_none = no_proxy.split(',').any(|host| host.trim() == "*");
        let builder = Matcher::builder().no(no_proxy);
        let (named, matcher) = match found {
            None => (Named::None, builder),
            Some(Ok((proxy, by))) => {
                (Named::One { at: proxy.at().clone(), by }, builder.https(proxy.reveal().as_str()))
            }
            // Asked for whether it is for a host, no more.
            Some(Err((variable, source))) => {
                (Named::Unusable { variable, source }, builder.https("http://localhost:1"))
            }
        };
        Self { named, matcher: matcher.build(), is_for_none }
    }

    /// Returns the proxy that leads to a host; `None`: it is dialled as it is.
    pub fn to(&self, host: &HostPort) -> Result<Option<Proxy>, ProxyError> {
        let uri = format!("https://{host}/").parse::<Uri>().ok().filter(|_| !self.is_for_none);
        let Some(intercept) = uri.and_then(|uri| self.matcher.intercept(&uri)) else { return Ok(None) };
        match &self.named {
            Named::None => Ok(None),
            Named::Unusable { variable, source } => Err(ProxyError::Unusable { variable, source: *source }),
            Named::One { at, by } => {
                Ok(Some(Proxy { at: at.clone(), by, basic: intercept.basic_auth().cloned() }))
            }
        }
    }
}

/// A proxy that leads to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    at: HostPort,
    /// What names it.
    by: &'static str,
    /// Marked as sensitive, so that nothing prints it.
    basic: Option<HeaderValue>,
}

/// Why a proxy did not lead to the gateway, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error(
        "the environment variable {variable} cannot be used; correct it, or write `proxy` into the agent's file"
    )]
    Unusable { variable: &'static str, source: InvalidProxy },
    #[error("the proxy {proxy} ({by}) cannot be reached; see that it runs, or correct its address")]
    Unreachable { proxy: HostPort, by: &'static str, source: io::Error },
    #[error(
        "the proxy {proxy} asks for a user and a password (Basic); write them into `proxy` in the agent's file, as in \
         http://USER:PASSWORD@{proxy}"
    )]
    NoUser { proxy: HostPort },
    #[error(
        "the proxy {proxy} refuses the user and the password that it was given by {by}; correct them there"
    )]
    WrongUser { proxy: HostPort, by: &'static str },
    #[error(
        "the proxy {proxy} asks for {asked_for}, which adit does not speak; have it let this host through to {to} \
         without, or with a user and a password (Basic)"
    )]
    UnknownScheme { proxy: HostPort, to: HostPort, asked_for: String },
    #[error("the proxy {proxy} refuses to connect to {to} ({status}); have it let this host connect there")]
    Refused { proxy: HostPort, to: HostPort, status: StatusCode },
    #[error(
        "the proxy {proxy} does not reach {to} ({status}); see that the gateway runs, and that the proxy may connect \
         there"
    )]
    GatewayAway { proxy: HostPort, to: HostPort, status: StatusCode },
    #[error(
        "the proxy {proxy} ({by}) does not answer the request to connect to {to} in time; see that the proxy works, \
         and that it may connect there"
    )]
    Silent { proxy: HostPort, by: &'static str, to: HostPort },
    #[error("the proxy {proxy} ({by}) does not answer as an HTTP proxy does ({what}); see that it is one")]
    NoProxy { proxy: HostPort, by: &'static str, what: String },
}

impl Proxy {
    #[must_use]
    pub const fn at(&self) -> &HostPort {
        &self.at
    }

    /// Returns what names it: a key of the agent's file, or a variable.
    #[must_use]
    pub const fn named_by(&self) -> &'static str {
        self.by
    }

    /// Connects to a host through it.
    pub async fn connect(&self, to: &HostPort) -> Result<TcpStream, ProxyError> {
        self.connect_within(ANSWER_TIMEOUT, to).await
    }

    async fn connect_within(&self, limit: Duration, to: &HostPort) -> Result<TcpStream, ProxyError> {
        let (proxy, by) = (self.at.clone(), self.by);
        debug!(%proxy, %to, has_user = self.basic.is_some(), "the gateway is dialled through a proxy");
        let tcp = match resolve(&self.at).await {
            Ok(addresses) => first_connected(addresses, TcpStream::connect::<std::net::SocketAddr>).await,
            Err(error) => Err(error),
        };
        let tcp = tcp.map_err(|source| ProxyError::Unreachable { proxy: proxy.clone(), by, source })?;
        let no_proxy = |what: String| ProxyError::NoProxy { proxy: proxy.clone(), by, what };
        let request = self.request(to).ok_or_else(|| no_proxy("its name fits no request".into()))?;
        let asked = switch::ask(tcp, request, |status| status.is_success());
        let answer = timeout(limit, asked)
            .await
            .map_err(|_| ProxyError::Silent { proxy: proxy.clone(), by, to: to.clone() })?
            .map_err(|error| no_proxy(error.to_string()))?;
        match answer {
            // TLS begins with the one who dials.
            Answer::Switched { read, .. } if !read.is_empty() => {
                Err(no_proxy("bytes follow its answer".into()))
            }
            Answer::Switched { stream, .. } => Ok(stream),
            Answer::Refused { head } => Err(self.refusal(to, head.status, &head.headers)),
        }
    }

    fn request(&self, to: &HostPort) -> Option<Request<Empty<Bytes>>> {
        let to = to.to_string();
        let mut request =
            Request::builder().method(Method::CONNECT).uri(to.as_str()).header(header::HOST, to.as_str());
        if let Some(basic) = &self.basic {
            request = request.header(header::PROXY_AUTHORIZATION, basic);
        }
        request.body(Empty::new()).ok()
    }

    fn refusal(&self, to: &HostPort, status: StatusCode, headers: &HeaderMap) -> ProxyError {
        let (proxy, by, to) = (self.at.clone(), self.by, to.clone());
        let schemes = schemes(headers);
        debug!(%proxy, %to, %status, schemes = %listed(&schemes), "a proxy refused");
        match status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED
                if schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic")) =>
            {
                match self.basic {
                    None => ProxyError::NoUser { proxy },
                    Some(_) => ProxyError::WrongUser { proxy, by },
                }
            }
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                let asked_for = if schemes.is_empty() { "a proof".into() } else { listed(&schemes) };
                ProxyError::UnknownScheme { proxy, to, asked_for }
            }
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                ProxyError::GatewayAway { proxy, to, status }
            }
            _ => ProxyError::Refused { proxy, to, status },
        }
    }
}

/// Returns the schemes that a proxy asks for, as it writes them: the first word of each challenge (RFC 9110
/// §11.7.1), as far as it can be told from a parameter.
fn schemes(headers: &HeaderMap) -> BTreeSet<String> {
    let values =
        headers.get_all(header::PROXY_AUTHENTICATE).into_iter().filter_map(|value| value.to_str().ok());
    let challenges = values.flat_map(|value| value.split(','));
    let words = challenges.filter_map(|challenge| challenge.split_whitespace().next());
    let is_scheme = |word: &&str| {
        word.len() <= 32 && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    words.filter(is_scheme).map(str::to_owned).take(SCHEMES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the proxy that leads to a host, and what names it.
    #[track_caller]
    fn check(
        proxy: Option<&str>,
        no_proxy: Option<&[&str]>,
        environment: &[(&str, &str)],
        host: &str,
    ) -> String {
        let settings = ProxySettings {
            proxy: proxy.map(|proxy| proxy.parse().unwrap()),
            no_proxy: no_proxy.map(|hosts| hosts.iter().map(|host| host.parse().unwrap()).collect()),
        };
        let variable = |name: &str| {
            environment.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
        };
        match Proxies::new(&settings, variable).to(&host.parse().unwrap()) {
            Ok(None) => "none".into(),
            Ok(Some(proxy)) => format!("{} by {}", proxy.at(), proxy.named_by()),
            Err(error) => error.to_string(),
        }
    }

    const HOST: &str = "gateway.example.org:443";
    const FILE: Option<&str> = Some("http://proxy:3128");

    #[test]
    fn the_file_names_the_proxy_and_else_the_environment() {
        assert_eq!(check(None, None, &[], HOST), "none");
        let environment = [("HTTPS_PROXY", "other:1"), ("https_proxy", "third:1"), ("NO_PROXY", "*")];
        assert_eq!(check(FILE, None, &environment, HOST), "proxy:3128 by `proxy` in the agent's file");
        assert_eq!(check(None, None, &environment[..2], HOST), "other:1 by HTTPS_PROXY");
        assert_eq!(
            check(None, None, &[("HTTPS_PROXY", ""), ("https_proxy", "third:1")], HOST),
            "third:1 by https_proxy"
        );
        assert_eq!(check(None, None, &[("HTTP_PROXY", "other:1")], HOST), "none");
    }

    #[test]
    fn hosts_names_below_them_addresses_and_networks_go_without() {
        for (host, no_proxy, goes_without) in [
            (HOST, "gateway.example.org", true),
            (HOST, "GATEWAY.example.org", true),
            (HOST, ".example.org", true),
            (HOST, "example.org", true),
            (HOST, "ample.org", false),
            (HOST, "other.example.org", false),
            (HOST, "*", true),
            ("192.0.2.7:443", "192.0.2.0/24", true),
            ("192.0.2.7:443", "192.0.2.7", true),
            ("192.0.2.7:443", "192.0.3.0/24", false),
            ("192.0.2.7:443", "*", true),
            ("[2001:db8::7]:443", "2001:db8::/32", true),
            ("[2001:db8::7]:443", "2001:db9::/32", false),
        ] {
            let by_file = check(FILE, Some(&[no_proxy]), &[], host);
            let environment = [("HTTPS_PROXY", "proxy:3128"), ("no_proxy", no_proxy)];
            let by_environment = check(None, None, &environment, host);
            for found in [by_file, by_environment] {
                assert_eq!(found == "none", goes_without, "{host} with {no_proxy}: {found}");
            }
        }
    }

    #[test]
    fn the_files_exceptions_hold_for_the_environments_proxy_too() {
        let environment = [("HTTPS_PROXY", "proxy:3128"), ("NO_PROXY", "gateway.example.org")];
        assert_eq!(check(None, Some(&[HOST.split_once(':').unwrap().0]), &environment[..1], HOST), "none");
        assert_eq!(check(None, Some(&[]), &environment, HOST), "proxy:3128 by HTTPS_PROXY");
    }

    #[test]
    fn a_proxy_of_the_environment_that_cannot_be_used_is_said_where_it_would_be_asked() {
        let environment = [("HTTPS_PROXY", "socks5://hunter2@proxy:1080"), ("NO_PROXY", "other")];
        let said = check(None, None, &environment, HOST);
        assert!(said.starts_with("the environment variable HTTPS_PROXY cannot be used"), "{said}");
        assert!(!said.contains("hunter2"));
        assert_eq!(check(None, None, &environment, "other:443"), "none");
    }

    #[test]
    fn a_proxy_is_asked_with_the_user_as_it_is_meant() {
        // `Matcher` must read whatever the file may hold.
        let url = "http://mirth:-._~!$&'()*+,;=:%40%C3%A4@proxy:3128";
        let settings = ProxySettings { proxy: Some(url.parse().unwrap()), no_proxy: None };
        let proxies = Proxies::new(&settings, |_| None);
        let proxy = proxies.to(&HOST.parse().unwrap()).unwrap().unwrap();
        let request = proxy.request(&HOST.parse().unwrap()).unwrap();
        let basic = request.headers().get(header::PROXY_AUTHORIZATION).unwrap();
        // printf 'mirth:-._~!$&'"'"'()*+,;=:@ä' | base64
        assert_eq!(basic.to_str().unwrap(), "Basic bWlydGg6LS5ffiEkJicoKSorLDs9OkDDpA==");
        let printed = format!("{proxies:?} {proxy:?} {request:?}");
        assert!(!printed.contains("bWly") && !printed.contains("%40%C3%A4"), "{printed}");
    }

    #[test]
    fn the_schemes_that_a_proxy_asks_for_are_told_from_their_parameters() {
        let mut headers = HeaderMap::new();
        for value in [
            "Negotiate",
            "NTLM",
            "Digest realm=\"squid, proxy\", nonce=\"a\", qop=\"auth\", Basic realm=\"x\"",
        ] {
            headers.append(header::PROXY_AUTHENTICATE, HeaderValue::from_static(value));
        }
        assert_eq!(listed(schemes(&headers)), "Basic, Digest, NTLM, Negotiate");
    }

    #[test]
    fn of_what_a_proxy_asks_for_few_short_words_are_kept() {
        let mut headers = HeaderMap::new();
        let many: Vec<_> = (0..SCHEMES_MAX + 12).map(|number| format!("Scheme{number}")).collect();
        headers.append(header::PROXY_AUTHENTICATE, many.join(", ").parse().unwrap());
        assert_eq!(schemes(&headers).len(), SCHEMES_MAX);
        let mut headers = HeaderMap::new();
        for value in ["x".repeat(33), "N\u{e9}gotiate".into(), "<b>".into(), String::new()] {
            headers.append(header::PROXY_AUTHENTICATE, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        assert!(schemes(&headers).is_empty());
    }

    #[tokio::test]
    async fn a_proxy_that_says_nothing_is_given_up() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy { at: silent.local_addr().unwrap().into(), by: "https_proxy", basic: None };
        let error =
            proxy.connect_within(Duration::from_millis(50), &HOST.parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, ProxyError::Silent { .. }), "{error}");
    }
}
