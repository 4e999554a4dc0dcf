//! Lists in pages: how many rows after which one, and where the next page goes on.
//!
//! A cursor names the last row of a page by what the list is ordered by, not by its number: rows that come or
//! go meanwhile shift no other. To whoever keeps one it is a word without a meaning; it holds only what the
//! page itself showed, so it need not be kept from anybody, and one that was tampered with reads as an error or
//! as a place in the same list. No statement of a database here.

use std::fmt;
use std::str::FromStr;

use super::limits::{CURSOR_CHARS_MAX, NAME_CHARS_MAX, PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX};
use super::time::Timestamp;

/// Some rows of a list. There may be fewer than were asked for, even none, and more after them all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    pub rows: Vec<T>,
    /// Where the next page begins; `None` at the end of the list.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// Turns each row into what another layer shows of it.
    #[must_use]
    pub fn map<U>(self, view: impl FnMut(T) -> U) -> Page<U> {
        Page { rows: self.rows.into_iter().map(view).collect(), next: self.next }
    }

    /// Does the same, and leaves out what may not be shown.
    #[must_use]
    pub fn filter_map<U>(self, view: impl FnMut(T) -> Option<U>) -> Page<U> {
        Page { rows: self.rows.into_iter().filter_map(view).collect(), next: self.next }
    }
}

/// Which page is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paging {
    pub after: Option<Cursor>,
    count: u32,
}

impl Paging {
    /// Asks for the first `count` rows, at least one and at most [`PAGE_ROWS_MAX`].
    #[must_use]
    pub fn first(count: u32) -> Self {
        Self { after: None, count: count.clamp(1, PAGE_ROWS_MAX) }
    }

    /// Asks for as many rows after `cursor`.
    #[must_use]
    pub fn after(self, cursor: Option<Cursor>) -> Self {
        Self { after: cursor, ..self }
    }

    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }
}

impl Default for Paging {
    fn default() -> Self {
        Self::first(PAGE_ROWS_DEFAULT)
    }
}

/// The lists; a cursor is of one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    Organizations,
    Servers,
    Channels,
    Peerings,
    Grants,
    Connections,
    AdminSessions,
    Audit,
    Users,
    Invitations,
    Sessions,
    ApiTokens,
}

impl List {
    const ALL: [Self; 12] = [
        Self::Organizations,
        Self::Servers,
        Self::Channels,
        Self::Peerings,
        Self::Grants,
        Self::Connections,
        Self::AdminSessions,
        Self::Audit,
        Self::Users,
        Self::Invitations,
        Self::Sessions,
        Self::ApiTokens,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Organizations => "organizations",
            Self::Servers => "servers",
            Self::Channels => "channels",
            Self::Peerings => "peerings",
            Self::Grants => "grants",
            Self::Connections => "connections",
            Self::AdminSessions => "admin-sessions",
            Self::Audit => "audit",
            Self::Users => "users",
            Self::Invitations => "invitations",
            Self::Sessions => "sessions",
            Self::ApiTokens => "tokens",
        }
    }
}

/// The last row that was shown, by what its list is ordered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// When it was made, and its id among those of the same moment.
    Made { at: Timestamp, id: String },
    /// Its name in lower case, and its id among those of the same name.
    Named { name: String, id: String },
    /// When it was written, and its number among those of the same moment.
    Written { at: Timestamp, number: i64 },
}

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    list: List,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no place in the list of {expected}; take the `next` of an earlier page of it, or begin without"
)]
pub struct InvalidCursor {
    expected: &'static str,
}

impl Cursor {
    #[must_use]
    pub const fn new(list: List, place: Place) -> Self {
        Self { list, place }
    }

    /// Replaces the number of an entry, where the place has one, by what another layer calls it.
    #[must_use]
    pub fn map_number(self, number: impl FnOnce(i64) -> i64) -> Self {
        let place = match self.place {
            Place::Written { at, number: known } => Place::Written { at, number: number(known) },
            place @ (Place::Made { .. } | Place::Named { .. }) => place,
        };
        Self { place, ..self }
    }

    /// Returns the place, if it is one of this list.
    pub fn place_in(&self, list: List) -> Result<&Place, InvalidCursor> {
        let fits = match self.place {
            Place::Made { .. } => matches!(
                list,
                List::Peerings
                    | List::Grants
                    | List::Connections
                    | List::AdminSessions
                    | List::Invitations
                    | List::Sessions
                    | List::ApiTokens
            ),
            Place::Named { .. } => {
                matches!(list, List::Organizations | List::Servers | List::Channels | List::Users)
            }
            Place::Written { .. } => matches!(list, List::Audit),
        };
        if fits && self.list == list {
            Ok(&self.place)
        } else {
            Err(InvalidCursor { expected: list.as_str() })
        }
    }
}

/// Hexadecimal, so that nobody takes it for something to be made by hand.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.list.as_str();
        let plain = match &self.place {
            Place::Made { at, id } => format!("{list}:made:{}:{id}", at.as_millis()),
            Place::Named { name, id } => format!("{list}:named:{id}:{name}"),
            Place::Written { at, number } => format!("{list}:written:{}:{number}", at.as_millis()),
        };
        f.write_str(&hex::encode(plain))
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        const NOT_OURS: InvalidCursor = InvalidCursor { expected: "anything" };
        let plain =
            Some(text).filter(|text| text.len() <= CURSOR_CHARS_MAX).and_then(|it| hex::decode(it).ok());
        let plain = plain.and_then(|plain| String::from_utf8(plain).ok()).ok_or(NOT_OURS)?;
        let parsed = plain.split_once(':').and_then(|(list, place)| {
            let list = List::ALL.into_iter().find(|known| known.as_str() == list)?;
            Some(Self { list, place: place_of(place)? })
        });
        parsed.filter(|cursor| cursor.place_in(cursor.list).is_ok()).ok_or(NOT_OURS)
    }
}

