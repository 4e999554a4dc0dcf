//! HL7 v2.5.1 messages of several types about people who do not exist, the same for the same seed.
//!
//! Every control id (MSH-10) of every seed is unique. No clock and no randomness: dates and names come
//! from the seed.

use std::fmt::{self, Write as _};

use bytes::Bytes;

/// Base-36 digits of a control id that tell the seed: enough for any `u64`.
const SEED_DIGITS: usize = 13;
/// Digits that count the seed's messages. HL7 v2.5.1 §2.14.9.10 allows twenty characters in all.
const COUNT_DIGITS: usize = 7;

/// The kinds of message a hospital sends most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Admit,
    Update,
    Order,
    Result,
    Appointment,
    Document,
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Admit, Self::Update, Self::Order, Self::Result, Self::Appointment, Self::Document];

    /// Returns MSH-9.
    const fn message_type(self) -> &'static str {
        match self {
            Self::Admit => "ADT^A01^ADT_A01",
            Self::Update => "ADT^A08^ADT_A01",
            Self::Order => "ORM^O01^ORM_O01",
            Self::Result => "ORU^R01^ORU_R01",
            Self::Appointment => "SIU^S12^SIU_S12",
            Self::Document => "MDM^T02^MDM_T02",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (short, _) = self.message_type().rsplit_once('^').unwrap_or_default();
        f.write_str(short)
    }
}

/// One message, without its MLLP frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub kind: Kind,
    pub control_id: String,
    pub payload: Bytes,
}

/// An endless supply of messages.
#[derive(Debug, Clone)]
pub struct Generator {
    seed: u64,
    draws: Draws,
    count: u64,
    kinds: Vec<Kind>,
    bytes_min: usize,
}

impl Generator {
    /// Generates all kinds, each as long as it comes (about 300 to 700 bytes).
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, draws: Draws(seed), count: 0, kinds: Kind::ALL.to_vec(), bytes_min: 0 }
    }

    /// Generates only messages of `kind`.
    #[must_use]
    pub fn only(self, kind: Kind) -> Self {
        Self { kinds: vec![kind], ..self }
    }

    /// Generates messages of exactly `bytes`, or as long as they come where that is longer. The rest is a
    /// document in a last OBX segment, in the alphabet of base 64.
    #[must_use]
    pub fn padded_to(self, bytes: usize) -> Self {
        Self { bytes_min: bytes, ..self }
    }

    pub fn next_message(&mut self) -> Message {
        let kind = self.draws.pick(&self.kinds);
        let control_id = control_id(self.seed, self.count);
        self.count += 1;
        let mut text = header(kind, &control_id, &mut self.draws);
        let person = Person::draw(&mut self.draws);
        write_body(&mut text, kind, &person, &mut self.draws);
        pad(&mut text, self.bytes_min, &mut self.draws);
        Message { kind, control_id, payload: Bytes::from(text) }
    }
}

impl Iterator for Generator {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        Some(self.next_message())
    }
}

fn control_id(seed: u64, count: u64) -> String {
    let mut digits = [b'0'; SEED_DIGITS + COUNT_DIGITS];
    let (seed_digits, count_digits) = digits.split_at_mut(SEED_DIGITS);
    write_base36(seed_digits, seed);
    write_base36(count_digits, count);
    digits.iter().map(|&digit| char::from(digit)).collect()
}

fn write_base36(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[usize_below(number, 36)];
        number /= 36;
    }
}

fn header(kind: Kind, control_id: &str, draws: &mut Draws) -> String {
    let application = draws.pick(&["ADT1", "EPIC", "LAB", "RIS", "SCHED"]);
    let at = draws.date();
    let message_type = kind.message_type();
    format!(
        "MSH|^~\\&|{application}|LAKESIDE|MIRTH|STMARY|{at}||{message_type}|{control_id}|P|2.5.1|||AL|NE||UNICODE UTF-8\r"
    )
}

