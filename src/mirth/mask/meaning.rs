//! What an element's name says of the values in it, in XML and in JSON, which Mirth makes out of XML.

use super::names::{is_accounts, is_credential};
use super::plan::Scope;
use super::value::Literals;

/// What becomes of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    Passes,
    /// It passes, and is the key of a map's entry.
    IsKey,
    Masked(Rule),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub literals: Literals,
    /// XML in the text is masked by its names, for a view that reads it.
    pub looks_inside: bool,
    /// A client reads it as a number.
    pub is_number: bool,
}

/// What names mean here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Region {
    Named,
    /// The properties of plug-ins in a server's configuration, below their names.
    PlugIns,
    /// Those of one plug-in.
    Properties,
    ConfigurationMap,
    /// A value of that map: its `comment` passes.
    MapValue,
    /// Users and their passwords.
    Accounts,
    /// Nothing any more: it is masked, or passes, to its end.
    Sealed,
}

/// What holds in an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setting {
    pub text: Text,
    pub region: Region,
}

/// What an element is to the entry of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Other,
    /// An entry whose key is still to come.
    Unnamed,
    Named {
        is_credential: bool,
    },
    Key,
    /// An object that wrote itself, as `CaseInsensitiveMap` does: in it stands each of its classes.
    Custom,
    /// What one such class wrote: keys and values in one row.
    Row {
        /// The one before was a credential's name.
        is_credential: bool,
    },
}

/// Properties of the data pruner that its view reads as XML.
const READ_AS_XML: [&[u8]; 2] = [b"archiverOptions", b"pollingProperties"];
/// The `comment` beside its `value` is no value.
const MAP_VALUE: &[u8] = b"ConfigurationProperty";

const fn masked_but(literals: Literals) -> Text {
    Text::Masked(Rule { literals, looks_inside: false, is_number: false })
}

impl Setting {
    pub(super) const fn of(scope: Scope) -> Self {
        let (text, region) = match scope {
            Scope::Named => (Text::Passes, Region::Named),
            Scope::Properties => (masked_but(Literals::Numbers), Region::Properties),
            Scope::ConfigurationMap => (masked_but(Literals::None), Region::ConfigurationMap),
            Scope::Single => (masked_but(Literals::Booleans), Region::Sealed),
        };
        Self { text, region }
    }

    pub(super) const fn passing() -> Self {
        Self { text: Text::Passes, region: Region::Sealed }
    }

    pub(super) const fn credential() -> Self {
        Self { text: masked_but(Literals::Booleans), region: Region::Sealed }
    }

    /// Returns the meaning in the key of an entry.
    pub(super) const fn key(self) -> Self {
        Self { text: Text::IsKey, ..self }
    }

    /// Returns the meaning in the value of an entry whose key is a credential's name; `name` is the value's
    /// type.
    pub(super) fn credential_value(name: &[u8]) -> Self {
        let region = if name.ends_with(MAP_VALUE) { Region::MapValue } else { Region::Sealed };
        let is_number = matches!(
            name,
            b"int" | b"long" | b"short" | b"byte" | b"float" | b"double" | b"big-int" | b"big-decimal"
        );
        let rule = Rule { literals: Literals::Booleans, looks_inside: false, is_number };
        Self { region, text: Text::Masked(rule) }
    }

    /// Returns the meaning in the value of any other entry; `item` as in [`Setting::entered`].
    pub(super) fn value(self, name: &[u8], item: Option<&[u8]>) -> (Self, Kind) {
        match self.region {
            Region::ConfigurationMap => (Self { region: Region::MapValue, ..self }, Kind::Other),
            Region::Accounts => (Self { region: Region::Sealed, ..self }, Kind::Other),
            _ => self.entered(name, item),
        }
    }

    /// Returns the meaning in an element of that name; `item` is what its attributes call it, as in
    /// `<property name="…">`.
    #[inline]
    pub(super) fn entered(self, name: &[u8], item: Option<&[u8]>) -> (Self, Kind) {
        if matches!(self.region, Region::MapValue | Region::Sealed) {
            return (self, Kind::Other);
        }
        let is_named = item.is_some_and(is_credential);
        if name == b"entry" && !is_named {
            return (self, Kind::Unnamed);
        }
        if matches!(self.region, Region::ConfigurationMap | Region::Accounts) {
            return (self, Kind::Other);
        }
        let setting = if is_named || is_credential(name) {
            let region = if is_accounts(name) { Region::Accounts } else { Region::Sealed };
            Self { region, ..Self::credential() }
        } else {
            match (name, item, self.region) {
                (b"property", Some(item), Region::Properties | Region::PlugIns) => Self::property(item),
                (b"configurationMap", ..) => Self::of(Scope::ConfigurationMap),
                (b"pluginProperties", _, Region::Named) => Self { region: Region::PlugIns, ..self },
                _ => self,
            }
        };
        (setting, Kind::Other)
    }

    /// Returns the meaning in a plug-in's property.
    fn property(name: &[u8]) -> Self {
        let looks_inside = READ_AS_XML.contains(&name);
        let rule = Rule { literals: Literals::Numbers, looks_inside, is_number: false };
        Self { text: Text::Masked(rule), region: Region::Sealed }
    }
}
