//! Operations that the managed server lists and adit does not know. A rule with a parameter must not
//! reach one of them: Jersey would choose the path that spells out more.

use super::operation::Place;
use super::wadl::{ListedOperation, segments};

/// What a server serves besides the operations of our tables.
pub struct Unknown(Vec<Template>);

struct Template {
    text: String,
    segments: Vec<Segment>,
    /// Any further segments match too, even none.
    is_open: bool,
}

enum Segment {
    Literal(String),
    Parameter,
    /// Whatever begins and ends so.
    Around(String, String),
}

impl Unknown {
    #[must_use]
    pub fn new(listed: &[ListedOperation]) -> Self {
        Self(listed.iter().map(|listed| Template::new(&listed.path)).collect())
    }

    /// The template that Jersey might prefer for these segments to the place that our tables know.
    #[must_use]
    pub fn preferred(&self, segments: &[&str], known: Option<&Place>) -> Option<&str> {
        let is_preferred = |template: &&Template| {
            template.matches(segments) && !known.is_some_and(|place| template.is_within(&place.literal))
        };
        self.0.iter().find(is_preferred).map(|template| template.text.as_str())
    }
}

impl Template {
    fn new(path: &str) -> Self {
        let segments = segments(path);
        let closed = segments.iter().position(|segment| may_span(segment));
        let inner = segments.iter().take(closed.unwrap_or(usize::MAX)).copied().map(Segment::new).collect();
        Self { text: path.to_owned(), segments: inner, is_open: closed.is_some() }
    }

    fn matches(&self, segments: &[&str]) -> bool {
        let long_enough = if self.is_open {
            segments.len() >= self.segments.len()
        } else {
            segments.len() == self.segments.len()
        };
        long_enough && self.segments.iter().zip(segments).all(|(own, segment)| own.matches(segment))
    }

    /// Whether the known template spells out all that this one does; and more, where this one may take in
    /// any number of segments.
    fn is_within(&self, known: &[bool]) -> bool {
        let spelt_out = self.segments.iter().map(|segment| !matches!(segment, Segment::Parameter));
        let covered = spelt_out.clone().zip(known.iter().chain(std::iter::repeat(&false)));
        let count = |literals: usize| literals + usize::from(self.is_open);
        covered.into_iter().all(|(own, known)| !own || *known)
            && count(spelt_out.filter(|own| *own).count()) <= known.iter().filter(|known| **known).count()
    }
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

/// Whether a segment's parameter may take in several segments of a path.
fn may_span(segment: &str) -> bool {
    segment.starts_with("{+") || segment.contains(':')
}

#[cfg(test)]
mod tests {
    use super::super::operation::OPERATIONS;
    use super::*;

    fn preferred(listed: &str, path: &str) -> bool {
        let unknown =
            Unknown::new(&[ListedOperation { method: String::from("GET"), path: String::from(listed) }]);
        let path: Vec<_> = path.split('/').skip(1).collect();
        unknown.preferred(&path, OPERATIONS.place(&path)).is_some()
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
    fn a_parameter_of_any_pattern_takes_in_all_that_follows_and_nothing() {
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
