//! Which questions to ask Mirth before an operation that makes something for channels it does not have.
//!
//! Mirth's engine makes database tables for a channel that it is asked the messages of, and a map for one
//! that it is asked the variables of, even for an id that somebody made up. `maxMessageId` makes nothing
//! and fails for an unknown id, so its answer says whether the channel exists. Asking, and remembering the
//! answer for a while, is the agent's.

use std::collections::BTreeSet;

use super::path::escaped;
use super::query::Query;
use super::side_effect::ChannelIds;

/// A channel that must be known to exist first, and the GET that tells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelQuestion {
    /// The id as Mirth reads it, without percent escapes.
    pub channel: String,
    /// Answered with success only where the channel exists.
    pub target: String,
}

const MESSAGES: &str = "/channels/{channelId}/messages";
const QUESTION: &str = "messages/maxMessageId";

/// Returns what to ask before the operation at `template` may run; `None` where it makes no tables.
///
/// Both come from one verdict: `template` from its names, `target` as it is forwarded.
#[must_use]
pub fn question(template: &str, target: &str) -> Option<ChannelQuestion> {
    let below = template.strip_prefix(MESSAGES)?;
    if below == "/maxMessageId" || !(below.is_empty() || below.starts_with('/')) {
        return None;
    }
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let segments: Vec<_> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
    // Base and context come first, in any number; the template's own empty start counts for none.
    let base = segments.len().checked_sub(template.split('/').count() - 1)?;
    let (before, own) = segments.split_at(base);
    let ["channels", id, "messages", ..] = own else { return None };
    let target = [&before.join("/"), "channels", id, QUESTION].join("/");
    Some(ChannelQuestion { channel: decoded(id)?, target })
}

/// An id that no channel can have, or more of them than may be asked for at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoIds;

/// The parameter that names channels in a query; it may be repeated.
const PARAMETER: &str = "channelId";
/// A channel's id, where it is not a segment of the path. Mirth's own are UUIDs.
const ID_BYTES_MAX: usize = 64;

/// Returns what to ask before the operation at `template` may run with the ids that stand in `place`,
/// each once. `target` and `body` as they are forwarded.
pub fn questions(
    place: ChannelIds,
    template: &str,
    target: &str,
    body: &[u8],
    ids_max: usize,
) -> Result<BTreeSet<ChannelQuestion>, NoIds> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let segments: Vec<_> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
    let base = segments.len().checked_sub(template.split('/').count() - 1).ok_or(NoIds)?;
    let (before, own) = segments.split_at(base);
    let base = before.join("/");
    let about = |id: &str, channel: String| ChannelQuestion {
        channel,
        target: [&base, "channels", id, QUESTION].join("/"),
    };
    let mut questions = BTreeSet::new();
    match place {
        ChannelIds::Path => {
            let place = template.split('/').skip(1).position(|segment| segment == "{channelId}");
            let id = place.and_then(|place| own.get(place)).ok_or(NoIds)?;
            questions.insert(about(id, decoded(id).ok_or(NoIds)?));
        }
        ChannelIds::Query => {
            let query = query.map(Query::parse).transpose().map_err(|_| NoIds)?.unwrap_or_default();
            for id in query.values_spelt_like(PARAMETER) {
                questions.insert(about(plain(id)?, id.to_owned()));
            }
        }
        ChannelIds::Body => {
            for id in strings(body)? {
                questions.insert(about(plain(id)?, id.to_owned()));
                if questions.len() > ids_max {
                    return Err(NoIds);
                }
            }
        }
    }
    if questions.len() > ids_max { Err(NoIds) } else { Ok(questions) }
}

fn plain(id: &str) -> Result<&str, NoIds> {
    let is_plain = (1..=ID_BYTES_MAX).contains(&id.len())
        && !id.starts_with('.')
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    is_plain.then_some(id).ok_or(NoIds)
}

/// Returns the strings of a set as `body` has rewritten it, where no attribute, reference or space stands.
fn strings(body: &[u8]) -> Result<impl Iterator<Item = &str>, NoIds> {
    const OPEN: &str = "<string>";
    let text = std::str::from_utf8(body).map_err(|_| NoIds)?;
    // Any other spelling of the element would hide an id.
    if text.matches("<string").count() != text.matches(OPEN).count() {
        return Err(NoIds);
    }
    Ok(text.split(OPEN).skip(1).map(|rest| rest.split('<').next().unwrap_or_default()))
}

