use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

use super::super::schema::Root;
use super::super::schema::tests::classes;
use super::super::{BodyKind, judge};
use super::samples::{WRITTEN_BY_CLIENTS, rows};
use super::sent_type;

fn kinds() -> impl Strategy<Value = BodyKind> {
    prop::sample::select(&BodyKind::ALL[..])
}

/// Returns a body that passes, of any kind, with some bytes changed, cut out or put in.
fn mutants() -> impl Strategy<Value = (BodyKind, Vec<u8>)> {
    let samples: Vec<_> = rows().map(|(kind, _, sample)| (kind, sample)).collect();
    let samples: Vec<_> = samples.into_iter().chain(WRITTEN_BY_CLIENTS.iter().copied()).collect();
    let pieces = prop::sample::select(PIECES);
    let edit = (any::<prop::sample::Index>(), 0..20_usize, pieces);
    (prop::sample::select(samples), prop::collection::vec(edit, 0..4)).prop_map(|((kind, sample), edits)| {
        let mut body = sample.as_bytes().to_vec();
        for (at, cut, piece) in edits {
            let at = at.index(body.len() + 1);
            let end = (at + cut).min(body.len());
            body.splice(at..end, piece.bytes());
        }
        (kind, body)
    })
}

const PIECES: &[&str] = &[
    "",
    " ",
    "<",
    ">",
    "/>",
    "\"",
    "&",
    "&#65;",
    "&lt;",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    " class=\"",
    " class=\"java.util.PriorityQueue\"",
    " class=\"string\"",
    "<string>a</string>",
    "<int>1</int>",
    "<map/>",
    "</set>",
    "\r\n",
    "\0",
    "é",
];

/// Every `class` that the output names is one that the kind's tables name.
fn unlisted_class(kind: BodyKind, out: &str) -> Option<String> {
    let mut listed = Vec::new();
    classes(Root::of(kind)?.elements, &mut listed);
    let named = out.split("class=\"").skip(1).filter_map(|rest| rest.split('"').next());
    named.into_iter().find(|name| !listed.contains(name)).map(str::to_owned)
}

proptest! {
    #[test]
    fn random_bytes_never_panic(kind in kinds(), body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = judge(kind, sent_type(kind), &body);
    }

    #[test]
    fn what_passed_passes_again_unchanged_without_a_class_of_its_own((kind, body) in mutants()) {
        if let Ok(out) = judge(kind, sent_type(kind), &body) {
            let again = judge(kind, sent_type(kind), &out);
            prop_assert_eq!(again.as_ref(), Ok(&out));
            let text = std::str::from_utf8(&out).expect("is text");
            prop_assert_eq!(unlisted_class(kind, text), None);
            if Root::of(kind).is_some() {
                for token in ["<!", "<?", "xmlns", "reference=", "resolves-to", "\0"] {
                    prop_assert!(!text.contains(token), "{} in {}", token, text);
                }
            }
        }
    }

    #[test]
    fn any_text_comes_back_as_the_same_text(key in ".*", value in "[ -~\r\n\t\u{80}-\u{2ff}]*") {
        let map = |key: &str, value: &str| {
            format!("<map><entry><string>{key}</string><string>{value}</string></entry></map>")
        };
        let body = map(&escaped(&key), &escaped(&value));
        let judged = judge(BodyKind::StringMap, sent_type(BodyKind::StringMap), body.as_bytes());
        prop_assert_eq!(judged.is_ok(), key.chars().all(is_of_xml));
        if let Ok(out) = judged {
            let out = std::str::from_utf8(&out).expect("is text");
            let read = quick_xml::escape::unescape(out).expect("unescapes");
            prop_assert_eq!(read, map(&key, &value));
        }
    }
}

/// Escapes as little as XML asks for.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('\r', "&#13;")
}

fn is_of_xml(char: char) -> bool {
    (char >= ' ' || "\t\n\r".contains(char)) && !matches!(char, '\u{fffe}' | '\u{ffff}')
}
