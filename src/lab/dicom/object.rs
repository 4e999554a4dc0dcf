//! Objects to send: secondary captures of noise, the same for the same seed, of nobody.

use bytes::Bytes;

use super::{IMPLICIT_VR_LITTLE_ENDIAN, SECONDARY_CAPTURE};
use crate::measure::Digest;
use crate::messages::Draws;

/// Rows are so many pixels of a byte each; objects that would have too many rows get longer ones.
const COLUMNS: u16 = 1_024;
const COLUMNS_OF_LARGE: u16 = 32_768;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its SOP instance UID.
    pub instance: String,
    /// In implicit VR little endian.
    pub data_set: Bytes,
    /// Of the data set.
    pub digest: Digest,
}

impl Object {
    /// Returns a secondary capture of at least `pixel_bytes`, rounded up to full rows.
    #[must_use]
    pub fn new(seed: u64, pixel_bytes: usize) -> Self {
        let small = pixel_bytes <= usize::from(COLUMNS) * usize::from(u16::MAX);
        let columns = if small { COLUMNS } else { COLUMNS_OF_LARGE };
        let rows = u16::try_from(pixel_bytes.div_ceil(columns.into()).max(1)).unwrap_or(u16::MAX);
        let mut draws = Draws::new(seed);
        // UIDs from a UUID's number (PS3.5 §B.2).
        let mut uid = || format!("2.25.{}", (u128::from(draws.next()) << 64) | u128::from(draws.next()));
        let (instance, study, series) = (uid(), uid(), uid());
        let mut set = DataSet::default();
        set.text(0x0008, 0x0016, SECONDARY_CAPTURE);
        set.text(0x0008, 0x0018, &instance);
        set.text(0x0008, 0x0020, "20261124");
        set.text(0x0008, 0x0030, "090000");
        set.text(0x0008, 0x0060, "OT");
        set.text(0x0008, 0x0064, "SYN ");
        set.text(0x0010, 0x0010, "NOBODY^DEMO ");
        set.text(0x0010, 0x0020, "DEMO");
        set.text(0x0020, 0x000d, &study);
        set.text(0x0020, 0x000e, &series);
        set.text(0x0020, 0x0013, "1 ");
        set.number(0x0028, 0x0002, 1);
        set.text(0x0028, 0x0004, "MONOCHROME2 ");
        set.number(0x0028, 0x0010, rows);
        set.number(0x0028, 0x0011, columns);
        set.number(0x0028, 0x0100, 8);
        set.number(0x0028, 0x0101, 8);
        set.number(0x0028, 0x0102, 7);
        set.number(0x0028, 0x0103, 0);
        set.noise(0x7fe0, 0x0010, usize::from(rows) * usize::from(columns), &mut draws);
        Self { instance, digest: Digest::of(&set.0), data_set: set.0.into() }
    }

    /// Returns `count` objects of the same size, each another.
    pub fn series(seed: u64, count: usize, pixel_bytes: usize) -> impl Iterator<Item = Self> {
        let mut draws = Draws::new(seed);
        (0..count).map(move |_| Self::new(draws.next(), pixel_bytes))
    }

    /// Returns it as a file (PS3.10 §7.1), for programs that send files.
    #[must_use]
    pub fn file(&self) -> Vec<u8> {
        let mut meta = MetaInformation::default();
        meta.text(0x0002, "UI", SECONDARY_CAPTURE);
        meta.text(0x0003, "UI", &self.instance);
        meta.text(0x0010, "UI", IMPLICIT_VR_LITTLE_ENDIAN);
        meta.text(0x0012, "UI", "2.25.1");
        let length = u32::try_from(meta.0.len()).unwrap_or(u32::MAX);
        let mut file = vec![0; 128];
        file.extend_from_slice(b"DICM\x02\0\0\0UL\x04\0");
        file.extend_from_slice(&length.to_le_bytes());
        file.extend_from_slice(&meta.0);
        file.extend_from_slice(&self.data_set);
        file
    }
}

#[derive(Default)]
struct DataSet(Vec<u8>);

impl DataSet {
    fn element(&mut self, group: u16, element: u16, length: usize) {
        self.0.extend_from_slice(&group.to_le_bytes());
        self.0.extend_from_slice(&element.to_le_bytes());
        self.0.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn text(&mut self, group: u16, element: u16, text: &str) {
        let length = text.len().next_multiple_of(2);
        self.element(group, element, length);
        self.0.extend_from_slice(text.as_bytes());
        self.0.resize(self.0.len() + length - text.len(), 0);
    }

    fn number(&mut self, group: u16, element: u16, number: u16) {
        self.element(group, element, 2);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn noise(&mut self, group: u16, element: u16, length: usize, draws: &mut Draws) {
        self.element(group, element, length);
        let end = self.0.len() + length;
        self.0.reserve(length + 8);
        while self.0.len() < end {
            self.0.extend_from_slice(&draws.next().to_le_bytes());
        }
        self.0.truncate(end);
    }
}

/// Group 0002, in explicit VR little endian.
#[derive(Default)]
struct MetaInformation(Vec<u8>);

impl MetaInformation {
    fn text(&mut self, element: u16, representation: &str, text: &str) {
        let length = text.len().next_multiple_of(2);
        self.0.extend_from_slice(&[2, 0]);
        self.0.extend_from_slice(&element.to_le_bytes());
        self.0.extend_from_slice(representation.as_bytes());
        self.0.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
        self.0.resize(self.0.len() + length - text.len(), 0);
    }
}
