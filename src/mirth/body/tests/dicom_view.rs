//! What the Administrator posts to view a DICOM message: the whole connector message, maps and all.

use proptest::prelude::{any, prop, prop_assert_eq, proptest};

use super::super::{Address, BodyKind, Judging, judge_for};
use super::{BodyRefusal, check_rewritten, refusal, sent_type};

const KIND: BodyKind = BodyKind::ConnectorMessage;
/// Shortened from a real one.
const REAL: &str = include_str!("../../data/dicom-view-body.xml");

fn own() -> Address {
    Address { channel: "11111111-0000-4000-8000-000000008104".into(), message: Some(8) }
}

fn judged(body: &str) -> Result<String, BodyRefusal> {
    let out = judge_for(KIND, sent_type(KIND), body.as_bytes(), Some(&own()))?;
    Ok(String::from_utf8(out.to_vec()).expect("is text"))
}

/// Returns what remains of a message with this in the place of its source map.
fn with_map(map: &str) -> Result<String, BodyRefusal> {
    judged(&format!(
        "<connectorMessage><messageId>8</messageId><sourceMapContent>{map}</sourceMapContent></connectorMessage>"
    ))
}

#[test]
fn of_a_real_message_only_the_contents_with_their_ids_go_on() {
    let compact = |text: &str| text.split_inclusive('>').map(str::trim).collect::<String>();
    let content = |name: &str, kind: &str| {
        format!(
            "<{name}><encrypted>false</encrypted><channelId>11111111-0000-4000-8000-000000008104</channelId>\
             <messageId>8</messageId><metaDataId>0</metaDataId><contentType>{kind}</contentType>\
             <content>QUJDREVGR0g=</content><dataType>DICOM</dataType></{name}>"
        )
    };
    let expected = format!(
        "<connectorMessage><messageId>8</messageId><metaDataId>0</metaDataId>\
         <channelId>11111111-0000-4000-8000-000000008104</channelId>{}{}</connectorMessage>",
        content("raw", "RAW"),
        content("encoded", "ENCODED")
    );
    assert_eq!(compact(&judged(REAL).expect("passes")), expected);
}

#[test]
fn no_class_nor_attribute_of_a_real_message_goes_on() {
    let out = judged(REAL).expect("passes");
    for word in ["class", "=\"", "Map", "java", "org.", "response", "int", "entry"] {
        assert!(!out.contains(word), "{word} in {out}");
    }
}

#[test]
fn whatever_a_map_names_stays_here() {
    for object in [
        "<content class=\"java.util.PriorityQueue\"/>",
        "<content><entry><string>a</string><java.io.File>x</java.io.File></entry></content>",
        "<dynamic-proxy><handler class='java.beans.EventHandler'/></dynamic-proxy>",
        "<content reference=\"../../raw\"/>",
        "<content id=\"1\"><a reference=\"1\" resolves-to=\"x\" defined-in=\"y\"/></content>",
        "<string>&#x0;&#x1c;&lt;b&gt;\u{85}\u{9f}é</string>",
    ] {
        let expected = "<connectorMessage><messageId>8</messageId></connectorMessage>";
        assert_eq!(with_map(object).as_deref(), Ok(expected), "{object}");
    }
}

#[test]
fn what_stays_here_must_be_well_formed_all_the_same() {
    for (map, expected) in [
        ("<!-- -->", BodyRefusal::Markup),
        ("<![CDATA[a]]>", BodyRefusal::Markup),
        ("<?x?>", BodyRefusal::Markup),
        ("<!DOCTYPE x>", BodyRefusal::Markup),
        ("&lol;", BodyRefusal::Reference),
        ("<a b=\"&lol;\"/>", BodyRefusal::Reference),
        ("& ", BodyRefusal::Malformed),
        ("<a></b>", BodyRefusal::Malformed),
        ("<a>", BodyRefusal::Malformed),
        ("</a>", BodyRefusal::Malformed),
        ("<a b/>", BodyRefusal::Malformed),
        ("<a b=\"<\"/>", BodyRefusal::Malformed),
        ("<1/>", BodyRefusal::Malformed),
        ("\0", BodyRefusal::Character),
        ("\u{ffff}", BodyRefusal::Character),
    ] {
        assert_eq!(with_map(map), Err(expected), "{map}");
    }
}

#[test]
fn what_stays_here_goes_at_most_sixty_four_elements_deep() {
    // The map is the first of them.
    let deep = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
    assert!(with_map(&deep(63)).is_ok());
    assert_eq!(with_map(&deep(64)), Err(BodyRefusal::TooDeep));
    assert_eq!(with_map(&"<a>".repeat(90_000)), Err(BodyRefusal::TooDeep));
}

#[test]
fn fields_may_come_in_any_order_but_only_once() {
    check_rewritten(
        KIND,
        "<connectorMessage>\n  <status>SENT</status>\n  <encoded/>\n  <chainId>0</chainId>\n  <sent/>\n  \
         <raw/>\n  <messageId>8</messageId>\n  <orderId>0</orderId>\n</connectorMessage>",
        "<connectorMessage>\n  <encoded/>\n  <raw/>\n  <messageId>8</messageId>\n  </connectorMessage>",
    );
    for name in ["messageId", "channelId", "raw", "encoded", "sourceMapContent", "status"] {
        let value = if name == "messageId" { "8" } else { "" };
        let field = format!("<{name}>{value}</{name}>");
        let body = format!("<connectorMessage>{field}<chainId/>{field}</connectorMessage>");
        assert_eq!(refusal(KIND, body.as_bytes()), Some(BodyRefusal::Repeated), "{name}");
    }
}

