//! A model of the disk below the recorded calls: what each file holds now, what of it was synced, and what a
//! power cut at this point may leave.
//!
//! A file's bytes are safe once the file was synced, its name once its folder was. What was not synced is
//! there, is lost, or is torn at a sector's boundary; a journaling file system keeps the order of names.

use std::collections::{BTreeMap, HashMap};

use adit_lab::messages::Draws;
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;

use super::log::Event;

/// The recorded folder that a platform is opened in.
pub(crate) const STATE: &str = "state";
/// The file beside it that every acknowledgement is a line of.
pub(crate) const ACKNOWLEDGED: &str = "acknowledged";
/// What `SQLite` writes, and where it writes first.
pub(crate) const DATABASE: &str = "state/platform.db";
pub(crate) const LOG: &str = "state/platform.db-wal";
/// A disk writes as much at once or not at all.
const SECTOR_BYTES: usize = 512;
/// Mapped memory of processes that are gone: a power cut leaves anything in it.
const SHARED_MEMORY: &str = "platform.db-shm";
const SHARED_MEMORY_BYTES: usize = 32_768;

/// The files of a state folder with their modes, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Image(pub(crate) BTreeMap<String, (u32, Vec<u8>)>);

/// What of the unsynced is lost at the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    Nothing,
    /// All bytes; names are there.
    Bytes,
    /// All bytes, and names whose folder was not synced.
    BytesWithNames,
    /// Some of both, drawn from this seed; what is there may be torn.
    Some(u64),
}

#[derive(Debug, Clone, Default)]
struct File {
    mode: u32,
    now: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Bytes },
    Cut { length: usize },
}

#[derive(Debug, Clone)]
enum NameChange {
    Made { name: String, file: usize },
    Removed { name: String },
    Renamed { from: String, to: String },
}

#[derive(Debug, Clone, Copy)]
enum Opened {
    Folder,
    File(usize),
}

type Names = BTreeMap<String, usize>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    files: Vec<File>,
    names: Names,
    synced_names: Names,
    unsynced_names: Vec<NameChange>,
    open: HashMap<i32, Opened>,
    acknowledged: usize,
}

impl Disk {
    /// Returns a disk that holds what lay in the state folder before, all of it synced.
    pub(crate) fn holding(before: &Image) -> Self {
        let mut disk = Self::default();
        for (name, (mode, bytes)) in &before.0 {
            let name = format!("{STATE}/{name}");
            disk.names.insert(name, disk.files.len());
            let (now, synced) = (bytes.clone(), bytes.clone());
            disk.files.push(File { mode: *mode, now, synced, unsynced: Vec::new() });
        }
        disk.synced_names = disk.names.clone();
        disk
    }

    /// How many acts were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// Returns the name of the file or folder that is open as `fd`.
    pub(crate) fn name_of(&self, fd: i32) -> Option<&str> {
        match *self.open.get(&fd)? {
            Opened::Folder => Some(STATE),
            Opened::File(file) => {
                self.names.iter().find(|(_, named)| **named == file).map(|(name, _)| name.as_str())
            }
        }
    }

    /// Returns whether a cut after the event leaves anything else than one before it.
    pub(crate) fn handle(&mut self, event: &Event) -> bool {
        match event {
            Event::Opened { fd, name, creates, empties, mode } => {
                return self.opened(*fd, name, *creates, *empties, *mode);
            }
            Event::Closed { fd } => return self.open.remove(fd).is_none(),
            Event::Written { fd, offset, bytes } => {
                self.change(*fd, Change::Write { offset: *offset, bytes: bytes.clone() });
            }
            Event::Cut { fd, length } => self.change(*fd, Change::Cut { length: *length }),
            Event::Synced { fd } => self.synced(*fd),
            Event::Removed { name } => self.renamed(NameChange::Removed { name: name.clone() }),
            Event::Renamed { from, to } => {
                self.renamed(NameChange::Renamed { from: from.clone(), to: to.clone() });
            }
        }
        true
    }

    fn opened(&mut self, fd: i32, name: &str, creates: bool, empties: bool, mode: u32) -> bool {
        if name == STATE {
            self.open.insert(fd, Opened::Folder);
            return false;
        }
        let is_made = !self.names.contains_key(name);
        if is_made {
            assert!(creates, "{name} was opened and has never been made");
            self.renamed(NameChange::Made { name: name.into(), file: self.files.len() });
            self.files.push(File { mode, ..File::default() });
        }
        self.open.insert(fd, Opened::File(self.names[name]));
        if empties {
            self.change(fd, Change::Cut { length: 0 });
        }
        is_made || empties
    }

