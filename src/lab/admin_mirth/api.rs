//! The stand-in's API below `/api` and `/api/4.5.2`: what each operation does to what is kept in
//! memory, and what it answers.

use bytes::Bytes;
use hyper::{Method, StatusCode};

use super::answer::Answer;
use super::operations::{OPERATIONS, Operation};
use super::{Call, PASSWORD, Server, USER, VERSION, wadl};

/// What an operation is given.
pub(super) struct Given<'a> {
    pub(super) server: &'a Server,
    pub(super) call: &'a Call,
    pub(super) user: Option<&'a str>,
    /// The path's parameters, in their order.
    pub(super) parameters: &'a [&'a str],
    pub(super) body: &'a Bytes,
}

pub(super) type Run = fn(&Given<'_>) -> Answer;

/// What a request asks for.
pub(super) enum Found<'a> {
    Wadl,
    Landing,
    Operation(&'static Operation, Vec<&'a str>),
}

/// Finds the operation: every call but the landing page needs `X-Requested-With`. An error is what is
/// answered at once.
pub(super) fn find(call: &Call) -> Result<Found<'_>, (StatusCode, &'static str)> {
    let path = call.path.strip_suffix('/').unwrap_or(&call.path);
    let reads = matches!(call.method, Method::GET | Method::HEAD);
    if path.is_empty() && reads {
        return Ok(Found::Landing);
    }
    if !call.requested_with {
        return Err((StatusCode::BAD_REQUEST, "All requests must have 'X-Requested-With' header"));
    }
    if path == "/application.wadl" && reads {
        return Ok(Found::Wadl);
    }
    // HEAD is served wherever GET is.
    let method = if reads { "GET" } else { call.method.as_str() };
    let mut known = false;
    for operation in &OPERATIONS {
        let Some(parameters) = matches(operation, path) else { continue };
        known = true;
        if operation.method == method {
            return Ok(Found::Operation(operation, parameters));
        }
    }
    let status = if known { StatusCode::METHOD_NOT_ALLOWED } else { StatusCode::NOT_FOUND };
    Err((status, ""))
}

impl Found<'_> {
    pub(super) fn needs_session(&self) -> bool {
        match self {
            Self::Wadl | Self::Landing => false,
            Self::Operation(operation, _) => !matches!(operation.name, "login" | "getVersion" | "getStatus"),
        }
    }

    pub(super) fn run(&self, server: &Server, call: &Call, user: Option<&str>, body: &Bytes) -> Answer {
        match self {
            Self::Wadl => {
                let document = wadl::render(&call.host, call.context.path(), server.plug_in);
                Answer::of_type("application/vnd.sun.wadl+xml", document)
            }
            Self::Landing => {
                Answer::of_type("text/html", "<html><title>Mirth Connect Client API</title></html>")
            }
            Self::Operation(operation, parameters) => {
                (operation.run)(&Given { server, call, user, parameters, body })
            }
        }
    }
}

/// Returns the path's parameters if `path` is one of the operation's.
fn matches<'a>(operation: &Operation, path: &'a str) -> Option<Vec<&'a str>> {
    let mut template = operation.class.split('/').chain(operation.path.split('/').skip(1));
    let mut parameters = Vec::new();
    for segment in path.split('/') {
        let expected = template.next()?;
        if expected.starts_with('{') && !segment.is_empty() {
            parameters.push(segment);
        } else if expected != segment {
            return None;
        }
    }
    template.next().is_none().then_some(parameters)
}

pub(super) fn done(_: &Given<'_>) -> Answer {
    Answer::status(StatusCode::NO_CONTENT)
}

pub(super) fn empty_list(_: &Given<'_>) -> Answer {
    Answer::xml("<list/>")
}

pub(super) fn empty_map(_: &Given<'_>) -> Answer {
    Answer::xml("<map/>")
}

pub(super) fn count(_: &Given<'_>) -> Answer {
    Answer::xml("<long>0</long>")
}

pub(super) fn version(_: &Given<'_>) -> Answer {
    Answer::text(StatusCode::OK, VERSION)
}

pub(super) fn server_id(_: &Given<'_>) -> Answer {
    Answer::text(StatusCode::OK, "7d760590-29a3-4f4f-9d4e-3b1f5d2c9a10")
}

