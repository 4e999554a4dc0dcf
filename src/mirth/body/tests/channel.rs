use super::super::{Address, BodyKind, judge_for};
use super::samples::{WRITTEN_BY_CLIENTS, rows};
use super::{BodyRefusal, sent_type};

const OWN: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
/// Fields of a message that go on and hold a content, which says its channel and message again.
const CONTENTS: [&str; 2] = ["raw", "encoded"];

fn address(channel: &str) -> Address {
    Address { channel: channel.into(), message: Some(7) }
}

fn judged(channel: Option<&str>, fields: &str) -> Result<(), BodyRefusal> {
    let body = format!("<connectorMessage><messageId>7</messageId>{fields}</connectorMessage>");
    let kind = BodyKind::ConnectorMessage;
    let found = judge_for(kind, sent_type(kind), body.as_bytes(), channel.map(address).as_ref())?;
    assert_eq!(found, body.as_bytes(), "passes unchanged");
    Ok(())
}

/// Returns the element in each place that has one.
fn places(channel_id: &str) -> Vec<String> {
    let nested = CONTENTS.map(|name| format!("<{name}>{channel_id}<content>x</content></{name}>"));
    nested.into_iter().chain([String::from(channel_id)]).collect()
}

#[test]
fn a_message_of_the_paths_channel_or_of_none_passes() {
    let own = format!("<channelId>{OWN}</channelId>");
    assert_eq!(judged(Some(OWN), &places(&own).concat()), Ok(()));
    assert_eq!(judged(Some(OWN), &places("").concat()), Ok(()));
    assert_eq!(judged(Some("a&b c"), &places("<channelId>a&amp;b c</channelId>").concat()), Ok(()));
}

#[test]
fn a_message_that_names_another_channel_anywhere_is_refused() {
    for other in [
        "<channelId>3f2504e0-4f89-41d3-9a0c-0305e82c3302</channelId>",
        "<channelId>3F2504E0-4F89-41D3-9A0C-0305E82C3301</channelId>",
        "<channelId>3f2504e0-4f89-41d3-9a0c-0305e82c3301 </channelId>",
        "<channelId>3f2504e0-4f89-41d3-9a0c-0305e82c330</channelId>",
        "<channelId>3f2504e0-4f89-41d3-9a0c-0305e82c3301&#xd;</channelId>",
        "<channelId></channelId>",
        "<channelId/>",
    ] {
        for place in places(other) {
            assert_eq!(judged(Some(OWN), &place), Err(BodyRefusal::Channel), "{place}");
            assert_eq!(judged(None, &place), Ok(()), "{place}");
        }
        let behind = format!("<channelId>{OWN}</channelId><encoded>{other}</encoded>");
        assert_eq!(judged(Some(OWN), &behind), Err(BodyRefusal::Channel), "{behind}");
    }
}

#[test]
fn a_channel_named_only_once_may_be_spelled_with_references() {
    let kind = BodyKind::ConnectorMessage;
    let spelled = |id: &str| {
        let body = format!("<connectorMessage><channelId>{id}</channelId></connectorMessage>");
        judge_for(kind, sent_type(kind), body.as_bytes(), Some(&address("ab")))
    };
    let written = b"<connectorMessage><channelId>ab</channelId></connectorMessage>";
    assert_eq!(spelled("a&#98;").as_deref(), Ok(written.as_slice()));
    assert_eq!(spelled("&#x61;b").as_deref(), Ok(written.as_slice()));
    assert_eq!(spelled("ab\r"), Err(BodyRefusal::Channel));
    assert_eq!(spelled("ab</channelId><channelId>c"), Err(BodyRefusal::Repeated));
}

#[test]
fn a_message_that_names_another_message_anywhere_is_refused() {
    let places = |id: &str| {
        let nested = CONTENTS.map(|name| format!("<{name}>{id}</{name}>"));
        nested.into_iter().chain([String::from(id)])
    };
    let kind = BodyKind::ConnectorMessage;
    let judged = |field: &str| {
        let body = format!("<connectorMessage>{field}</connectorMessage>");
        judge_for(kind, sent_type(kind), body.as_bytes(), Some(&address(OWN))).map(|_| ())
    };
    for own in ["<messageId>7</messageId>", "<messageId>&#55;</messageId>"] {
        places(own).for_each(|place| assert_eq!(judged(&place), Ok(()), "{place}"));
    }
    // What XStream reads as octal may be another message to Mirth.
    places("<messageId>07</messageId>")
        .for_each(|place| assert_eq!(judged(&place), Err(BodyRefusal::Value), "{place}"));
    for other in
        ["<messageId>8</messageId>", "<messageId>-7</messageId>", "<messageId/>", "<messageId>7 </messageId>"]
    {
        places(other).for_each(|place| assert_eq!(judged(&place), Err(BodyRefusal::Message), "{place}"));
    }
}

#[test]
fn other_kinds_are_what_they_are_whatever_the_channel() {
    let samples = rows().map(|(kind, _, sample)| (kind, sample));
    for (kind, body) in samples.chain(WRITTEN_BY_CLIENTS.iter().copied()) {
        if !body.contains("<messageId>") {
            let for_any = judge_for(kind, sent_type(kind), body.as_bytes(), None);
            assert_eq!(
                judge_for(kind, sent_type(kind), body.as_bytes(), Some(&address(OWN))),
                for_any,
                "{kind:?}"
            );
        }
    }
}