/// Decodes a segment: a canonical segment holds no escape outside ASCII, and `+` stands for itself in a path.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = segment.bytes();
    let mut decoded = String::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' { escaped(bytes.next(), bytes.next())? } else { byte };
        decoded.push(char::from(byte));
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use adit_core::domain::access::Access;

    use super::super::http::{Framing, RequestHead};
    use super::super::operation::{Class, OPERATIONS, shape};
    use super::super::verdict::{AccessPolicy, Judge, Verdict};
    use super::*;

    fn judge(context: &str, access: Access) -> Judge {
        let version = "4.5.2".parse().expect("is a version");
        let policy = AccessPolicy { access, hide: BTreeSet::new(), show: BTreeSet::new() };
        Judge::new(policy, context, Some(&version), &[])
    }

    /// Returns what is asked before this request goes on; panics where it does not go on.
    #[track_caller]
    fn asked(judge: &Judge, method: &str, target: &str) -> Option<ChannelQuestion> {
        let (method, target) = (String::from(method), String::from(target));
        let (headers, framing) = (Vec::new(), Framing::None);
        let head = RequestHead { method, target, headers, framing, expects_continue: false, closes: false };
        match judge.judge(&head) {
            Verdict::Forward { target, names, .. } => question(&names.template, &target),
            refused => panic!("{refused:?}"),
        }
    }

    fn about(channel: &str, target: &str) -> ChannelQuestion {
        ChannelQuestion { channel: String::from(channel), target: String::from(target) }
    }

    #[test]
    fn exactly_the_operations_on_messages_but_max_message_id_need_a_question() {
        let judge = judge("/", Access::ReadWrite);
        let mut asking = BTreeSet::new();
        for operation in OPERATIONS.all() {
            let path: String =
                shape(operation.template).flat_map(|literal| ["/", literal.unwrap_or("7")]).collect();
            for (base, end) in [("/api", ""), ("/api", "/"), ("/api/4.5.2", "?limit=1/2"), ("/api", "/?a")] {
                let found = asked(&judge, operation.method, &format!("{base}{path}{end}"));
                let is_due = operation.template.split('/').nth(3) == Some("messages")
                    && operation.template.starts_with("/channels/{channelId}/")
                    && operation.name != "getMaxMessageId";
                let expected = about("7", &format!("{base}/channels/7/messages/maxMessageId"));
                assert_eq!(found, is_due.then_some(expected), "{operation:?}");
                asking.extend(found.map(|_| (operation.method, operation.template)));
            }
        }
        let reads: Vec<_> = OPERATIONS.all().iter().filter(|known| known.class != Class::Write).collect();
        let reads: Vec<_> = reads
            .iter()
            .filter(|known| asking.contains(&(known.method, known.template)))
            .map(|known| (known.method, known.template.strip_prefix(MESSAGES).unwrap_or_default()))
            .collect();
        assert_eq!(
            reads,
            [
                ("GET", ""),
                ("POST", "/_search"),
                ("GET", "/count"),
                ("POST", "/count/_search"),
                ("GET", "/{messageId}"),
                ("POST", "/{messageId}/_getDICOMMessage"),
                ("GET", "/{messageId}/attachments"),
                ("GET", "/{messageId}/attachments/{attachmentId}"),
            ]
        );
    }

    #[test]
    fn the_question_keeps_base_with_context_but_not_the_query() {
        let id = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
        for (context, base) in [
            ("/", "/api"),
            ("/", "/api/4.5.2"),
            ("/mirth", "/mirth/api"),
            ("a/channels", "/a/channels/api/4.5.2"),
        ] {
            let judge = judge(context, Access::ReadOnly);
            let expected = about(id, &format!("{base}/channels/{id}/messages/maxMessageId"));
            for rest in
                ["messages", "messages/", "messages?limit=20&offset=0", "messages/7/?a=/channels/x/messages"]
            {
                let found = asked(&judge, "GET", &format!("{base}/channels/{id}/{rest}"));
                assert_eq!(found.as_ref(), Some(&expected), "{base} {rest}");
            }
            let other = asked(&judge, "GET", &format!("{base}/channels/{id}/messages/maxMessageId/?a=b"));
            assert_eq!(other, None, "{base}");
        }
    }

    #[test]
    fn an_id_asked_for_as_it_is_spelled_is_known_by_what_it_stands_for() {
        let judge = judge("/", Access::ReadOnly);
        for (sent, canonical, channel) in [
            ("a%20b", "a%20b", "a b"),
            ("%7ba%7D", "%7Ba%7D", "{a}"),
            ("a+b", "a+b", "a+b"),
            ("a%2bb", "a%2Bb", "a+b"),
            ("%7e", "~", "~"),
            ("channels", "channels", "channels"),
            ("messages", "messages", "messages"),
            ("api", "api", "api"),
        ] {
            let found = asked(&judge, "GET", &format!("/api/channels/{sent}/messages/count"));
            let target = format!("/api/channels/{canonical}/messages/maxMessageId");
            assert_eq!(found, Some(about(channel, &target)), "{sent}");
            assert_eq!(asked(&judge, "GET", &target), None, "the question itself needs none");
        }
    }

    const MAPS: &str = "/extensions/globalmapviewer/maps";

    #[track_caller]
    fn ids(place: ChannelIds, below: &str, target: &str, body: &str) -> Result<Vec<String>, NoIds> {
        let template = [MAPS, below].concat();
        let found = questions(place, &template, &["/api/4.5.2", MAPS, target].concat(), body.as_bytes(), 3)?;
        for question in &found {
            let channel = &question.channel;
            let target = format!("/api/4.5.2/channels/{channel}/messages/maxMessageId");
            assert_eq!(question.target, target);
        }
        Ok(found.into_iter().map(|question| question.channel).collect())
    }

    #[test]
    fn each_id_of_path_query_or_body_is_asked_for_once() {
        let in_path = |target| ids(ChannelIds::Path, "/{channelId}", target, "");
        assert_eq!(in_path("/a-1"), Ok(vec!["a-1".into()]));
        assert_eq!(in_path("/a-1/?x=y"), Ok(vec!["a-1".into()]));
        let in_query = |query: &str| ids(ChannelIds::Query, "/all", &["/all", query].concat(), "");
        assert_eq!(in_query(""), Ok(vec![]));
        assert_eq!(in_query("?includeGlobalMap=true"), Ok(vec![]));
        let both = Ok(vec!["a".into(), "b".into()]);
        assert_eq!(in_query("?channelId=a&includeGlobalMap=true&channelId=b&channelId=a"), both);
        assert_eq!(in_query("?channe%6CId=a&CHANNELID=b"), both, "as any reader might read it");
        let in_body = |body: &str| ids(ChannelIds::Body, "/_getAllMaps", "/_getAllMaps", body);
        assert_eq!(in_body("<set/>"), Ok(vec![]));
        assert_eq!(in_body("<set><string>a</string><string>b</string><string>a</string></set>"), both);
    }

    #[test]
    fn an_id_that_no_channel_has_is_not_asked_for() {
        let in_query = |query: &str| ids(ChannelIds::Query, "/all", &["/all", query].concat(), "");
        for query in [
            "?channelId=",
            "?channelId",
            "?channelId=a/b",
            "?channelId=%2e%2e",
            "?channelId=a%20b",
            "?x=1;channelId=a",
        ] {
            assert_eq!(in_query(query), Err(NoIds), "{query}");
        }
        let in_body = |body: &str| ids(ChannelIds::Body, "/_getAllMaps", "/_getAllMaps", body);
        for body in ["<set><string/></set>", "<set><string></string></set>", "<set><string >a</string></set>"]
        {
            assert_eq!(in_body(body), Err(NoIds), "{body}");
        }
    }

    #[test]
    fn more_ids_than_can_be_remembered_are_not_asked_for() {
        let body = |count: usize| -> String {
            let strings: Vec<String> =
                (0..count).map(|number| format!("<string>c{number}</string>")).collect();
            format!("<set>{}</set>", strings.concat())
        };
        let in_body = |body: &str| ids(ChannelIds::Body, "/_getAllMaps", "/_getAllMaps", body);
        assert_eq!(in_body(&body(3)).map(|found| found.len()), Ok(3));
        assert_eq!(in_body(&body(4)), Err(NoIds));
    }

    #[test]
    fn what_is_no_operation_on_messages_needs_no_question() {
        for (template, target) in [
            ("unknown", "/api/channels/7/messages"),
            ("/channels", "/api/channels"),
            ("/channels/{channelId}", "/api/channels/7"),
            ("/channels/{channelId}/messagesWithObj", "/api/channels/7/messagesWithObj"),
            ("/webadmin/Index.action", "/webadmin/Index.action"),
        ] {
            assert_eq!(question(template, target), None, "{template}");
        }
    }
}
