//! The launch file (JNLP) of the Administrator and of a plug-in.
//!
//! Its `codebase` is built from `Host` or is `codebase.webstart.url` of Mirth's file; the server that the
//! Administrator then connects to is the `Host`'s name with Mirth's own port, or `server.url`. Nothing
//! else in it is changed: not a byte.

use super::Unwritable;
use super::address::Addresses;

/// What Java loads and runs: never from elsewhere.
const CODE: [&str; 3] = ["jar", "nativelib", "extension"];

/// Returns the file with the addresses that the client asked for; none if it is no launch file.
pub(super) fn rewritten(text: &str, addresses: &Addresses) -> Result<Option<String>, Unwritable> {
    let mut file = File {
        addresses,
        out: String::with_capacity(text.len() + 64),
        has_root: false,
        starts: false,
        servers: 0,
    };
    match file.read(text) {
        Ok(()) if file.has_root && file.starts && file.servers == 0 => Err(Unwritable::NoServer),
        Ok(()) => Ok(file.has_root.then_some(file.out)),
        // Whatever else it may be, it is nothing that leads anywhere.
        Err(_) if !file.has_root && !text.to_ascii_lowercase().contains("jnlp") => Ok(None),
        Err(fault) => Err(fault),
    }
}

struct File<'a> {
    addresses: &'a Addresses,
    out: String,
    has_root: bool,
    /// Whether it starts a program, which is then told its server.
    starts: bool,
    servers: usize,
}

impl File<'_> {
    fn read(&mut self, mut rest: &str) -> Result<(), Unwritable> {
        let mut is_argument = false;
        while let Some(at) = rest.find('<') {
            let (text, markup) = rest.split_at(at);
            self.text(text, std::mem::take(&mut is_argument));
            let end = end_of(markup).ok_or(Unwritable::Unreadable)?;
            let (tag, after) = markup.split_at(end);
            rest = after;
            if tag.starts_with("<!") || tag.starts_with("<?") || tag.starts_with("</") {
                self.out.push_str(tag);
            } else {
                is_argument = self.tag(tag)? == "argument" && !tag.ends_with("/>");
            }
        }
        self.out.push_str(rest);
        Ok(())
    }

    fn text(&mut self, text: &str, is_argument: bool) {
        let inner = text.trim();
        match self.addresses.server(inner).filter(|_| is_argument) {
            Some(server) => {
                self.servers += 1;
                let start = text.len() - text.trim_start().len();
                self.out.push_str(&text[..start]);
                self.out.push_str(&server);
                self.out.push_str(&text[start + inner.len()..]);
            }
            None => self.out.push_str(text),
        }
    }

    /// Returns the element's name.
    fn tag<'t>(&mut self, tag: &'t str) -> Result<&'t str, Unwritable> {
        let inner = &tag[1..];
        let name_end = inner.find(|letter: char| letter.is_ascii_whitespace() || matches!(letter, '/' | '>'));
        let (name, mut rest) = inner.split_at(name_end.ok_or(Unwritable::Unreadable)?);
        self.has_root |= name == "jnlp";
        self.starts |= name == "application-desc";
        self.out.push('<');
        self.out.push_str(name);
        while let Some(quote_at) = rest.find(['"', '\'']) {
            let (before, quoted) = rest.split_at(quote_at);
            let length = quoted[1..].find(&quoted[..1]).ok_or(Unwritable::Unreadable)?;
            let attribute = before
                .trim_end_matches(|letter: char| letter.is_ascii_whitespace() || letter == '=')
                .trim_start();
            let value = self.value(name, attribute, &quoted[1..=length])?;
            self.out.push_str(before);
            self.out.push_str(&quoted[..1]);
            self.out.push_str(&value);
            self.out.push_str(&quoted[..1]);
            rest = &quoted[length + 2..];
        }
        self.out.push_str(rest);
        Ok(name)
    }

    fn value(&self, element: &str, attribute: &str, value: &str) -> Result<String, Unwritable> {
        let written = value.trim();
        let is_absolute = written.contains("://") || written.starts_with("//");
        if !is_absolute {
            return Ok(value.into());
        }
        let server = || self.addresses.server(written).ok_or(Unwritable::LeadsElsewhere);
        match (element, attribute) {
            ("jnlp", "codebase") => server(),
            // Where the file itself is asked for again.
            ("jnlp", "href") => self.addresses.asked(written).ok_or(Unwritable::LeadsElsewhere),
            _ => match self.addresses.own(written) {
                Some(own) => Ok(own),
                None if CODE.contains(&element) => Err(Unwritable::LeadsElsewhere),
                // The vendor's pages, Java's own.
                None => Ok(value.into()),
            },
        }
    }
}

/// Returns how long the tag, comment, section or instruction is that `markup` begins with.
fn end_of(markup: &str) -> Option<usize> {
    for (start, end) in [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")] {
        if let Some(inner) = markup.strip_prefix(start) {
            return inner.find(end).map(|at| start.len() + at + end.len());
        }
    }
    let mut quote = None;
    for (at, byte) in markup.bytes().enumerate() {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'>') => return Some(at + 1),
            // A document type of its own may say that anything is anything.
            (None, b'[') => return None,
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}