struct Person {
    number: u64,
    family: &'static str,
    given: &'static str,
    sex: &'static str,
    born: String,
    street: u64,
}

impl Person {
    fn draw(draws: &mut Draws) -> Self {
        let families =
            ["Testmann", "Üblich", "Sample", "O'Nobody", "Beispiel-Muster", "Ñemo", "Fiktiv", "Doe"];
        let givens = ["Ada", "Björn", "Chloé", "Dmitri", "Eve", "Françoise", "Grete", "Hannes"];
        Self {
            number: 1_000_000 + draws.below(9_000_000),
            family: draws.pick(&families),
            given: draws.pick(&givens),
            sex: draws.pick(&["F", "M", "O"]),
            born: format!("{}{:02}{:02}", 1930 + draws.below(90), 1 + draws.below(12), 1 + draws.below(28)),
            street: 1 + draws.below(200),
        }
    }

    fn segment(&self) -> String {
        let Self { number, family, given, sex, born, street } = self;
        format!(
            "PID|1||{number}^^^LAKESIDE^MR||{family}^{given}||{born}|{sex}|||{street} Nowhere Street^^Lakeside^XX^00000^ZZ||555-0100\r"
        )
    }

    fn visit(&self, ward: &str) -> String {
        format!(
            "PV1|1|I|{ward}^{}^1^LAKESIDE||||4711^Pretend^Paula^^^Dr|||MED||||||||V{}\r",
            self.street, self.number
        )
    }
}

fn write_body(text: &mut String, kind: Kind, person: &Person, draws: &mut Draws) {
    let at = draws.date();
    let ward = draws.pick(&["ICU", "2 WEST", "ER", "MATERNITY", "SURGERY"]);
    let order = draws.below(1_000_000);
    match kind {
        Kind::Admit | Kind::Update => {
            put(text, format_args!("EVN||{at}\r"));
            text.push_str(&person.segment());
            text.push_str("NK1|1|Contact^Nadja|SPO||555-0101\r");
            text.push_str(&person.visit(ward));
            text.push_str("DG1|1||R07.4^Chest pain, unspecified^I10|||A\r");
        }
        Kind::Order => {
            text.push_str(&person.segment());
            text.push_str(&person.visit(ward));
            put(text, format_args!("ORC|NW|{order}^LAKESIDE|||||1^^^{at}^^R||{at}|||4711^Pretend^Paula\r"));
            put(text, format_args!("OBR|1|{order}^LAKESIDE||24323-8^Metabolic panel^LN|||{at}\r"));
        }
        Kind::Result => {
            text.push_str(&person.segment());
            put(text, format_args!("OBR|1|{order}^LAKESIDE|{order}^LAB|24323-8^Metabolic panel^LN|||{at}\r"));
            write_observations(text, draws);
        }
        Kind::Appointment => {
            put(text, format_args!("SCH|{order}^LAKESIDE|||||CHECKUP^Check-up^L|||30|min|^^30^{at}\r"));
            text.push_str(&person.segment());
            text.push_str("RGS|1|A\rAIG|1|A|4711^Pretend^Paula\rAIL|1|A|CLINIC 1\r");
        }
        Kind::Document => {
            put(text, format_args!("EVN||{at}\r"));
            text.push_str(&person.segment());
            text.push_str(&person.visit(ward));
            put(text, format_args!("TXA|1|DS^Discharge summary|TX|{at}||||||||{order}^LAKESIDE|||||AU\r"));
            text.push_str(
                "OBX|1|TX|18842-5^Discharge summary^LN||Went home well. Überweisung folgt.||||||F\r",
            );
        }
    }
}

fn write_observations(text: &mut String, draws: &mut Draws) {
    let tests = [
        ("2345-7^Glucose^LN", "mg/dL", "70-99"),
        ("2160-0^Creatinine^LN", "mg/dL", "0.6-1.3"),
        ("2951-2^Sodium^LN", "mmol/L", "136-145"),
        ("2823-3^Potassium^LN", "mmol/L", "3.5-5.1"),
    ];
    for (number, (test, unit, range)) in (1..).zip(tests) {
        let value = draws.below(200);
        put(text, format_args!("OBX|{number}|NM|{test}||{value}|{unit}|{range}|||||F\r"));
    }
}

