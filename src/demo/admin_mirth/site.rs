//! What the stand-in serves beside its API: landing page, web dashboard and JNLP. Redirects and
//! JNLP are absolute and built from the request's `Host`, as Mirth's are.

use bytes::Bytes;
use hyper::{Method, StatusCode};

use super::answer::Answer;
use super::{Call, Context, Server, VERSION, api};

const DASHBOARD: &str = "<html><title>Mirth Connect Administrator</title></html>";

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
        (Context::Root, "/") => Answer::of_type("text/html", "<html><title>Mirth Connect</title></html>"),
        (Context::Root, "/webstart" | "/webstart.jnlp") => {
            Answer::of_type("application/x-java-jnlp-file", jnlp(&call.host))
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
    Answer::of_type("text/html", DASHBOARD).with_cookie(session.cookie.as_deref())
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
        Some(_) => Answer::of_type("text/html", DASHBOARD),
        None => Answer::status(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn jnlp(host: &str) -> String {
    format!(
        "<jnlp codebase=\"https://{host}\" version=\"{VERSION}\">\n\
         <information><title>Mirth Connect Administrator {VERSION}</title><vendor>stand-in</vendor></information>\n\
         <resources><j2se version=\"1.8+\"/><jar href=\"webstart/client-lib/mirth-client.jar\" main=\"true\"/></resources>\n\
         <application-desc main-class=\"com.mirth.connect.client.ui.Mirth\">\
         <argument>https://{host}</argument><argument>{VERSION}</argument></application-desc>\n\
         </jnlp>\n"
    )
}
