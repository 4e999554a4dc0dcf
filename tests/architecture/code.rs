//! Rust source as far as the rules need it: no comments, no texts, and where the tests begin.

/// The source with comments and the content of texts and characters blanked; lines stay where they
/// are.
pub(crate) fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = if source[at..].starts_with("//") {
            source[at..].find('\n').map_or(bytes.len(), |length| at + length)
        } else if source[at..].starts_with("/*") {
            comment_end(source, at)
        } else if let Some(end) = text_end(source, at) {
            end
        } else {
            let next = source[at..].chars().next().expect("not at the end");
            code.push(next);
            at += next.len_utf8();
            continue;
        };
        // A space keeps the words on both sides apart.
        code.push(' ');
        code.extend(source[at..end].chars().filter(|&char| char == '\n'));
        at = end;
    }
    code
}

/// Everything before the file's own tests, which by house rule come last.
pub(crate) fn before_tests(code: &str) -> &str {
    code.find("#[cfg(test)]\nmod tests {").map_or(code, |start| &code[..start])
}

/// The identifiers of `code` with their lines, and what follows each.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let is_word = |char: char| char.is_alphanumeric() || char == '_';
    let mut rest = code;
    let mut line = 1;
    std::iter::from_fn(move || {
        let start = rest.find(is_word)?;
        line += rest[..start].matches('\n').count();
        let end = rest[start..].find(|char| !is_word(char)).map_or(rest.len(), |length| start + length);
        let word = &rest[start..end];
        rest = &rest[end..];
        Some((line, word, rest))
    })
}

fn comment_end(source: &str, start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < source.len() {
        let rest = &source.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    source.len()
}

/// Where the text or character that begins at `start` ends; `None` when none does.
fn text_end(source: &str, start: usize) -> Option<usize> {
    let rest = &source[start..];
    let after_word = source[..start].ends_with(|char: char| char.is_alphanumeric() || char == '_');
    let raw = ["r", "br", "cr"].into_iter().filter(|prefix| !after_word && rest.starts_with(prefix));
    for prefix in raw {
        let hashes = rest[prefix.len()..].bytes().take_while(|&byte| byte == b'#').count();
        let open = prefix.len() + hashes;
        if rest[open..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let length = rest[open + 1..].find(&close)?;
            return Some(start + open + 1 + length + close.len());
        }
    }
    match rest.as_bytes()[0] {
        b'"' => Some(start + quoted_length(rest, b'"')?),
        // A lifetime has no closing quote where a character's would be.
        b'\'' if rest[1..].starts_with('\\') => Some(start + quoted_length(rest, b'\'')?),
        b'\'' => {
            let char = rest[1..].chars().next()?;
            rest[1 + char.len_utf8()..].starts_with('\'').then(|| start + 2 + char.len_utf8())
        }
        _ => None,
    }
}

fn quoted_length(text: &str, quote: u8) -> Option<usize> {
    let mut escaped = false;
    let close = text.bytes().skip(1).position(|byte| {
        let ends = byte == quote && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    Some(close + 2)
}

#[test]
fn neither_comments_nor_texts_are_code() {
    let check = |source: &str, expected: &str| {
        let code = code_only(source);
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), expected, "{source}");
    };
    check("a // unsafe\nb", "a b");
    check("a /* x /* y */ z */ b", "a b");
    check(r#"a("tokio \" // ", b)"#, "a( , b)");
    check("a(r#\"x \" y\"#, b\"z\")", "a( , b )");
    check("f::<'a>('\\'', 'x', '\"', b)", "f::<'a>( , , , b)");
    check("r#async = 1", "r#async = 1");
}

#[test]
fn lines_stay_where_they_are() {
    let code = code_only("a /* \n\n */ b\n\"\n\" c");
    let lines: Vec<_> = words(&code).map(|(line, word, _)| (line, word)).collect();
    assert_eq!(lines, [(1, "a"), (3, "b"), (5, "c")]);
}
