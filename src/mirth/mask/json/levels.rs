//! The open objects and arrays, and what becomes of the scalars in them.

use crate::mask::meaning::{Kind, Region, Rule, Setting, Text};
use crate::mask::names::is_credential;
use crate::mask::plan::Scope;
use crate::mask::value::Literals;
use crate::mask::{Unmaskable, unmaskable};
use adit_core::domain::limits;

/// What is done with a string, a number or a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScalarRole {
    Passes,
    /// Of a member; it passes.
    Name,
    /// Of a map's entry; it passes.
    Key,
    /// What an attribute calls an element; it passes.
    Item,
    Masked(Rule),
}

/// What stands at one place: a member's value, or each element of an array.
#[derive(Debug, Clone, Copy)]
struct Slot {
    setting: Setting,
    kind: Kind,
    part: Part,
    /// An entry's value whose type has a comment.
    has_comment: bool,
    /// A property, whose name is an attribute.
    is_property: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Element,
    /// Or the text beside attributes.
    Attribute,
    /// The attribute that names the element.
    Item,
}

#[derive(Debug)]
struct Level {
    is_object: bool,
    setting: Setting,
    kind: Kind,
    /// An object that is a value of the configuration map.
    is_map_value: bool,
    /// A property whose name has not come.
    awaits_name: bool,
    /// Of the member that is being read, or of all elements.
    slot: Slot,
}

#[derive(Debug)]
pub(super) struct Levels {
    first: Slot,
    open: Vec<Level>,
    /// What came of an entry's key that is no scalar.
    key_is_credential: bool,
}

impl Slot {
    const fn element(setting: Setting, kind: Kind) -> Self {
        Self { setting, kind, part: Part::Element, has_comment: false, is_property: false }
    }

    const fn attribute(text: Text, part: Part) -> Self {
        let setting = Setting { text, region: Region::Sealed };
        Self { part, ..Self::element(setting, Kind::Other) }
    }
}

impl Levels {
    pub(super) const fn new(scope: Scope) -> Self {
        let first = Slot::element(Setting::of(scope), Kind::Other);
        Self { first, open: Vec::new(), key_is_credential: false }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn is_in_object(&self) -> bool {
        self.open.last().is_some_and(|level| level.is_object)
    }

    pub(super) fn is_in_array(&self) -> bool {
        self.open.last().is_some_and(|level| !level.is_object)
    }

    /// Takes the name of the member that comes next.
    pub(super) fn name(&mut self, name: &[u8]) {
        if let Some(level) = self.open.last_mut() {
            let is_masked = matches!(level.setting.text, Text::Masked(_));
            if name == b"@serialization" && level.kind == Kind::Other && !is_masked {
                level.kind = Kind::Custom;
            }
            level.slot = level.member(name);
        }
    }

    /// Returns what is done with the scalar that stands here.
    pub(super) fn scalar(&self) -> ScalarRole {
        let (slot, _) = self.here();
        match (slot.part, slot.setting.text) {
            (Part::Item, _) => ScalarRole::Item,
            (_, Text::Passes) => ScalarRole::Passes,
            (_, Text::IsKey) => ScalarRole::Key,
            (_, Text::Masked(rule)) => ScalarRole::Masked(rule),
        }
    }

    /// Takes what a key or an attribute says.
    pub(super) fn note(&mut self, role: ScalarRole, text: &[u8]) {
        if role == ScalarRole::Item {
            if let Some(level) = self.open.last_mut() {
                level.call(text);
            }
            return;
        }
        let is_credential = is_credential(text.trim_ascii());
        match self.here() {
            (Slot { kind: Kind::Key, .. }, Some(entry)) => self.name_entry(entry, is_credential),
            // In a key that is no scalar: its end names the entry.
            _ => self.key_is_credential |= is_credential,
        }
    }

    /// Opens the object or array that stands here.
    pub(super) fn open(&mut self, is_object: bool) -> Result<(), Unmaskable> {
        if self.open.len() == limits::MASK_DEPTH_MAX {
            return Err(unmaskable("Mirth's JSON is nested deeper than is read here."));
        }
        let is_repeated = !is_object && !self.is_in_array();
        let level = if is_repeated {
            // Each of its elements is what a single one would be.
            let slot = self.open.last().map_or(self.first, |level| level.slot);
            Level { kind: Kind::Other, slot, ..Level::of(slot, is_object) }
        } else {
            let (slot, _) = self.here();
            // In a row only text is a key.
            let slot = if slot.kind == Kind::Key && self.is_in_row() {
                self.open.last().map_or(self.first, |level| level.slot)
            } else {
                slot
            };
            self.key_is_credential &= slot.kind != Kind::Key;
            let is_map_value = slot.setting.region == Region::MapValue && !self.is_in_map_value();
            Level { is_map_value, ..Level::of(slot, is_object) }
        };
        self.open.push(level);
        Ok(())
    }

    /// Closes the innermost; none if there is none.
    pub(super) fn close(&mut self) -> Option<()> {
        let closed = self.open.pop()?;
        if closed.kind == Kind::Key
            && let Some(entry) = self.entry()
        {
            self.name_entry(entry, self.key_is_credential);
        }
        Some(())
    }

    fn is_in_map_value(&self) -> bool {
        self.open.iter().rev().any(|level| level.is_map_value)
    }

    /// Returns the entry of a map whose key or value stands here.
    fn entry(&self) -> Option<usize> {
        let last = self.open.len().checked_sub(1)?;
        let level = self.open.get(last)?;
        if level.slot.part != Part::Element {
            return None;
        }
        let at = if level.is_object { last } else { last.checked_sub(1)? };
        let entry = self.open.get(at)?;
        let is_entry =
            entry.is_object && matches!(entry.kind, Kind::Unnamed | Kind::Named { .. } | Kind::Row { .. });
        is_entry.then_some(at)
    }

    fn is_in_row(&self) -> bool {
        let entry = self.entry().and_then(|at| self.open.get(at));
        entry.is_some_and(|level| matches!(level.kind, Kind::Row { .. }))
    }

    fn name_entry(&mut self, entry: usize, is_credential: bool) {
        if let Some(entry) = self.open.get_mut(entry) {
            entry.kind = match entry.kind {
                // Mirth's JSON groups a row by type, so a key's value cannot be told from what follows.
                Kind::Row { .. } => Kind::Row { is_credential },
                _ => Kind::Named { is_credential },
            };
        }
    }

    /// Returns what stands here, and the entry that it is a part of.
    fn here(&self) -> (Slot, Option<usize>) {
        let slot = self.open.last().map_or(self.first, |level| level.slot);
        let entry = self.entry();
        let Some(level) = entry.and_then(|entry| self.open.get(entry)) else { return (slot, None) };
        (level.part_of_entry(slot), entry)
    }
}

impl Level {
    const fn of(slot: Slot, is_object: bool) -> Self {
        Self {
            is_object,
            setting: slot.setting,
            kind: slot.kind,
            is_map_value: false,
            awaits_name: slot.is_property,
            slot: Slot::element(slot.setting, Kind::Other),
        }
    }

