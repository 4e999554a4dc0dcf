//! What to do about a line that is no TOML, in better words than the parser's. The line's value is never
//! repeated: it may be a secret.

/// What people write by habit of other languages.
const TRUTHS: [&str; 6] = ["true", "false", "yes", "no", "on", "off"];
const CURLY_QUOTES: [char; 6] = ['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{201a}'];

/// Returns the remedy for `line`, about which the parser says `message`.
pub(super) fn remedy(line: &str, message: &str) -> String {
    let written = line.trim();
    let key = |line: &str| {
        let key = line.split(['=', ':']).next().unwrap_or_default().trim();
        let is_key =
            !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if is_key { key.to_owned() } else { "key".to_owned() }
    };
    if line.contains(CURLY_QUOTES) {
        return "write straight double quotes, as in key = \"value\"".into();
    }
    if message.contains("duplicate key") {
        return format!("`{}` stands there twice; remove one", key(written));
    }
    if message.contains("missing comma") {
        return "put a comma between two elements of the list".into();
    }
    let Some((_, value)) = written.split_once('=') else {
        return without_equals(written, &key(written), message);
    };
    let (value, key) = (value.trim(), key(written));
    let has_quotes = value.contains(['"', '\'']);
    if value.is_empty() || value.starts_with('#') {
        return format!("`{key}` has no value; write {key} = \"value\", or remove the line");
    }
    // `[::]:443` is an address, and no list.
    if value.starts_with('[') && !has_quotes && !value.contains("]:") {
        return format!(
            "put the value in quotes, each element of the list, as in {key} = [\"value\", \"value\"]"
        );
    }
    if TRUTHS.iter().any(|truth| value.eq_ignore_ascii_case(truth)) {
        return format!("`{key}` is not written like that; if it is a switch, write true or false");
    }
    if !has_quotes && value.starts_with(|first: char| first.is_alphanumeric() || "/.:_-[".contains(first)) {
        return format!("put the value in quotes, as in {key} = \"value\"");
    }
    if value.starts_with('"') && value.contains('\\') && message.contains("escape") {
        return "in double quotes write \\\\ for each \\, or use single quotes".into();
    }
    let odd = |quote| value.chars().filter(|char| *char == quote).count() % 2 == 1;
    if (value.starts_with('"') && odd('"')) || (value.starts_with('\'') && odd('\'')) {
        return format!("close the quotes of `{key}`");
    }
    if value.starts_with('[') && !value.contains(']') {
        return format!("close the list of `{key}` with ], and put a comma between two elements");
    }
    message.replace('\n', " ")
}

fn without_equals(written: &str, key: &str, message: &str) -> String {
    if written.starts_with('{') || written.starts_with('"') {
        return "this looks like JSON; write lines such as key = \"value\"".into();
    }
    if written.starts_with('[') {
        return "a table's head stands alone on its line, as in [relay], or [[p2p_source]] for an entry"
            .into();
    }
    // A line in the middle of a list.
    if ["invalid float", "invalid integer", "must be quoted"].iter().any(|part| message.contains(part)) {
        return "put the value in quotes".into();
    }
    if key != "key" && written.contains(':') {
        return format!("write {key} = \"value\"; a colon is not how this file is written");
    }
    if key != "key" || written.contains(' ') {
        return "write key = \"value\", or put # before a comment".into();
    }
    message.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use crate::config::agent::AgentConfig;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let text = format!("# first\n{line}\n");
        let said = AgentConfig::parse(&text, std::path::Path::new("")).expect_err(line).to_string();
        assert_eq!(said, format!("line 2: this line is not TOML: {expected}"), "{line}");
    }

    #[test]
    fn every_habit_of_other_languages_is_told_what_to_write() {
        let quotes = |key: &str| format!("put the value in quotes, as in {key} = \"value\"");
        check("state = /var/lib/adit", &quotes("state"));
        check("listen = 127.0.0.1:6661", &quotes("listen"));
        check("listen = [::]:443", &quotes("listen"));
        check("id = 0d5c2a7e-93c1-4b6f-8d15-6a1e2f3b4c5d", &quotes("id"));
        check("direct_addresses = [203.0.113.10:4433]", &quotes_of_list("direct_addresses"));
        check("probe = True", "`probe` is not written like that; if it is a switch, write true or false");
        check("state = \u{201c}/var/lib/adit\u{201d}", "write straight double quotes, as in key = \"value\"");
        check("state: /var/lib/adit", "write state = \"value\"; a colon is not how this file is written");
        check("{ \"state\": \"x\" }", "this looks like JSON; write lines such as key = \"value\"");
        check("state =", "`state` has no value; write state = \"value\", or remove the line");
        check("state = \"a", "close the quotes of `state`");
        check(r#"state = "C:\var\lib""#, r"in double quotes write \\ for each \, or use single quotes");
        check("direct_addresses = [\"a\" \"b\"]", "put a comma between two elements of the list");
        check("nonsense", "write key = \"value\", or put # before a comment");
        check("this is a note", "write key = \"value\", or put # before a comment");
    }

    #[test]
    fn a_list_of_several_lines_is_told_apart_from_json() {
        let said = |elements: &str| {
            let text = format!("direct_addresses = [\n{elements}\n]\n");
            AgentConfig::parse(&text, std::path::Path::new("")).expect_err("refused").to_string()
        };
        let bare = said("  203.0.113.10:4433,");
        assert_eq!(bare, "line 2: this line is not TOML: put the value in quotes");
        let close = said("  \"203.0.113.10:4433\"\n  \"203.0.113.11:4433\"");
        assert!(close.ends_with("put a comma between two elements of the list"), "{close}");
    }

    #[test]
    fn a_key_that_stands_twice_is_named() {
        let text = "state = \"a\"\nstate = \"b\"\n";
        let said = AgentConfig::parse(text, std::path::Path::new("")).expect_err("refused").to_string();
        assert_eq!(said, "line 2: this line is not TOML: `state` stands there twice; remove one");
    }

    fn quotes_of_list(key: &str) -> String {
        format!("put the value in quotes, each element of the list, as in {key} = [\"value\", \"value\"]")
    }

    #[test]
    fn a_broken_value_is_never_repeated() {
        for line in
            ["secret = abcdef0123", "secret = \"abcdef0123", "secret: abcdef0123", "token=abcdef0123\""]
        {
            let said = AgentConfig::parse(line, std::path::Path::new("")).expect_err(line).to_string();
            assert!(!said.contains("abcdef"), "{said}");
        }
    }
}
