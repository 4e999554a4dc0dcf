//! The same by other means: XML through a parser's events, JSON through a tree, slowly and without
//! regard to bytes. What both say must be the same; where they disagree, one of them is wrong.

use quick_xml::Reader;
use quick_xml::events::Event;

/// Elements as `(name, attributes as they stand, children)`; text as it stands.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Element { tag: String, name: String, children: Vec<Node> },
    Text(String),
}

/// Returns the elements of a document; none if it cannot be read.
pub(super) fn parse(xml: &str) -> Option<Vec<Node>> {
    let mut reader = Reader::from_str(xml);
    let mut open: Vec<(String, String, Vec<Node>)> = vec![(String::new(), String::new(), Vec::new())];
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) => {
                let name = String::from(tag.name().as_ref());
                open.push((String::from(&*tag), name, Vec::new()));
            }
            Event::Empty(tag) => {
                let name = String::from(tag.name().as_ref());
                let tag = String::from(&*tag) + "/";
                open.last_mut()?.2.push(Node::Element { tag, name, children: Vec::new() });
            }
            Event::End(_) => {
                let (tag, name, children) = open.pop()?;
                open.last_mut()?.2.push(Node::Element { tag, name, children });
            }
            Event::Text(text) => {
                push_text(&mut open.last_mut()?.2, &text);
            }
            Event::GeneralRef(name) => {
                let text = format!("&{};", &*name);
                push_text(&mut open.last_mut()?.2, &text);
            }
            Event::Eof => return Some(open.pop()?.2),
            _ => return None,
        }
    }
}

fn push_text(nodes: &mut Vec<Node>, text: &str) {
    match nodes.last_mut() {
        Some(Node::Text(last)) => last.push_str(text),
        _ => nodes.push(Node::Text(text.to_owned())),
    }
}

pub(super) fn write(nodes: &[Node], out: &mut String) {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Element { tag, .. } if tag.ends_with('/') => out.extend(["<", tag, ">"]),
            Node::Element { tag, name, children } => {
                out.extend(["<", tag, ">"]);
                write(children, out);
                out.extend(["</", name, ">"]);
            }
        }
    }
}

/// Recognises names as the issue has them.
pub(super) fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ends = ["password", "passphrase", "secret", "privatekey", "storepass", "keypass", "token", "keypw"];
    ["authorization", "proxy-authorization", "x-api-key"].contains(&name.as_str())
        || (ends.iter().any(|end| name.ends_with(end))
            && !["quotetoken", "quoteescapetoken"].contains(&name.as_str()))
}

/// Masks by names, in elements and in entries of maps.
pub(super) fn mask(nodes: &mut [Node], is_masked: bool) {
    for node in nodes {
        match node {
            Node::Text(text) if is_masked => {
                if !text.trim().is_empty() && !["true", "false"].contains(&text.trim()) {
                    *text = "********".into();
                }
            }
            Node::Text(_) => {}
            Node::Element { name, children, .. } if name == "entry" && !is_masked => {
                let mut key = None;
                for child in children {
                    let is_value = matches!(&key, Some(true));
                    if let (Node::Element { children, .. }, None) = (&*child, key) {
                        key = Some(is_credential(content(children).trim()));
                        continue;
                    }
                    if let Node::Element { .. } = child {
                        mask(std::slice::from_mut(child), is_value);
                    }
                }
            }
            Node::Element { name, children, .. } => {
                let is_masked = is_masked || is_credential(name);
                mask(children, is_masked);
            }
        }
    }
}

fn content(nodes: &[Node]) -> String {
    nodes.iter().fold(String::new(), |text, node| match node {
        Node::Text(own) => text + own,
        Node::Element { children, .. } => text + &content(children),
    })
}