pub(super) fn jvm(_: &Given<'_>) -> Answer {
    Answer::text(StatusCode::OK, "OpenJDK 64-Bit Server VM")
}

pub(super) fn server_status(_: &Given<'_>) -> Answer {
    Answer::xml("<int>0</int>")
}

pub(super) fn system_stats(_: &Given<'_>) -> Answer {
    Answer::xml(
        "<com.mirth.connect.model.SystemStats><cpuUsagePct>0.02</cpuUsagePct>\
         <allocatedMemoryBytes>268435456</allocatedMemoryBytes></com.mirth.connect.model.SystemStats>",
    )
}

/// Answers with a key: Mirth gives its real one to anybody logged in; this one belongs to no server.
pub(super) fn encryption(_: &Given<'_>) -> Answer {
    Answer::xml("<encryptionSettings><secretKey>c3RhbmQtaW4=</secretKey></encryptionSettings>")
}

pub(super) fn users(_: &Given<'_>) -> Answer {
    Answer::xml(format!("<list>{}</list>", user_xml(USER)))
}

pub(super) fn current_user(given: &Given<'_>) -> Answer {
    Answer::xml(user_xml(given.user.unwrap_or_default()))
}

fn user_xml(name: &str) -> String {
    format!("<user><id>1</id><username>{name}</username></user>")
}

/// Logs in: both outcomes give a cookie to a client without a session.
pub(super) fn log_in(given: &Given<'_>) -> Answer {
    let Given { server, call, body, .. } = *given;
    let session = server.sessions.open(call.context, &call.cookies);
    let (code, outcome, message) = server.people.login(is_right(body));
    if code == StatusCode::OK {
        server.sessions.log_in(&session, USER);
    }
    let content = format!(
        "<com.mirth.connect.model.LoginStatus><status>{outcome}</status><message>{message}</message>\
         </com.mirth.connect.model.LoginStatus>"
    );
    Answer::xml(content).with_status(code).with_cookie(session.cookie.as_deref())
}

/// Returns whether it is a form with the one user's name and password.
pub(super) fn is_right(form: &[u8]) -> bool {
    let form = String::from_utf8_lossy(form);
    let field = |name| form.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
    field("username").is_some_and(|(_, value)| value == USER)
        && field("password").is_some_and(|(_, value)| value == PASSWORD)
}

pub(super) fn log_out(given: &Given<'_>) -> Answer {
    given.server.sessions.end(given.call.context, &given.call.cookies);
    Answer::status(StatusCode::NO_CONTENT)
}

pub(super) fn channels(given: &Given<'_>) -> Answer {
    Answer::xml(given.server.channels.list())
}

pub(super) fn ids_and_names(given: &Given<'_>) -> Answer {
    Answer::xml(given.server.channels.ids_and_names())
}

pub(super) fn statuses(given: &Given<'_>) -> Answer {
    Answer::xml(given.server.channels.statuses())
}

pub(super) fn status(given: &Given<'_>) -> Answer {
    let status = given.parameters.first().and_then(|id| given.server.channels.status(id));
    status.map_or_else(|| Answer::status(StatusCode::NO_CONTENT), Answer::xml)
}

pub(super) fn channel(given: &Given<'_>) -> Answer {
    let channel = given.parameters.first().and_then(|id| given.server.channels.get(id));
    channel.map_or_else(|| Answer::status(StatusCode::NO_CONTENT), Answer::xml)
}

pub(super) fn create_channel(given: &Given<'_>) -> Answer {
    boolean(given.server.channels.put(given.body, false))
}

pub(super) fn update_channel(given: &Given<'_>) -> Answer {
    boolean(given.server.channels.put(given.body, true))
}

fn boolean(value: bool) -> Answer {
    Answer::xml(format!("<boolean>{value}</boolean>"))
}

pub(super) fn remove_channel(given: &Given<'_>) -> Answer {
    if let Some(id) = given.parameters.first() {
        given.server.channels.remove(id);
    }
    Answer::status(StatusCode::NO_CONTENT)
}

