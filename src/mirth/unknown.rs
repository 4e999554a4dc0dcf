//! Operations that the managed server lists and adit does not know. A rule must not reach one of them.
//!
//! Jersey sorts templates by how many characters they spell out (JAX-RS 2.0 §3.7.2), but Mirth's 2.22.1
//! first chooses the class by its own path, and never another one after that: `/extensions/{x}` goes before
//! Mirth's `/extensions`, whatever follows. So a known operation is believed only where both ways surely
//! lead to it.

use super::operation::Place;
use super::wadl::{ANY_METHOD, ListedOperation, segments};

/// What a server serves besides the operations of our tables.
pub(crate) struct Unknown(Vec<Template>);

struct Template {
    method: String,
    text: String,
    segments: Vec<Segment>,
    /// Any further segments match too, even none.
    is_open: bool,
    /// What the path of the class alone spells out, and the whole one.
    root: Spelt,
    whole: Spelt,
}

/// A path in segments, and the characters that it spells out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Spelt {
    shape: Vec<Option<String>>,
    characters: usize,
}

/// The paths of Mirth's own classes below `/`; a template belongs to the longest that begins it.
const ROOTS: [&str; 22] = [
    "/alerts",
    "/channelgroups",
    "/channels",
    "/connectors/doc",
    "/connectors/file",
    "/connectors/http",
    "/connectors/jdbc",
    "/connectors/jms",
    "/connectors/smtp",
    "/connectors/tcp",
    "/connectors/ws",
    "/databaseTasks",
    "/events",
    "/extensions",
    "/extensions/dashboardstatus",
    "/extensions/datapruner",
    "/extensions/directoryresource",
    "/extensions/globalmapviewer",
    "/extensions/serverlog",
    "/server",
    "/system",
    "/users",
];

enum Segment {
    Literal(String),
    Parameter,
    /// Whatever begins and ends so.
    Around(String, String),
}

impl Unknown {
    #[must_use]
    pub(crate) fn new(listed: &[ListedOperation]) -> Self {
        Self(listed.iter().map(Template::new).collect())
    }

    /// Returns the template that Jersey might prefer for these segments to the place that our tables know.
    #[must_use]
    pub(crate) fn preferred(&self, method: &str, segments: &[&str], known: Option<&Place>) -> Option<&str> {
        let is_preferred = |template: &&Template| {
            let surely_known = |place: &Place| {
                template.is_within(&place.literal)
                    && (!template.has(method) || template.comes_after(place.template()))
            };
            template.matches(segments) && !known.is_some_and(surely_known)
        };
        self.0.iter().find(is_preferred).map(|template| template.text.as_str())
    }
}

impl Template {
    fn new(listed: &ListedOperation) -> Self {
        let path = listed.path.as_str();
        let segments = segments(path);
        let root = Spelt::new(segments.iter().take(listed.root_segments));
        let whole = Spelt::new(segments.iter());
        let closed = segments.iter().position(|segment| may_span(segment));
        let inner = segments.iter().take(closed.unwrap_or(usize::MAX)).copied().map(Segment::new).collect();
        let (method, text) = (listed.method.clone(), path.to_owned());
        Self { method, text, segments: inner, is_open: closed.is_some(), root, whole }
    }

    fn has(&self, method: &str) -> bool {
        self.method == method || self.method == ANY_METHOD
    }

    /// Returns whether Jersey goes to the known template before this one, by class or by whole path.
    fn comes_after(&self, known: &str) -> bool {
        let whole = Spelt::new(segments(known).iter());
        let root = ROOTS.iter().filter(|root| is_below(known, root)).max_by_key(|root| root.len());
        let root = Spelt::new(segments(root.unwrap_or(&"")).iter());
        let is_class_before = self.root.characters < root.characters || self.root == root;
        is_class_before && (self.whole.characters < whole.characters || self.whole.shape == whole.shape)
    }

    fn matches(&self, segments: &[&str]) -> bool {
        let long_enough = if self.is_open {
            segments.len() >= self.segments.len()
        } else {
            segments.len() == self.segments.len()
        };
        long_enough && self.segments.iter().zip(segments).all(|(own, segment)| own.matches(segment))
    }

    /// Returns whether the known template spells out all that this one does; and more, where this one may
    /// take in any number of segments.
    fn is_within(&self, known: &[bool]) -> bool {
        let spelt_out = self.segments.iter().map(|segment| !matches!(segment, Segment::Parameter));
        let covered = spelt_out.clone().zip(known.iter().chain(std::iter::repeat(&false)));
        let count = |literals: usize| literals + usize::from(self.is_open);
        covered.into_iter().all(|(own, known)| !own || *known)
            && count(spelt_out.filter(|own| *own).count()) <= known.iter().filter(|known| **known).count()
    }
}

fn is_below(template: &str, root: &str) -> bool {
    template.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Spelt {
    fn new<'a>(segments: impl Iterator<Item = &'a &'a str>) -> Self {
        let mut spelt = Self { shape: Vec::new(), characters: 0 };
        for segment in segments {
            spelt.characters += 1 + literal_characters(segment);
            spelt.shape.push((!segment.contains('{')).then(|| (*segment).to_owned()));
        }
        spelt
    }
}

/// Counts the characters outside braces.
fn literal_characters(segment: &str) -> usize {
    let mut depth = 0_usize;
    segment
        .chars()
        .filter(|character| {
            depth += usize::from(*character == '{');
            let is_outside = depth == 0;
            depth -= usize::from(*character == '}' && depth > 0);
            is_outside
        })
        .count()
}

