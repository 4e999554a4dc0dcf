//! What the stand-in serves beside its API: landing page, web dashboard and JNLP. Redirects and
//! JNLP are absolute and built from the request's `Host`, as Mirth's are; the server that the JNLP
//! starts the Administrator with, and the dashboard's button after a login that named Mirth's own host,
//! have Mirth's own port.

use bytes::Bytes;
use hyper::{Method, StatusCode};

use super::answer::Answer;
use super::{Call, Context, Server, VERSION, api};

/// Files that a page's style and scripts are made of.
const FILES: [&str; 4] = ["/css/", "/js/", "/images/", "/fonts/"];

pub(super) fn answer(server: &Server, call: &Call, body: &Bytes) -> Answer {
    let reads = matches!(call.method, Method::GET | Method::HEAD);
    match (call.context, call.path.as_str()) {
        (Context::WebAdmin, "/Login.action") => log_in(server, call, body),
        _ if !reads => Answer::status(StatusCode::METHOD_NOT_ALLOWED),
        (Context::WebAdmin, "") => Answer::redirect(&format!("https://{}/webadmin/", call.host)),
        (Context::WebAdmin, "/") => Answer::redirect(&format!("https://{}/webadmin/Index.action", call.host)),
        (Context::WebAdmin, "/Index.action") => page(server, call),
        (Context::WebAdmin, "/Logout.action") => log_out(server, call),
        (Context::WebAdmin, "/DashboardStatistics.action") => dashboard(server, call),
        (Context::WebAdmin, path) if FILES.iter().any(|folder| path.starts_with(folder)) => {
            Answer::of_type("application/octet-stream", Bytes::from_static(b"stand-in"))
        }
        (Context::Root, "/") => Answer::of_type("text/html", "<html><title>Mirth Connect</title></html>"),
        (Context::Root, "/webstart" | "/webstart.jnlp") => {
            Answer::of_type("application/x-java-jnlp-file", jnlp(&call.host, server.port))
        }
        (Context::Root, "/webstart/client-lib/mirth-client.jar") => {
            Answer::of_type("application/java-archive", Bytes::from_static(b"PK\x05\x06stand-in"))
        }
        _ => Answer::status(StatusCode::NOT_FOUND),
    }
}

/// Begins a session for a client that has none.
fn page(server: &Server, call: &Call) -> Answer {
    let session = server.sessions.open(call.context, &call.cookies);
    Answer::of_type("text/html", html(port_of(&call.host))).with_cookie(session.cookie.as_deref())
}

fn log_in(server: &Server, call: &Call, body: &Bytes) -> Answer {
    let session = server.sessions.open(call.context, &call.cookies);
    let next = if api::is_right(body) {
        server.sessions.log_in(&session, super::USER);
        "DashboardStatistics.action"
    } else {
        "Index.action?showAlert=true"
    };
    Answer::redirect(&format!("https://{}/webadmin/{next}", call.host)).with_cookie(session.cookie.as_deref())
}

fn log_out(server: &Server, call: &Call) -> Answer {
    server.sessions.end(call.context, &call.cookies);
    Answer::redirect(&format!("https://{}/webadmin/Index.action", call.host))
}

fn dashboard(server: &Server, call: &Call) -> Answer {
    match server.sessions.user(call.context, &call.cookies) {
        Some(_) => Answer::of_type("text/html", html(server.port)),
        None => Answer::status(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Returns a page with a launch button that leads to `port`.
fn html(port: u16) -> String {
    format!(
        "<html><title>Mirth Connect Administrator</title><script>function launchAdministrator() {{\n\
         window.location.href = 'https://' + window.location.hostname + ':{port}/webstart.jnlp?time=1';\n}}</script></html>"
    )
}

fn port_of(host: &str) -> u16 {
    host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(443)
}

fn name_of(host: &str) -> &str {
    let port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    port.map_or(host, |(name, _)| name)
}

fn jnlp(host: &str, port: u16) -> String {
    let name = name_of(host);
    format!(
        "<jnlp codebase=\"https://{host}\" version=\"{VERSION}\">\n\
         <information><title>Mirth Connect Administrator {VERSION}</title><vendor>stand-in</vendor></information>\n\
         <resources><j2se version=\"1.8+\"/><jar href=\"webstart/client-lib/mirth-client.jar\" main=\"true\"/></resources>\n\
         <application-desc main-class=\"com.mirth.connect.client.ui.Mirth\">\
         <argument>https://{name}:{port}</argument><argument>{VERSION}</argument></application-desc>\n\
         </jnlp>\n"
    )
}