/// Deploys one channel where the path names it, else all.
pub(super) fn deploy(given: &Given<'_>) -> Answer {
    set_state(given, "STARTED")
}

pub(super) fn stop(given: &Given<'_>) -> Answer {
    set_state(given, "STOPPED")
}

pub(super) fn undeploy(given: &Given<'_>) -> Answer {
    set_state(given, "UNDEPLOYED")
}

fn set_state(given: &Given<'_>, state: &'static str) -> Answer {
    given.server.channels.set_state(given.parameters.first().copied(), state);
    Answer::status(StatusCode::NO_CONTENT)
}

/// Takes a message of any size.
pub(super) fn process(_: &Given<'_>) -> Answer {
    Answer::xml("<long>1</long>")
}

/// Throws for a channel that there is not, and makes nothing, as Mirth's engine does here.
pub(super) fn max_message_id(given: &Given<'_>) -> Answer {
    match given.parameters.first() {
        Some(id) if given.server.channels.has_tables(id) => count(given),
        _ => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "Channel does not exist"),
    }
}

/// Answers with messages: for a made-up channel Mirth's engine makes tables first. As many messages of a
/// kibibyte as `limit` says, twenty unless it does.
pub(super) fn messages(given: &Given<'_>) -> Answer {
    const KIBIBYTE: usize = 1024;
    given.server.channels.make_tables(given.parameters.first().copied().unwrap_or_default());
    let [open, close] = ["<message><messageId>1</messageId><serverId>", "</serverId></message>"];
    let filling = "x".repeat(KIBIBYTE - open.len() - close.len());
    let limit = given.call.parameter("limit").and_then(|limit| limit.parse().ok()).unwrap_or(20);
    Answer::list("<list>", Bytes::from([open, &filling, close].concat()), limit, "</list>")
}

/// Answers with a channel's variables or connections: for a made-up one Mirth makes an empty map or list, and
/// keeps it.
pub(super) fn map_of_one(given: &Given<'_>) -> Answer {
    given.server.channels.make_map(given.parameters.first().copied().unwrap_or_default());
    Answer::xml("<map/>")
}

/// Answers with the same for each channel that query or body names.
pub(super) fn maps_of_many(given: &Given<'_>) -> Answer {
    let pairs = given.call.query.split('&').filter_map(|pair| pair.split_once('='));
    for (_, id) in pairs.filter(|(name, _)| *name == "channelId") {
        given.server.channels.make_map(id);
    }
    for id in String::from_utf8_lossy(given.body).split("<string>").skip(1) {
        given.server.channels.make_map(id.split('<').next().unwrap_or_default());
    }
    Answer::xml("<map/>")
}

/// Answers with as many lines as `fetchSize` says, ten unless it does.
pub(super) fn server_log(given: &Given<'_>) -> Answer {
    let line = Bytes::from_static(
        b"<serverLogItem><id>1</id><level>INFO</level><message>stand-in</message></serverLogItem>",
    );
    let lines = given.call.parameter("fetchSize").and_then(|size| size.parse().ok()).unwrap_or(10);
    Answer::list("<list>", line, lines, "</list>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(name: &str, method: &str) -> &'static Operation {
        OPERATIONS.iter().find(|one| one.name == name && one.method == method).unwrap()
    }

    #[test]
    fn a_path_that_matches_its_whole_template_gives_its_parameters() {
        let get = operation("getChannel", "GET");
        assert_eq!(matches(get, "/channels/c1"), Some(vec!["c1"]));
        for other in ["/channels", "/channels/", "/channels/c1/x", "/channelsx/c1", ""] {
            assert_eq!(matches(get, other), None, "{other}");
        }
        let preference = operation("setUserPreference", "PUT");
        assert_eq!(matches(preference, "/users/1/preferences/x"), Some(vec!["1", "x"]));
        assert_eq!(matches(operation("getMirthServerLogs", "GET"), "/extensions/serverlog"), Some(vec![]));
    }

    #[test]
    fn only_the_right_name_with_the_right_password_logs_in() {
        assert!(is_right(b"username=admin&password=admin"));
        for form in ["", "username=admin", "username=admin&password=x", "password=admin"] {
            assert!(!is_right(form.as_bytes()), "{form}");
        }
    }
}