impl Segment {
    fn new(segment: &str) -> Self {
        if !segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~{}".contains(&byte)) {
            // Escapes and what a client may escape: more than one spelling.
            return Self::Around(String::new(), String::new());
        }
        let (Some(start), Some(end)) = (segment.find('{'), segment.rfind('}')) else {
            return Self::Literal(segment.to_owned());
        };
        let (before, after) = (&segment[..start], &segment[end + 1..]);
        let is_one = segment.matches('{').count() == 1;
        if is_one && before.is_empty() && after.is_empty() {
            Self::Parameter
        } else {
            Self::Around(before.to_owned(), after.to_owned())
        }
    }

    fn matches(&self, segment: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == segment,
            Self::Parameter => true,
            Self::Around(start, end) => segment.starts_with(start) && segment.ends_with(end),
        }
    }
}

/// Returns whether a segment's parameter may take in several segments of a path.
fn may_span(segment: &str) -> bool {
    segment.starts_with("{+") || segment.contains(':')
}

#[cfg(test)]
mod tests {
    use super::super::operation::OPERATIONS;
    use super::*;

    fn preferred(listed: &str, path: &str) -> bool {
        in_class(1, listed, "GET", path)
    }

    /// Returns whether one that is listed for GET, in a class of so many segments, is preferred for this
    /// request.
    fn in_class(root_segments: usize, listed: &str, method: &str, path: &str) -> bool {
        let listed = ListedOperation { method: "GET".into(), path: listed.into(), root_segments };
        let path: Vec<_> = path.split('/').skip(1).collect();
        Unknown::new(&[listed]).preferred(method, &path, OPERATIONS.place(&path)).is_some()
    }

    #[test]
    fn a_class_with_a_parameter_goes_before_mirths_own() {
        assert!(in_class(2, "/extensions/{x}/{y}", "GET", "/extensions/foo/properties"));
        assert!(in_class(2, "/extensions/{x}/properties", "GET", "/extensions/foo/properties"));
        assert!(in_class(2, "/extensions/{x}/{+y}", "GET", "/extensions/foo/enabled"));
        assert!(in_class(2, "/extensions/{x}", "GET", "/extensions/plugins"));
        assert!(in_class(2, "/channels/{x}/{y}", "GET", "/channels/7/status"));
        assert!(in_class(3, "/channels/{x}/messages/{y}", "GET", "/channels/7/messages/8"));
        assert!(in_class(1, "/codeTemplates/{x}", "GET", "/codeTemplates/7"), "Mirth's class is /");
        assert!(in_class(1, "/{x}/{y}", "GET", "/codeTemplates/7"));
    }

    #[test]
    fn a_class_that_spells_out_less_or_has_another_method_runs_nothing_of_mirths() {
        assert!(!in_class(2, "/extensions/{x}/{y}", "POST", "/extensions/foo/properties"));
        assert!(!in_class(2, "/extensions/{x}/{y}", "GET", "/extensions/foo"));
        assert!(!in_class(1, "/{x}/{y}/{z}", "GET", "/extensions/foo/properties"));
        assert!(!in_class(2, "/{x}/{y}/{z}", "GET", "/extensions/foo/properties"));
        assert!(!in_class(2, "/extensions/{x}/{y}", "GET", "/extensions/globalmapviewer/maps/global"));
    }

    #[test]
    fn an_unknown_path_that_spells_out_more_than_a_known_one_is_preferred() {
        assert!(preferred("/extensions/foo", "/extensions/foo"));
        assert!(preferred("/extensions/foo/{x}", "/extensions/foo/properties"));
        assert!(preferred("/channels/{id}/messages/newest", "/channels/x/messages/newest"));
        assert!(preferred("/plugin", "/plugin"));
    }

    #[test]
    fn a_known_path_that_spells_out_as_much_stays_known() {
        assert!(!preferred("/extensions/{name}", "/extensions/foo"));
        assert!(!preferred("/extensions/{name}/{what}", "/extensions/foo/properties"));
        assert!(!preferred("/channels/{id}", "/channels/statistics"));
        assert!(!preferred("/extensions/foo", "/extensions/bar"));
        assert!(!preferred("/extensions/foo/{x}", "/extensions/foo"));
    }

    #[test]
    fn a_parameter_of_any_pattern_takes_in_all_that_follows_even_nothing() {
        for path in ["/extensions/foo", "/extensions/foo/properties", "/extensions/foo/a/b/c"] {
            assert!(preferred("/extensions/foo/{+path}", path), "{path}");
        }
        assert!(preferred("/extensions/{+any}", "/extensions/foo"), "spells out as much: a draw");
        assert!(!preferred("/extensions/{+any}", "/extensions/foo/properties"));
        assert!(!preferred("/{+any}", "/extensions/foo"));
        assert!(preferred("/{+any}/x", "/nowhere"), "no known place");
    }

    #[test]
    fn a_segment_that_is_in_part_a_parameter_spells_out_more_than_one_that_is_it_whole() {
        assert!(preferred("/channels/{x}.json", "/channels/a.json"));
        assert!(preferred("/channels/v{x}", "/channels/v1"));
        assert!(preferred("/channels/{a}-{b}", "/channels/x-y"));
        assert!(!preferred("/channels/{x}.json", "/channels/a.xml"));
        assert!(!preferred("/channels/stat{x}", "/channels/statistics"));
    }

    #[test]
    fn a_segment_that_has_two_spellings_matches_anything() {
        for listed in
            ["/extensions/My%20Plugin", "/extensions/My Plugin", "/extensions/a$b", "/extensions/\u{e9}"]
        {
            assert!(preferred(listed, "/extensions/whatever"), "{listed}");
        }
    }
}
