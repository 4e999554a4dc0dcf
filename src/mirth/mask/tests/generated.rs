use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};

use super::super::{Masker, Scope};
use super::{JSON, XML, masked, reference};

const NAMES: [&str; 16] = [
    "password",
    "smtpPassword",
    "passPhrase",
    "clientSecret",
    "privateKey",
    "token",
    "quoteToken",
    "keyPW",
    "Authorization",
    "host",
    "list",
    "map",
    "string",
    "comment",
    "passwordAuth",
    "a.b.C",
];

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(NAMES.as_slice())
}

fn text() -> impl Strategy<Value = String> {
    let names = name().prop_map(String::from);
    let other = prop_oneof![
        Just(String::new()),
        Just("\n    ".into()),
        Just("true".into()),
        Just("a &lt;password&gt; b".into()),
        Just("&#xd;".into()),
        "[a-z0-9 äß]{0,12}",
    ];
    prop_oneof![names, other]
}

/// Returns a document of an element, or the inside of one.
fn xml() -> impl Strategy<Value = String> {
    let leaf = (name(), text(), any::<bool>()).prop_map(|(name, text, is_empty)| {
        if is_empty { format!("<{name}/>") } else { format!("<{name} class=\"x>y\">{text}</{name}>") }
    });
    leaf.prop_recursive(5, 60, 4, |inner| {
        let many = prop::collection::vec(inner.clone(), 0..4).prop_map(|all| all.join("\n  "));
        let entry = (text(), inner)
            .prop_map(|(key, value)| format!("<entry>\n <string>{key}</string>{value}</entry>"));
        (name(), prop_oneof![many, entry]).prop_map(|(name, inside)| format!("<{name}>{inside}</{name}>"))
    })
}

/// Returns scalars of any kind, with canaries that no mask may let through.
fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z\"\\\\ä\n]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..4).prop_map(|members| members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

fn mask_json(value: &mut serde_json::Value, is_masked: bool) {
    use serde_json::Value;
    match value {
        Value::Array(all) => all.iter_mut().for_each(|value| mask_json(value, is_masked)),
        Value::Object(members) => {
            for (name, value) in members {
                mask_json(value, is_masked || reference::is_credential(name));
            }
        }
        Value::String(text) if is_masked && !text.is_empty() => *text = "********".into(),
        Value::Number(_) if is_masked => *value = "********".into(),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn xml_is_masked_as_a_slow_reader_would(document in xml(), cut in any::<prop::sample::Index>()) {
        let mut nodes = reference::parse(&document).expect("is well-formed");
        reference::mask(&mut nodes, false);
        let mut expected = String::new();
        reference::write(&nodes, &mut expected);
        let (before, after) = document.as_bytes().split_at(cut.index(document.len() + 1));
        assert_eq!(masked(Scope::Named, XML, &[before, after]), Ok(expected), "{document}");
    }

    #[test]
    fn json_is_masked_as_a_tree_would_be(mut value in json(), cut in any::<prop::sample::Index>()) {
        let document = value.to_string();
        mask_json(&mut value, false);
        let (before, after) = document.as_bytes().split_at(cut.index(document.len() + 1));
        let seen = masked(Scope::Named, JSON, &[before, after]).expect("is well-formed");
        assert_eq!(seen, value.to_string(), "{document}");
    }

    #[test]
    fn random_bytes_are_masked_or_refused_alike_however_they_are_cut(
        bytes in prop::collection::vec(prop::sample::select(b"<>/!-[]?&; ='\"{}:,\\ apswordentry01".as_slice()), 0..120),
        cut in any::<prop::sample::Index>(),
        kind in 0..3_usize,
    ) {
        let media_type = [Some(XML), Some(JSON), None][kind];
        let masked = |pieces: &[&[u8]]| {
            let mut masker = Masker::new(Scope::Named, media_type, None).ok()?;
            let mut out = bytes::BytesMut::new();
            for piece in pieces {
                masker.mask(piece, &mut out).ok()?;
            }
            masker.finish(&mut out).ok()?;
            Some(out)
        };
        let (before, after) = bytes.split_at(cut.index(bytes.len() + 1));
        assert_eq!(masked(&[&bytes]), masked(&[before, after]));
    }
}
