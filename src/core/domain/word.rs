//! Words of the wire and of files that a newer build may add to: one that is not known costs what it stands
//! in, never the rest. After rustls, whose enumerations of the wire hold what they do not know.

use std::fmt;

use serde::de::value::{Error as NoWord, StrDeserializer};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny, IntoDeserializer};
use serde::{Serialize, Serializer};

use super::limits::UNKNOWN_WORD_BYTES_MAX;

/// Name of the metric that counts what was not known and ignored, labelled with its `kind`.
pub const UNKNOWN_WORDS: &str = "adit_unknown_words_total";

/// A word of a closed list, or one that a newer build has added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word<T> {
    Known(T),
    Other(UnknownWord),
}

impl<T: Copy> Word<T> {
    /// Returns the word, if this build knows it.
    #[must_use]
    pub const fn known(self) -> Option<T> {
        match self {
            Self::Known(known) => Some(known),
            Self::Other(_) => None,
        }
    }
}

impl<T: DeserializeOwned> Word<T> {
    /// Reads a word as the wire and files spell it.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let deserializer: StrDeserializer<'_, NoWord> = text.into_deserializer();
        T::deserialize(deserializer).map_or_else(|_| Self::Other(UnknownWord::new(text)), Self::Known)
    }
}

impl<T: fmt::Display> Word<T> {
    /// Returns the sentence that a known reason is, or one that names the unknown.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Known(known) => known.to_string(),
            Self::Other(word) => format!(
                "for a reason that this build ({}) does not know: `{word}`; its log and `adit status` on its host \
                 say more",
                env!("CARGO_PKG_VERSION")
            ),
        }
    }
}

impl<T> From<T> for Word<T> {
    fn from(known: T) -> Self {
        Self::Known(known)
    }
}

impl<T: PartialEq> PartialEq<T> for Word<T> {
    fn eq(&self, other: &T) -> bool {
        matches!(self, Self::Known(known) if known == other)
    }
}

impl<T: fmt::Display> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(known) => known.fmt(f),
            Self::Other(word) => word.fmt(f),
        }
    }
}

impl<T: Serialize> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Known(known) => known.serialize(serializer),
            Self::Other(word) => serializer.serialize_str(word.as_str()),
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A newer build may say with more than a word what is one word here.
        Ok(match Option::<Lenient<String>>::deserialize(deserializer)? {
            Some(Lenient::Good(text)) => Self::from_text(&text),
            Some(Lenient::Bad(_)) | None => Self::Other(UnknownWord::NONE),
        })
    }
}

/// A word that this build does not know: short and printable, or nothing but the fact that there was one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnknownWord {
    bytes: [u8; UNKNOWN_WORD_BYTES_MAX],
    length: u8,
}

impl UnknownWord {
    /// Stands for what is no word: it is not repeated, for it may be anything.
    pub const NONE: Self = Self { bytes: [0; UNKNOWN_WORD_BYTES_MAX], length: 0 };

    /// Takes a word as somebody wrote it. One that is long, or of letters that no list of ours uses, may be
    /// a secret or a name, and is not kept.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_ ./:+".contains(&byte);
        let mut word = Self::NONE;
        let length = u8::try_from(text.len()).ok().filter(|_| text.bytes().all(is_plain));
        if let (Some(length), Some(room)) = (length, word.bytes.get_mut(..text.len())) {
            room.copy_from_slice(text.as_bytes());
            word.length = length;
        }
        word
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.bytes.get(..usize::from(self.length)).and_then(|word| std::str::from_utf8(word).ok());
        text.filter(|text| !text.is_empty()).unwrap_or("?")
    }
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnknownWord({})", self.as_str())
    }
}

/// A value that can be read, or whatever else stands in its place.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Lenient<T> {
    Good(T),
    Bad(IgnoredAny),
}

/// Reads those elements of a list that this build can read.
pub fn readable<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let all = Vec::<Lenient<T>>::deserialize(deserializer)?;
    let good = all.into_iter().filter_map(|one| match one {
        Lenient::Good(good) => Some(good),
        Lenient::Bad(_) => None,
    });
    Ok(good.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::connection::{ConnectionType, Protocol};
    use crate::domain::path::PathKind;

    #[derive(Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
    struct Row {
        path: Option<Word<PathKind>>,
        kind: Word<ConnectionType>,
    }

    fn row(json: &str) -> Row {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_known_word_reads_as_itself() {
        let known = row(r#"{"path":"relay","kind":"admin-ro"}"#);
        assert_eq!(known, Row { path: Some(PathKind::Relay.into()), kind: ConnectionType::AdminRo.into() });
        assert_eq!(row(r#"{"path":null,"kind":"p2p"}"#).path, None);
    }

    #[test]
    fn an_unknown_word_is_kept_as_it_was_written() {
        let text = r#"{"path":"satellite","kind":"broadcast"}"#;
        let unknown = row(text);
        assert_eq!(unknown.path, Some(Word::Other(UnknownWord::new("satellite"))));
        assert_eq!(serde_json::to_string(&unknown).unwrap(), text);
        assert_eq!(Word::<Protocol>::from_text("fhir").to_string(), "fhir");
    }

    #[test]
    fn what_is_no_word_at_all_is_an_unknown_one() {
        for json in [r#"{"via":"tcp"}"#, "7", "[1]", "true", "null", "\"\""] {
            let read = row(&format!(r#"{{"path":"direct","kind":{json}}}"#));
            assert_eq!(read.kind, Word::Other(UnknownWord::NONE), "{json}");
        }
        assert_eq!(UnknownWord::NONE.to_string(), "?");
    }

    #[test]
    fn what_may_be_a_secret_or_moves_a_terminal_is_not_kept() {
        let longest = "x".repeat(UNKNOWN_WORD_BYTES_MAX);
        assert_eq!(UnknownWord::new(&longest).as_str(), longest);
        for text in [&"5e".repeat(32), &"x".repeat(UNKNOWN_WORD_BYTES_MAX + 1), "\u{1b}[2J", "Müller", "a\nb"]
        {
            assert_eq!(UnknownWord::new(text), UnknownWord::NONE, "{text:?}");
        }
    }

    #[test]
    fn of_a_list_what_can_be_read_is_read() {
        #[derive(serde::Deserialize)]
        struct List {
            #[serde(deserialize_with = "readable")]
            numbers: Vec<u8>,
        }
        let list: List = serde_json::from_str(r#"{"numbers":[1,"two",{"three":3},4,500]}"#).unwrap();
        assert_eq!(list.numbers, [1, 4]);
    }
}