fn place_of(text: &str) -> Option<Place> {
    let (kind, rest) = text.split_once(':')?;
    match kind {
        "made" => {
            let (at, id) = rest.split_once(':')?;
            Some(Place::Made { at: Timestamp::from_millis(at.parse().ok()?), id: id_of(id)? })
        }
        "named" => {
            let (id, name) = rest.split_once(':')?;
            Some(Place::Named { name: text_of(name)?, id: id_of(id)? })
        }
        "written" => {
            let (at, number) = rest.split_once(':')?;
            Some(Place::Written {
                at: Timestamp::from_millis(at.parse().ok()?),
                number: number.parse().ok()?,
            })
        }
        _ => None,
    }
}

fn id_of(text: &str) -> Option<String> {
    uuid::Uuid::try_parse(text).ok().map(|id| id.to_string())
}

/// A database takes no text with a NUL in it.
fn text_of(text: &str) -> Option<String> {
    (!text.contains('\0')).then(|| text.to_owned())
}

/// What is looked for in names: a part of one, no matter in which case its ASCII letters are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a search is one line of 1 to {NAME_CHARS_MAX} characters, as a name is")]
pub struct InvalidSearch;

impl Search {
    /// Returns the pattern of `LIKE … ESCAPE '\'` that lower-case texts with it match.
    #[must_use]
    pub fn pattern(&self) -> String {
        let mut pattern = String::from("%");
        for letter in self.0.chars() {
            if matches!(letter, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(letter.to_ascii_lowercase());
        }
        pattern.push('%');
        pattern
    }
}

impl FromStr for Search {
    type Err = InvalidSearch;

    fn from_str(text: &str) -> Result<Self, InvalidSearch> {
        let is_line =
            (1..=NAME_CHARS_MAX).contains(&text.chars().count()) && !text.contains(char::is_control);
        is_line.then(|| Self(text.to_owned())).ok_or(InvalidSearch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0d5c2a7e-93c1-4b6f-8d15-6a1e2f3b4c5d";

    fn cursors() -> [Cursor; 3] {
        let (at, id) = (Timestamp::from_millis(-5), ID.to_owned());
        [
            Cursor::new(List::Grants, Place::Made { at, id: id.clone() }),
            Cursor::new(List::Servers, Place::Named { name: "st: märy'; --".into(), id }),
            Cursor::new(List::Audit, Place::Written { at: Timestamp::from_millis(7), number: i64::MAX }),
        ]
    }

    #[test]
    fn a_cursor_reads_back_as_it_was() {
        for cursor in cursors() {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn a_cursor_of_another_list_is_refused_with_what_to_do() {
        for cursor in cursors() {
            let error = cursor.place_in(List::Connections).unwrap_err().to_string();
            assert!(error.contains("the list of connections; take the `next` of an earlier page"), "{error}");
            assert!(cursor.place_in(cursor.list).is_ok());
        }
    }

    #[test]
    fn a_cursor_that_was_tampered_with_is_an_error_or_a_place_of_its_kind() {
        for cursor in cursors() {
            let text = cursor.to_string();
            for at in 0..text.len() {
                for letter in ["0", "f", "x", ""] {
                    let mut changed = text.clone();
                    changed.replace_range(at..=at, letter);
                    if let Ok(read) = changed.parse::<Cursor>() {
                        assert_eq!(read.list, cursor.list, "{changed}");
                        assert!(read.place_in(read.list).is_ok(), "{changed}");
                    }
                }
            }
        }
        let foreign = |plain: &str| hex::encode(plain).parse::<Cursor>();
        for plain in
            ["", "audit", "audit:numbered:x", "audit:made:1:2", "servers:numbered:1", "servers:named:x:y"]
        {
            assert!(foreign(plain).is_err(), "{plain}");
        }
        assert!(foreign(&format!("servers:named:{ID}:a\0")).is_err());
        assert!("0".repeat(CURSOR_CHARS_MAX + 1).parse::<Cursor>().is_err());
    }

    #[test]
    fn the_longest_name_fits_into_a_cursor() {
        let name = "\u{10ffff}".repeat(NAME_CHARS_MAX);
        let cursor = Cursor::new(List::Organizations, Place::Named { name, id: ID.into() });
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }

    #[test]
    fn a_page_has_at_least_one_row_up_to_the_bound() {
        assert_eq!([0, 1, 500, 501].map(|count| Paging::first(count).count()), [1, 1, 500, 500]);
        assert_eq!(Paging::default().count(), PAGE_ROWS_DEFAULT);
    }

    #[test]
    fn a_search_means_its_letters_whatever_they_mean_in_a_pattern() {
        assert_eq!("50%_\\ÄB".parse::<Search>().unwrap().pattern(), "%50\\%\\_\\\\Äb%");
        for text in ["", "a\0b", "a\nb", &"x".repeat(NAME_CHARS_MAX + 1)] {
            assert!(text.parse::<Search>().is_err(), "{text:?}");
        }
    }
}
