//! Sums as they are written: for the wire as JSON under the figures' words, for the database as numbers behind
//! tags. What stands for zero is left out, what is not known is read past.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Figure, Sums};
use crate::domain::limits::MEASUREMENT_BYTES_MAX;

const LATENCIES: &str = "latencies";
/// Before the bucket of a latency; a figure's tag is its place and one.
const LATENCY_TAG: u64 = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these are no sums of measurements")]
pub struct UnreadableSums;

impl Sums {
    /// Returns them as they are kept: pairs of tag and value, each in groups of seven bits.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let figures = (1..).zip(self.figures).filter(|(_, value)| *value > 0);
        let latencies =
            self.latencies.counts().map(|(bucket, count)| (LATENCY_TAG + u64::from(bucket), count));
        for (tag, value) in figures.chain(latencies) {
            put(&mut bytes, tag);
            put(&mut bytes, value);
        }
        bytes
    }

    /// Reads what was kept.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, UnreadableSums> {
        if bytes.len() > MEASUREMENT_BYTES_MAX {
            return Err(UnreadableSums);
        }
        let mut sums = Self::default();
        while !bytes.is_empty() {
            let (tag, value) = (take(&mut bytes)?, take(&mut bytes)?);
            let figure = tag.checked_sub(1).and_then(|place| usize::try_from(place).ok());
            if let Some(figure) = figure.and_then(|place| Figure::ALL.get(place)) {
                sums.add(*figure, value);
            } else if let Some(bucket) = tag.checked_sub(LATENCY_TAG).and_then(|it| u8::try_from(it).ok()) {
                sums.latencies.add(bucket, value);
            }
        }
        Ok(sums)
    }
}

fn put(bytes: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return bytes.push(low & 0x7f);
        }
        bytes.push(low | 0x80);
    }
}

fn take(bytes: &mut &[u8]) -> Result<u64, UnreadableSums> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(UnreadableSums)?;
        *bytes = rest;
        let group = u64::from(byte & 0x7f);
        value |= group << shift;
        if group << shift >> shift != group {
            return Err(UnreadableSums);
        }
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(UnreadableSums)
}

impl Serialize for Sums {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for figure in Figure::ALL.into_iter().filter(|figure| self.get(*figure) > 0) {
            map.serialize_entry(figure.as_str(), &self.get(figure))?;
        }
        if !self.latencies.is_empty() {
            let counts: Vec<_> = self.latencies.counts().collect();
            map.serialize_entry(LATENCIES, &counts)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Sums {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Written)
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Sums;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sums of what was measured")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sums, A::Error> {
        let mut sums = Sums::default();
        while let Some(word) = map.next_key::<String>()? {
            if let Some(figure) = Figure::from_word(&word) {
                sums.add(figure, map.next_value()?);
            } else if word == LATENCIES {
                let counts: Vec<(u8, u64)> = map.next_value()?;
                for (bucket, count) in counts {
                    sums.latencies.add(bucket, count);
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(sums)
    }
}