    fn change(&mut self, fd: i32, change: Change) {
        let Opened::File(file) = self.open[&fd] else { panic!("a folder was written to") };
        if let Change::Write { bytes, .. } = &change
            && self.names.get(ACKNOWLEDGED) == Some(&file)
        {
            self.acknowledged += memchr::memchr_iter(b'\n', bytes).count();
        }
        change.apply(&mut self.files[file].now);
        self.files[file].unsynced.push(change);
    }

    fn synced(&mut self, fd: i32) {
        match self.open[&fd] {
            Opened::Folder => {
                for change in self.unsynced_names.drain(..) {
                    change.apply(&mut self.synced_names);
                }
            }
            Opened::File(file) => {
                let file = &mut self.files[file];
                for change in file.unsynced.drain(..) {
                    change.apply(&mut file.synced);
                }
            }
        }
    }

    fn renamed(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }

    /// Returns the state folder as a cut at this point leaves it.
    pub(crate) fn image(&self, loss: Loss) -> Image {
        match loss {
            Loss::Nothing => self.image_of(&self.names, |file| file.now.clone()),
            Loss::Bytes => self.image_of(&self.names, |file| file.synced.clone()),
            Loss::BytesWithNames => self.image_of(&self.synced_names, |file| file.synced.clone()),
            Loss::Some(seed) => self.torn(&mut Draws::new(seed)),
        }
    }

    fn image_of(&self, names: &Names, mut bytes: impl FnMut(&File) -> Vec<u8>) -> Image {
        let below = |name: &str| name.strip_prefix(STATE)?.strip_prefix('/').map(String::from);
        let files = names.iter().filter_map(|(name, file)| {
            let file = &self.files[*file];
            below(name).map(|name| (name, (file.mode, bytes(file))))
        });
        Image(files.collect())
    }

    fn torn(&self, draws: &mut Draws) -> Image {
        let mut names = self.synced_names.clone();
        let kept = draws.below(self.unsynced_names.len() as u64 + 1);
        for change in self.unsynced_names.iter().take(usize::try_from(kept).unwrap()) {
            change.apply(&mut names);
        }
        let mut image = self.image_of(&names, |file| file.torn(draws));
        if draws.below(2) == 0 {
            let rubbish = (0..SHARED_MEMORY_BYTES / 8).flat_map(|_| draws.next().to_le_bytes()).collect();
            image.0.insert(SHARED_MEMORY.into(), (0o600, rubbish));
        }
        image
    }
}

impl File {
    /// Returns what is there when of each unsynced change all, nothing or some sectors reached the disk.
    fn torn(&self, draws: &mut Draws) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for change in &self.unsynced {
            match (draws.below(4), change) {
                (0, _) | (1, Change::Cut { .. }) => {}
                (1, Change::Write { offset, bytes: written }) => {
                    tear(&mut bytes, *offset, written, draws);
                }
                _ => change.apply(&mut bytes),
            }
        }
        bytes
    }
}

fn tear(file: &mut Vec<u8>, offset: usize, written: &Bytes, draws: &mut Draws) {
    let mut at = 0;
    while at < written.len() {
        let end = written.len().min(at + SECTOR_BYTES - (offset + at) % SECTOR_BYTES);
        if draws.below(2) == 0 {
            Change::Write { offset: offset + at, bytes: written.slice(at..end) }.apply(file);
        }
        at = end;
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Cut { length } => file.resize(*length, 0),
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}

impl NameChange {
    /// Applies it where it still means something: a name whose making was lost is neither removed nor moved.
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Made { name, file } => drop(names.insert(name.clone(), *file)),
            Self::Removed { name } => drop(names.remove(name)),
            Self::Renamed { from, to } => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }
}

impl Image {
    /// Returns what equal images share.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        for (name, (mode, bytes)) in &self.0 {
            context.update(format!("{name} {mode} {}\n", bytes.len()).as_bytes());
            context.update(bytes);
        }
        context.finish().as_ref().try_into().unwrap()
    }
}