fn put(text: &mut String, segment: fmt::Arguments<'_>) {
    text.write_fmt(segment).expect("writing to a String cannot fail");
}

fn pad(text: &mut String, bytes_min: usize, draws: &mut Draws) {
    const OPENING: &str = "OBX|99|ED|PDF^Report^L||^application^pdf^Base64^";
    const CLOSING: &str = "||||||F\r";
    let missing = bytes_min.saturating_sub(text.len());
    let Some(document) = missing.checked_sub(OPENING.len() + CLOSING.len()) else {
        // No room for a segment of its own: lengthen the last one's last field.
        if missing > 0 {
            text.pop();
            text.extend(std::iter::repeat_n('x', missing));
            text.push('\r');
        }
        return;
    };
    text.reserve_exact(missing);
    text.push_str(OPENING);
    let end = text.len() + document;
    while text.len() < end {
        let mut draw = draws.next();
        for _ in 0..10.min(end - text.len()) {
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            text.push(char::from(alphabet[usize_below(draw, 64)]));
            draw >>= 6;
        }
    }
    text.push_str(CLOSING);
}

/// `SplitMix64`: small, fast, and good enough to vary a message.
#[derive(Debug, Clone)]
pub struct Draws(u64);

impl Draws {
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 to `bound - 1`.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Returns one of `choices`, which must not be empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize_below(self.next(), choices.len())]
    }

    fn date(&mut self) -> String {
        let (month, day) = (1 + self.below(12), 1 + self.below(28));
        format!("2026{month:02}{day:02}{:02}{:02}{:02}", self.below(24), self.below(60), self.below(60))
    }
}

/// Returns `number % bound` as an index.
#[expect(clippy::cast_possible_truncation, reason = "the remainder is below a usize")]
const fn usize_below(number: u64, bound: usize) -> usize {
    (number % bound as u64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::hl7::Header;

    #[test]
    fn messages_are_decided_by_their_seed() {
        let of = |seed| Generator::new(seed).take(50).collect::<Vec<_>>();
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn no_two_messages_share_a_control_id_whatever_their_seed() {
        let seeds = [0, 1, 36, u64::MAX];
        let ids: BTreeSet<String> =
            seeds.iter().flat_map(|&seed| Generator::new(seed).take(1_000)).map(|m| m.control_id).collect();
        assert_eq!(ids.len(), 4_000);
        assert!(ids.iter().all(|id| id.len() == 20));
    }

    #[test]
    fn every_kind_comes_up_with_a_header_that_names_it() {
        let mut seen = BTreeSet::new();
        for message in Generator::new(3).take(100) {
            let header = Header::read(&message.payload).expect("starts with MSH");
            assert_eq!(header.control_id(), message.control_id);
            assert_eq!(header.message_type(), message.kind.message_type());
            assert!(message.payload.ends_with(b"\r"));
            seen.insert(message.kind.to_string());
        }
        let expected = ["ADT^A01", "ADT^A08", "MDM^T02", "ORM^O01", "ORU^R01", "SIU^S12"];
        assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_padded_message_has_exactly_the_length_asked_for() {
        for bytes in [1_024, 1_025, 64 * 1024, 20 * 1024 * 1024] {
            let message = Generator::new(1).only(Kind::Document).padded_to(bytes).next_message();
            assert_eq!(message.payload.len(), bytes);
        }
        let natural = Generator::new(1).next_message().payload.len();
        for more in 0..80 {
            let message = Generator::new(1).padded_to(natural + more).next_message();
            assert_eq!(message.payload.len(), natural + more);
            assert!(!message.payload.contains(&0x1c));
        }
    }
}