#[test]
fn what_goes_on_may_carry_no_attribute() {
    for field in [
        "<messageId class=\"long\">8</messageId>",
        "<raw class=\"com.mirth.connect.donkey.model.message.MessageContent\"/>",
        "<raw reference=\"../sourceMapContent\"/>",
        "<raw id=\"1\"/>",
        "<raw defined-in=\"x\"/>",
        "<raw><content reference=\"../../sent/content\"/></raw>",
        "<encoded resolves-to=\"x\"/>",
    ] {
        let body = format!("<connectorMessage>{field}</connectorMessage>");
        let refused = refusal(KIND, body.as_bytes());
        assert!(matches!(refused, Some(BodyRefusal::Attribute | BodyRefusal::Class)), "{field}: {refused:?}");
    }
}

/// Nothing is left that Mirth could answer from.
#[test]
fn a_message_of_which_nothing_goes_on_is_refused() {
    for fields in ["", "<sent/>", "<sourceMapContent><content class=\"map\"/></sourceMapContent>", " "] {
        let body = format!("<connectorMessage>{fields}</connectorMessage>");
        assert_eq!(refusal(KIND, body.as_bytes()), Some(BodyRefusal::Value), "{fields}");
    }
}

#[test]
fn a_message_of_24_mb_is_judged_with_no_more_held_than_goes_on() {
    let image = "QUJDREVGR0g=".repeat(900_000);
    let body = REAL.replace("QUJDREVGR0g=", &image);
    let maps = body.replace("<metaDataMap/>", &format!("<metaDataMap>{}</metaDataMap>", "x".repeat(8 << 20)));
    let mut judging = Judging::new(KIND, sent_type(KIND), Some(own())).expect("is judged so").expect("type");
    let mut most_beyond = 0;
    let mut fed = 0;
    for piece in maps.as_bytes().chunks(64 * 1024) {
        judging.feed(piece).expect("is good");
        fed += piece.len();
        most_beyond = most_beyond.max(judging.held().saturating_sub(fed.min(2 * image.len() + 4096)));
    }
    let out = judging.finish().expect("passes");
    assert_eq!(most_beyond, 0);
    assert!(out.len() < 2 * image.len() + 4096 && out.len() > 2 * image.len());
    assert_eq!(out, judged(&maps).expect("passes whole too").as_bytes());
}

#[test]
fn a_body_that_is_judged_as_it_comes_ends_at_64_mib() {
    let mut judging = Judging::new(KIND, sent_type(KIND), None).expect("is judged so").expect("type");
    judging.feed(b"<connectorMessage><raw/></connectorMessage>").expect("is good");
    let blanks = vec![b' '; 1 << 20];
    let refused = (0..64).find_map(|_| judging.feed(&blanks).err());
    assert_eq!(refused, Some(BodyRefusal::TooLarge { bytes_max: 64 << 20 }));
}

#[test]
fn only_what_may_be_large_is_judged_as_it_comes() {
    for kind in BodyKind::ALL {
        let judging = Judging::new(kind, sent_type(kind), None);
        assert_eq!(judging.is_some(), kind == KIND, "{kind:?}");
    }
    assert!(matches!(
        Judging::new(KIND, Some(b"application/json"), None),
        Some(Err(BodyRefusal::ContentType { .. }))
    ));
}

fn in_pieces(body: &[u8], cuts: &[usize]) -> Result<Vec<u8>, BodyRefusal> {
    let mut judging = Judging::new(KIND, sent_type(KIND), Some(own())).expect("is judged so")?;
    let mut rest = body;
    for cut in cuts {
        let (piece, after) = rest.split_at((*cut).min(rest.len()));
        judging.feed(piece)?;
        rest = after;
    }
    judging.feed(rest)?;
    Ok(judging.finish()?.to_vec())
}

const TEXTS: &[&str] = &[
    "a\r\nb\rc",
    "&#xd;&amp;&lt;",
    "é\u{85}😀",
    "<x y=\">\">z</x>",
    "&lol;",
    "<!-- -->",
    "\u{0}",
    "&",
    "\r",
];

proptest! {
    #[test]
    fn where_a_body_is_cut_makes_no_difference(
        cuts in prop::collection::vec(0..9_usize, 0..900),
        raw in prop::sample::select(TEXTS),
        map in prop::sample::select(TEXTS),
        end in any::<prop::sample::Index>(),
        is_short in any::<bool>(),
    ) {
        let body = REAL.replacen("QUJDREVGR0g=", raw, 1).replace("OFFIS_DCMTK_367", map);
        let body = if is_short { &body.as_bytes()[..end.index(body.len())] } else { body.as_bytes() };
        let whole = judge_for(KIND, sent_type(KIND), body, Some(&own())).map(|out| out.to_vec());
        prop_assert_eq!(in_pieces(body, &cuts), whole);
    }
}
