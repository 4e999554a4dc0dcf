//! Whether a partner's request goes on to the managed Mirth, in which spelling, and what is done with
//! its body.
//!
//! Full control passes whatever has one meaning. View-only passes what a rule names and nothing else:
//! the operation that Jersey would run must be the one that the rule is for, and the owner must not hide
//! it. Headers are judged in `http`, bodies in `body` once they are read.

use std::collections::BTreeSet;

use adit_core::domain::access::{Access, Category, OptIn};

use super::body::BodyKind;
use super::http::{Framing, RequestHead};
use super::operation::{Class, OPERATIONS, Operation};
use super::path::Path;
use super::query::Query;
use super::refusal::RequestRefusal;
use super::rule::{Action, RULES, Rule};
use super::sensitive;
use super::side_effect;
use super::surface;
use super::unknown::Unknown;
use super::version::{MirthVersion, view_only_needs};
use super::wadl::ListedOperation;

/// What the owner of the managed server lets this partner do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessPolicy {
    pub access: Access,
    /// Kept back from view-only partners; one with full control could undo any such limit.
    pub hide: BTreeSet<Category>,
    pub show: BTreeSet<OptIn>,
}

/// Judges the requests of one session. Compiled once, since policy, version and the server's own list
/// do not change within one.
pub struct Judge {
    policy: AccessPolicy,
    /// Segments of Mirth's `http.contextpath`.
    context: Vec<String>,
    version: Option<String>,
    view_only: Result<(), RequestRefusal>,
    /// For each operation.
    plans: Vec<Plan>,
    unknown: Unknown,
}

type Plan = Result<&'static Rule, RequestRefusal>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Send `target`; `body` says how the body is treated.
    Forward {
        target: String,
        body: BodyKind,
        names: Named,
    },
    /// Answered here, nothing is forwarded; the body is read and thrown away.
    Answer {
        status: u16,
        names: Named,
    },
    Refuse {
        refusal: RequestRefusal,
        names: Named,
    },
}

/// What a request is, for audit and explain: never a value of its path or query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Such as `/channels/{channelId}/messages`, `/webadmin/Index.action` or `unknown`.
    pub template: String,
    pub operation: Option<&'static str>,
    /// Listed as changing the server, or of a kind that may.
    pub changes: bool,
    /// The rule that decided, in words.
    pub rule: String,
}

/// A request that has one meaning, cut up.
struct Request<'a> {
    head: &'a RequestHead,
    path: &'a Path,
    query: Option<&'a Query<'a>>,
    /// Below the context path; none outside it.
    segments: Option<&'a [&'a str]>,
    /// Below the API's base, if it is there.
    api: Option<&'a [&'a str]>,
    /// The operation at a path that our tables know.
    operation: Option<usize>,
    /// The template of one that only the server's own list has, and that Jersey might choose.
    unknown: Option<&'a str>,
    names: Named,
}

const UNKNOWN: &str = "unknown";
const SAFE_METHODS: [&str; 4] = ["GET", "HEAD", "OPTIONS", "TRACE"];

