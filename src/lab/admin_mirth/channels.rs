//! The stand-in's channels: XML kept as it came, and whether each is deployed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

#[derive(Debug, Default)]
pub(super) struct Channels {
    by_id: Mutex<BTreeMap<String, Channel>>,
    /// Made-up channels that tables were made for.
    made_up: Mutex<BTreeSet<String>>,
    /// Made-up channels that a map was made for, or a list.
    mapped: Mutex<BTreeSet<String>>,
}

#[derive(Debug)]
struct Channel {
    xml: Bytes,
    state: &'static str,
}

impl Channels {
    /// Keeps a channel under the id in its XML; whether it has one, and (unless it may replace) is new.
    pub(super) fn put(&self, xml: &Bytes, replaces: bool) -> bool {
        let Some(id) = element(xml, "id") else { return false };
        let mut channels = self.channels();
        match channels.get_mut(&id) {
            Some(channel) if replaces => channel.xml = xml.clone(),
            Some(_) => return false,
            None => drop(channels.insert(id, Channel { xml: xml.clone(), state: UNDEPLOYED })),
        }
        true
    }

    pub(super) fn has_tables(&self, id: &str) -> bool {
        self.channels().contains_key(id) || self.made_up.lock().contains(id)
    }

    pub(super) fn make_tables(&self, id: &str) {
        if !self.has_tables(id) {
            self.made_up.lock().insert(id.into());
        }
    }

    /// Makes a map: Mirth keeps one for whatever id it is asked the variables or the connections of.
    pub(super) fn make_map(&self, id: &str) {
        if !self.channels().contains_key(id) {
            self.mapped.lock().insert(id.into());
        }
    }

    pub(super) fn mapped(&self) -> usize {
        self.mapped.lock().len()
    }

    pub(super) fn made_up(&self) -> usize {
        self.made_up.lock().len()
    }

    pub(super) fn get(&self, id: &str) -> Option<Bytes> {
        self.channels().get(id).map(|channel| channel.xml.clone())
    }

    pub(super) fn remove(&self, id: &str) {
        self.channels().remove(id);
    }

    /// Puts one channel, or all, into a state.
    pub(super) fn set_state(&self, id: Option<&str>, state: &'static str) {
        for (own, channel) in self.channels().iter_mut() {
            if id.is_none_or(|id| id == own) {
                channel.state = state;
            }
        }
    }

    pub(super) fn list(&self) -> Vec<u8> {
        let channels = self.channels();
        let all = channels.values().map(|channel| &channel.xml[..]);
        [b"<list>".as_slice()]
            .into_iter()
            .chain(all)
            .chain([b"</list>".as_slice()])
            .collect::<Vec<_>>()
            .concat()
    }

    /// Returns every channel that is deployed, as `<dashboardStatus>`.
    pub(super) fn statuses(&self) -> String {
        let channels = self.channels();
        let deployed = channels.iter().filter(|(_, channel)| channel.state != UNDEPLOYED);
        let statuses: String = deployed.map(|(id, channel)| status(id, channel)).collect();
        format!("<list>{statuses}</list>")
    }

    pub(super) fn status(&self, id: &str) -> Option<String> {
        let channels = self.channels();
        channels.get(id).filter(|channel| channel.state != UNDEPLOYED).map(|channel| status(id, channel))
    }

    pub(super) fn ids_and_names(&self) -> String {
        let mut text = String::from("<map>");
        for (id, channel) in self.channels().iter() {
            let name = element(&channel.xml, "name").unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = write!(text, "<entry><string>{id}</string><string>{name}</string></entry>");
        }
        text + "</map>"
    }

    fn channels(&self) -> MutexGuard<'_, BTreeMap<String, Channel>> {
        self.by_id.lock()
    }
}

const UNDEPLOYED: &str = "UNDEPLOYED";

fn status(id: &str, channel: &Channel) -> String {
    let name = element(&channel.xml, "name").unwrap_or_default();
    format!(
        "<dashboardStatus><channelId>{id}</channelId><name>{name}</name><state>{}</state>\
         <statusType>CHANNEL</statusType></dashboardStatus>",
        channel.state
    )
}

/// Returns the text of the first element of that name, as it stands.
fn element(xml: &[u8], name: &str) -> Option<String> {
    let xml = std::str::from_utf8(xml).ok()?;
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_follows_a_channel_from_its_one_making_to_its_removal() {
        let channels = Channels::default();
        let first = Bytes::from_static(b"<channel><id>c1</id><name>one</name></channel>");
        let second = Bytes::from_static(b"<channel><id>c1</id><name>two</name></channel>");
        assert!(channels.put(&first, false) && !channels.put(&second, false) && channels.put(&second, true));
        assert_eq!(channels.get("c1"), Some(second));
        assert_eq!(channels.status("c1"), None);
        channels.set_state(Some("c1"), "STARTED");
        assert!(channels.statuses().contains("<name>two</name><state>STARTED</state>"));
        assert!(!channels.put(&Bytes::from_static(b"<channel/>"), false));
        channels.remove("c1");
        assert_eq!(channels.list(), b"<list></list>");
    }
}
