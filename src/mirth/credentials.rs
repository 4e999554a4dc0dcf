//! Which requests carry a name and a password, and which answers prove that those were right.
//!
//! Mirth locks an account after wrong passwords and logs each try. So whatever may be one is known here
//! before it is sent, by its header, its operation or a word of its path.

use super::http::{Header, RequestHead};

/// What a request gives to Mirth to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// The form of the API's login.
    Login,
    /// The form of the web dashboard, which logs in to the API by itself.
    Dashboard,
    /// `Authorization`, which every operation of the API takes in place of a session.
    Header,
    /// Another that sounds like one, of Mirth or of a plug-in.
    Sounding,
}

const WORDS: [&str; 5] = ["login", "logon", "signin", "password", "authenticat"];
const DASHBOARD_LOGIN: &str = "/webadmin/Login.action";
/// Where the dashboard leads users who have logged in; it leads others back to its first page.
const DASHBOARD: &str = "/webadmin/DashboardStatistics.action";

/// Returns what the request carries, if anything. `target` as it is forwarded.
#[must_use]
pub fn carried(head: &RequestHead, operation: Option<&str>, target: &str) -> Option<Credentials> {
    let path = target.split('?').next().unwrap_or_default();
    if operation == Some("login") {
        Some(Credentials::Login)
    } else if path.ends_with(DASHBOARD_LOGIN) {
        Some(Credentials::Dashboard)
    } else if sounds_like_a_login(path) {
        Some(Credentials::Sounding)
    } else {
        head.header("authorization").map(|_| Credentials::Header)
    }
}

impl Credentials {
    /// Returns whether the answer can only be one to right credentials, or to none that were tried.
    #[must_use]
    pub fn are_proven(self, status: u16, headers: &[Header]) -> bool {
        match self {
            Self::Login | Self::Sounding => (200..300).contains(&status),
            Self::Dashboard => matches!(status, 302 | 303) && leads_to_the_dashboard(headers),
            // Anyone who is let in may ask for what there is not.
            Self::Header => (200..400).contains(&status) || status == 404,
        }
    }
}

fn sounds_like_a_login(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    WORDS.iter().any(|word| path.contains(word))
}

fn leads_to_the_dashboard(headers: &[Header]) -> bool {
    let mut locations = headers.iter().filter(|header| header.is("location"));
    let Some(location) = locations.next() else { return false };
    let path = location.value.split(|byte| matches!(byte, b'?' | b'#' | b';')).next().unwrap_or_default();
    locations.next().is_none() && path.ends_with(DASHBOARD.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::http::Framing;
    use super::*;

    fn head(headers: &[(&str, &str)]) -> RequestHead {
        let header = |(name, value): &(&str, &str)| Header { name: (*name).into(), value: (*value).into() };
        RequestHead {
            method: "POST".into(),
            target: "/".into(),
            headers: headers.iter().map(header).collect(),
            framing: Framing::None,
            expects_continue: false,
            closes: false,
        }
    }

    #[test]
    fn whatever_carries_a_password_is_known_before_it_is_sent() {
        let none = head(&[]);
        for (operation, target, expected) in [
            (Some("login"), "/api/4.5.2/users/_login", Credentials::Login),
            (None, "/webadmin/Login.action", Credentials::Dashboard),
            (None, "/mirth/webadmin/Login.action?username=a", Credentials::Dashboard),
            (None, "/webadmin/login.action", Credentials::Sounding),
            (None, "/api/9.9.9/users/_login", Credentials::Sounding),
            (None, "/api/extensions/ldap/_authenticate", Credentials::Sounding),
            (Some("checkUserPassword"), "/api/users/_checkPassword", Credentials::Sounding),
            (Some("updateUserPassword"), "/api/users/1/password", Credentials::Sounding),
        ] {
            assert_eq!(carried(&none, operation, target), Some(expected), "{target}");
        }
        let basic = head(&[("AUTHORIZATION", "Basic YTpi")]);
        assert_eq!(carried(&basic, Some("getChannels"), "/api/channels"), Some(Credentials::Header));
        assert_eq!(carried(&basic, Some("login"), "/api/users/_login"), Some(Credentials::Login));
        for target in ["/api/channels", "/webadmin/Index.action?x=login", "/api/users/1/loggedIn"] {
            assert_eq!(carried(&none, None, target), None, "{target}");
        }
    }

    #[test]
    fn only_an_answer_to_right_credentials_proves_them() {
        use Credentials::{Dashboard, Login, Sounding};
        let proves = |carried: Credentials, status, location: &str| {
            let headers = head(&[("Location", location)]).headers;
            carried.are_proven(status, if location.is_empty() { &[] } else { &headers })
        };
        assert!(proves(Login, 200, "") && proves(Sounding, 204, ""));
        assert!(proves(Credentials::Header, 200, "") && proves(Credentials::Header, 404, ""));
        for status in [302, 400, 401, 403, 404, 500, 503] {
            assert!(!proves(Login, status, "") && !proves(Sounding, status, ""), "{status}");
        }
        for status in [400, 401, 403, 500, 503] {
            assert!(!proves(Credentials::Header, status, ""), "{status}");
        }
        let dashboard = "https://localhost:8443/webadmin/DashboardStatistics.action";
        assert!(proves(Dashboard, 302, dashboard));
        assert!(proves(Dashboard, 302, "/webadmin/DashboardStatistics.action;jsessionid=x"));
        for (status, location) in [
            (200, dashboard),
            (302, ""),
            (302, "/webadmin/Index.action?showAlert=true"),
            (302, "/webadmin/Index.action?next=/webadmin/DashboardStatistics.action"),
            (403, dashboard),
        ] {
            assert!(!proves(Dashboard, status, location), "{status} {location}");
        }
    }
}