impl Judge {
    /// Makes a judge; `context` is Mirth's `http.contextpath`; `unknown` is what its WADL lists and our
    /// tables do not.
    #[must_use]
    pub fn new(
        policy: AccessPolicy,
        context: &str,
        version: Option<&MirthVersion>,
        unknown: &[ListedOperation],
    ) -> Self {
        let plan = |(operation, rule): (_, &'static Option<Rule>)| plan(&policy, operation, rule.as_ref());
        let context = context.split('/').filter(|segment| !segment.is_empty()).map(String::from).collect();
        let plans = OPERATIONS.all().iter().zip(RULES.iter()).map(plan).collect();
        Self {
            policy,
            context,
            version: version.map(ToString::to_string),
            view_only: view_only_needs(version).map_err(RequestRefusal::TooOld),
            plans,
            unknown: Unknown::new(unknown),
        }
    }

    #[must_use]
    pub fn judge(&self, request: &RequestHead) -> Verdict {
        let (path, query) = match read_target(&request.target) {
            Ok(parts) => parts,
            Err(refusal) => return refuse(refusal, Named::unknown(&request.method)),
        };
        let segments: Vec<_> = path.segments().collect();
        let request = self.locate(request, &path, query.as_ref(), &segments);
        let judged = match self.policy.access {
            Access::ReadWrite => full_control(&request),
            Access::ReadOnly => self.view_only(&request),
        };
        match judged {
            Ok((Some(body), rule)) => {
                let target = target(request.path, request.query);
                Verdict::Forward { target, body, names: request.names.by(rule) }
            }
            Ok((None, rule)) => Verdict::Answer { status: 204, names: request.names.by(rule) },
            Err(refusal) => refuse(refusal, request.names),
        }
    }

    /// Finds what the request is for, no matter who asks.
    fn locate<'a>(
        &'a self,
        head: &'a RequestHead,
        path: &'a Path,
        query: Option<&'a Query<'a>>,
        segments: &'a [&'a str],
    ) -> Request<'a> {
        let segments = self.below_context(segments);
        let api = segments.and_then(|segments| self.below_base(segments));
        let place = api.and_then(|api| OPERATIONS.place(api));
        let operation = place.and_then(|place| OPERATIONS.at(place, as_get(&head.method)));
        let unknown = api.and_then(|api| self.unknown.preferred(as_get(&head.method), api, place));
        let mut names = Named::unknown(&head.method);
        if let Some(template) = unknown {
            names.template = String::from(template);
        } else if let Some(operation) = operation.map(|number| &OPERATIONS.all()[number]) {
            names.template = String::from(operation.template);
            names.operation = Some(operation.name);
            names.changes = changes(operation);
        } else if let Some(place) = place {
            names.template = String::from(place.template());
        } else if let Some(segments) = segments {
            names.of_page(&head.method, segments, path.ends_in_slash());
        }
        Request { head, path, query, segments, api, operation, unknown, names }
    }

    fn below_context<'a>(&self, segments: &'a [&'a str]) -> Option<&'a [&'a str]> {
        // Swagger's examples are mounted beside it.
        if segments.first() == Some(&"apiexamples") {
            return Some(segments);
        }
        let below = segments.get(self.context.len()..)?;
        self.context.iter().zip(segments).all(|(own, segment)| own == segment).then_some(below)
    }

    /// Returns the segments below `/api` or `/api/<the server's version>`; another server's version is no
    /// base.
    fn below_base<'a>(&self, segments: &'a [&'a str]) -> Option<&'a [&'a str]> {
        let below = segments.strip_prefix(&["api"])?;
        let is_version = |first: &str| match &self.version {
            Some(version) => version == first,
            None => first.parse::<MirthVersion>().is_ok(),
        };
        Some(if below.first().is_some_and(|first| is_version(first)) { &below[1..] } else { below })
    }

    fn view_only(&self, request: &Request<'_>) -> Judged {
        if let Some(template) = request.unknown {
            return Err(RequestRefusal::Unknown { template: String::from(template) });
        }
        let segments = request.segments.ok_or(RequestRefusal::Unlisted)?;
        if let Some(page) = surface::page(&request.head.method, segments, request.path.ends_in_slash()) {
            return self.page(page, request);
        }
        self.view_only.clone()?;
        self.operation(request, request.api.ok_or(RequestRefusal::Unlisted)?)
    }

    fn page(&self, page: &'static surface::Page, request: &Request<'_>) -> Judged {
        if page.reaches_api() {
            self.view_only.clone()?;
        }
        if let (Some(taken), Some(query)) = (page.parameters, request.query) {
            query.check_names(taken).map_err(RequestRefusal::Query)?;
        }
        carries_body(request.head, page.body)?;
        Ok((Some(page.body), format!("view-only: the page {} is on the list of pages", page.template)))
    }

    fn operation(&self, request: &Request<'_>, below: &[&str]) -> Judged {
        let Some(number) = request.operation else {
            return Err(if is_served(&request.head.method) {
                RequestRefusal::Unlisted
            } else {
                RequestRefusal::Method
            });
        };
        let rule = self.plans[number].clone()?;
        if rule.method != request.head.method {
            return Err(RequestRefusal::Method);
        }
        if !rule.admits(below) {
            return Err(RequestRefusal::NoNumber { template: OPERATIONS.all()[number].template });
        }
        if rule.action == Action::AnswerLocally {
            return Ok((None, String::from("view-only: preferences are answered here and stay as they are")));
        }
        if let Some(query) = request.query {
            // Credentials belong in the body, where they are looked at.
            let taken = if rule.body == BodyKind::Form { query.check_names(&[]) } else { Ok(()) };
            taken.and_then(|()| query.check_columns(&rule.columns)).map_err(RequestRefusal::Query)?;
        }
        carries_body(request.head, rule.body)?;
        let (operation, body) = (rule.operation, rule.body.as_str());
        let makes = side_effect::of(rule.method, OPERATIONS.all()[number].template).in_words();
        Ok((Some(rule.body), format!("view-only: the rule for {operation}, which {makes}; body: {body}")))
    }
}

/// The body to forward, or none for an answer of our own; and the rule in words.
type Judged = Result<(Option<BodyKind>, String), RequestRefusal>;

/// Returns whether the rule holds under this policy.
fn plan(policy: &AccessPolicy, operation: &Operation, rule: Option<&'static Rule>) -> Plan {
    let Operation { method, template, .. } = *operation;
    let Some(rule) = rule.filter(|_| operation.class != Class::Write) else {
        return Err(match template {
            "/server/encryption" => RequestRefusal::EncryptionKey,
            _ if operation.class == Class::Read => RequestRefusal::Unlisted,
            _ => RequestRefusal::Changes { method, template },
        });
    };
    if let Action::OwnerOptIn(opt_in) = rule.action
        && !policy.show.contains(&opt_in)
    {
        return Err(RequestRefusal::NotShown(opt_in));
    }
    match sensitive::categories(operation).iter().find(|category| policy.hide.contains(category)) {
        Some(&category) => Err(RequestRefusal::Hidden(category)),
        None => Ok(rule),
    }
}

fn full_control(request: &Request<'_>) -> Judged {
    if request.head.method == "CONNECT" {
        return Err(RequestRefusal::Connect);
    }
    Ok((Some(BodyKind::Stream), String::from("full control: every request with one meaning passes")))
}

fn read_target(target: &str) -> Result<(Path, Option<Query<'_>>), RequestRefusal> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let path = Path::parse(path).map_err(RequestRefusal::Path)?;
    let query = query.map(Query::parse).transpose().map_err(RequestRefusal::Query)?;
    Ok((path, query))
}

fn target(path: &Path, query: Option<&Query<'_>>) -> String {
    match query {
        Some(query) => [path.as_str(), "?", query.as_str()].concat(),
        None => path.as_str().to_owned(),
    }
}

/// Refuses a body where none belongs before a byte of it is read.
fn carries_body(head: &RequestHead, body: BodyKind) -> Result<(), RequestRefusal> {
    let empty = matches!(head.framing, Framing::None | Framing::Length(0));
    if body == BodyKind::None && !empty { Err(RequestRefusal::Body) } else { Ok(()) }
}

/// Returns the method judged: Jersey answers HEAD by running GET.
fn as_get(method: &str) -> &str {
    if method == "HEAD" { "GET" } else { method }
}

/// Returns whether any rule has this method, so that the path is what was wrong.
fn is_served(method: &str) -> bool {
    ["GET", "POST", "PUT", "DELETE"].contains(&method)
}

/// Returns whether it changes anything: a partner's preferences count as a session's matter in the table, but
/// Mirth keeps them.
fn changes(operation: &Operation) -> bool {
    operation.class == Class::Write || operation.method == "PUT"
}

fn refuse(refusal: RequestRefusal, names: Named) -> Verdict {
    let names = names.by(String::from(refusal.rule()));
    Verdict::Refuse { refusal, names }
}

impl Named {
    fn unknown(method: &str) -> Self {
        let changes = !SAFE_METHODS.contains(&method);
        Self { template: String::from(UNKNOWN), operation: None, changes, rule: String::new() }
    }

    fn of_page(&mut self, method: &str, segments: &[&str], slash: bool) {
        if let Some(template) = surface::template(segments, slash) {
            self.template = String::from(template);
            self.changes &= surface::page(method, segments, slash).is_none();
        }
    }

    fn by(self, rule: String) -> Self {
        Self { rule, ..self }
    }
}

#[cfg(test)]
mod tests;