    /// Returns what stands in the member of that name.
    fn member(&self, name: &[u8]) -> Slot {
        let setting = self.setting;
        match name.strip_prefix(b"@") {
            Some(b"name" | b"key") => Slot::attribute(Text::Passes, Part::Item),
            Some(b"value") if matches!(setting.text, Text::Masked(_)) => {
                Slot::attribute(setting.text, Part::Attribute)
            }
            Some(name) if is_credential(name) => Slot::attribute(Setting::credential().text, Part::Attribute),
            Some(_) => Slot::attribute(Text::Passes, Part::Attribute),
            // Before the name is known, it may be any.
            None if name == b"$" && self.awaits_name && setting.text == Text::Passes => {
                let rule = Rule { literals: Literals::None, looks_inside: false, is_number: false };
                Slot::attribute(Text::Masked(rule), Part::Attribute)
            }
            None if name == b"$" => Slot::attribute(setting.text, Part::Attribute),
            None if self.is_map_value && name == b"comment" => Slot::element(Setting::passing(), Kind::Other),
            None => {
                let (setting, kind) = setting.entered(name, None);
                let is_row = self.kind == Kind::Custom
                    && kind == Kind::Other
                    && !matches!(setting.text, Text::Masked(_));
                let kind = if is_row { Kind::Row { is_credential: false } } else { kind };
                let has_comment = name.ends_with(b"ConfigurationProperty");
                Slot { has_comment, is_property: name == b"property", ..Slot::element(setting, kind) }
            }
        }
    }

    /// Takes what an attribute calls this element.
    fn call(&mut self, item: &[u8]) {
        let is_property = std::mem::take(&mut self.awaits_name);
        let name: &[u8] = if is_property { b"property" } else { b"" };
        self.setting = self.setting.entered(name, Some(item)).0;
    }

    /// Returns what stands in a slot of this entry.
    fn part_of_entry(&self, slot: Slot) -> Slot {
        let (setting, kind) = match (self.kind, self.setting.region) {
            (Kind::Row { is_credential: false }, _) if matches!(slot.setting.text, Text::Masked(_)) => {
                (slot.setting, slot.kind)
            }
            (Kind::Unnamed | Kind::Row { is_credential: false }, _) => (self.setting.key(), Kind::Key),
            (Kind::Named { is_credential: true } | Kind::Row { is_credential: true }, _) => {
                let name: &[u8] = if slot.has_comment { b"ConfigurationProperty" } else { b"" };
                (Setting::credential_value(name), Kind::Other)
            }
            (_, Region::ConfigurationMap | Region::Accounts) => self.setting.value(b"", None),
            _ => (slot.setting, slot.kind),
        };
        Slot { setting, kind, ..slot }
    }
}
