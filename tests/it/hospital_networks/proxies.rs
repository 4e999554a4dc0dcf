//! squid and tinyproxy as hospitals run them, on a host of their own.

use crate::two_hosts::host::Host;

/// Who issues the certificates of the proxy that opens TLS.
pub(super) const APPLIANCE: &str = "Lakeside TLS Inspection";
const USER: &str = "mirth";
/// With what a URL must escape; tinyproxy's configuration takes letters and digits alone.
const PASSWORD: [&str; 2] = ["pass:w@rd/1", "pass%3Aw%40rd%2F1"];
const PLAIN_PASSWORD: [&str; 2] = ["password1", "password1"];

/// A proxy to start.
pub(super) struct Proxy {
    pub name: &'static str,
    /// Typed on its host as root; it serves on port 3128 afterwards.
    start: &'static str,
    asks_for_password: bool,
    asks_for_ntlm: bool,
    idle_seconds: u64,
    /// Succeeds once it has carried something.
    pub has_carried: &'static str,
}

const SQUID: &str = "
acl https port 443
acl CONNECT method CONNECT
http_access deny CONNECT !https
http_access deny !CONNECT !upgraded
ALLOW
cache deny all
pid_filename none
cache_log /var/log/squid.log
access_log stdio:/var/log/squid-access.log
coredump_dir /tmp
http_upgrade_request_protocols websocket allow all
";
const START_SQUID: &str = "squid -k parse -f /etc/squid.conf 2> /var/log/squid-parse.log
touch /var/log/squid.log /var/log/squid-access.log; chmod 666 /var/log/squid*.log
setsid squid -N -f /etc/squid.conf </dev/null >>/var/log/squid.log 2>&1 &";
/// Waits until it listens; a hang fails.
const SERVES: &str = "for _ in $(seq 600); do ss -ltn | grep :3128 >/dev/null && exit 0; sleep 0.1; done
tail -n 20 /var/log/squid*.log /var/log/tinyproxy* >&2; exit 1";
const SQUID_HAS_CARRIED: &str = "grep -q 'CONNECT gateway.example.org:443' /var/log/squid-access.log \\
    || ss -tn state established | grep -q :443";
const TINYPROXY_HAS_CARRIED: &str = "ss -tn state established | grep -q :443";

impl Proxy {
    pub(super) const SQUID: Self = Self {
        name: "squid",
        start: "",
        asks_for_password: false,
        asks_for_ntlm: false,
        idle_seconds: 0,
        has_carried: SQUID_HAS_CARRIED,
    };
    pub(super) const SQUID_BASIC: Self =
        Self { name: "squid with a password", asks_for_password: true, ..Self::SQUID };
    pub(super) const TINYPROXY: Self =
        Self { name: "tinyproxy", idle_seconds: 600, has_carried: TINYPROXY_HAS_CARRIED, ..Self::SQUID };
    pub(super) const TINYPROXY_BASIC: Self =
        Self { name: "tinyproxy with a password", asks_for_password: true, ..Self::TINYPROXY };
    /// squid with the helper that its authors have for trying NTLM out.
    pub(super) const SQUID_NTLM: Self =
        Self { name: "squid that asks for NTLM", asks_for_ntlm: true, ..Self::SQUID };
    /// squid that makes certificates of its own for whatever is asked for.
    pub(super) const OPENING_TLS: Self = Self {
        name: "squid that opens TLS",
        start: "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj '/CN=Lakeside TLS Inspection' \\
                -keyout /etc/bump.key -out /etc/bump.crt -addext basicConstraints=critical,CA:TRUE 2>/dev/null
            cat /etc/bump.key /etc/bump.crt > /etc/bump.pem; chmod 644 /etc/bump.*
            rm -rf /var/lib/ssl_db; /usr/lib/squid/security_file_certgen -c -s /var/lib/ssl_db -M 4MB >/dev/null
            chown -R proxy:proxy /var/lib/ssl_db",
        ..Self::SQUID
    };

    pub(super) const fn cutting_after(seconds: u64) -> Self {
        Self { name: "tinyproxy that cuts", idle_seconds: seconds, ..Self::TINYPROXY }
    }

    const fn is_tinyproxy(&self) -> bool {
        self.idle_seconds > 0
    }

    /// As it is, and as it stands in a URL.
    const fn password(&self) -> [&'static str; 2] {
        if self.is_tinyproxy() { PLAIN_PASSWORD } else { PASSWORD }
    }

    /// Starts it on `host`; it ends with the host.
    pub(super) fn start(&self, host: &Host) {
        let commands = if self.is_tinyproxy() { self.tinyproxy() } else { self.squid() };
        host.types(&commands, &[]);
    }

    /// What is added to an agent's file, as a command.
    pub(super) fn setting(&self) -> String {
        let [_, in_url] = self.password();
        let user = if self.asks_for_password { format!("{USER}:{in_url}@") } else { String::new() };
        format!(
            "cat >> /etc/adit/agent.toml <<'END'\n\n[gateway]\nproxy = \"http://{user}proxy.example.org:3128\"\nEND\nchown adit:adit /etc/adit/agent.toml\nchmod 600 /etc/adit/agent.toml"
        )
    }

    fn squid(&self) -> String {
        let opens = !self.start.is_empty();
        let (auth, allow) = if self.asks_for_password {
            (
                "auth_param basic program /usr/lib/squid/basic_ncsa_auth /etc/squid-users
acl known proxy_auth REQUIRED",
                "http_access allow known",
            )
        } else if self.asks_for_ntlm {
            (
                "auth_param ntlm program /usr/lib/squid/ntlm_fake_auth
acl known proxy_auth REQUIRED",
                "http_access allow known",
            )
        } else {
            ("", "http_access allow all")
        };
        let port = if opens {
            "http_port 3128 ssl-bump cert=/etc/bump.pem generate-host-certificates=on dynamic_cert_mem_cache_size=4MB
sslcrtd_program /usr/lib/squid/security_file_certgen -s /var/lib/ssl_db -M 4MB
tls_outgoing_options flags=DONT_VERIFY_PEER
sslproxy_cert_error allow all
ssl_bump bump all
acl upgraded url_regex ."
        } else {
            "http_port 3128
acl upgraded url_regex ^none$"
        };
        let config = format!("{auth}\n{port}\n{}", SQUID.replace("ALLOW", allow));
        format!(
            "{}\nprintf '%s:%s\\n' {USER} \"$(openssl passwd -apr1 '{}')\" > /etc/squid-users
cat > /etc/squid.conf <<'END'\n{config}\nEND\n{START_SQUID}\n{SERVES}",
            self.start,
            self.password()[0]
        )
    }

    fn tinyproxy(&self) -> String {
        let auth = if self.asks_for_password {
            format!("BasicAuth {USER} {}", self.password()[0])
        } else {
            String::new()
        };
        format!(
            "cat > /etc/tinyproxy.conf <<'END'
Port 3128
Listen 0.0.0.0
Timeout {}
MaxClients 200
LogFile \"/var/log/tinyproxy.log\"
LogLevel Connect
ConnectPort 443
{auth}
END
setsid tinyproxy -d -c /etc/tinyproxy.conf </dev/null >/var/log/tinyproxy.out 2>&1 &
{SERVES}",
            self.idle_seconds
        )
    }
}
