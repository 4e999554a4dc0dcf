//! What the path of a request names, which its body must not contradict: Mirth believes the body.

use super::super::known_channel;

/// The channel of a request's path, decoded, and the message where it names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub channel: String,
    pub message: Option<i128>,
}

impl Address {
    /// Reads the address; `None` where the operation is for no channel. `template` is that of the verdict,
    /// `target` as it goes on.
    #[must_use]
    pub fn of(template: &str, target: &str) -> Option<Self> {
        let channel = known_channel::question(template, target)?.channel;
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let segments = path.strip_suffix('/').unwrap_or(path).rsplit('/');
        // From the end: base and context come first, in any number.
        let message = template.rsplit('/').zip(segments).find(|(name, _)| *name == "{messageId}");
        Some(Self { channel, message: message.and_then(|(_, id)| id.parse().ok()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_channel_with_the_message_where_it_has_one() {
        let check = |template: &str, target: &str, expected: Option<(&str, Option<i128>)>| {
            let expected = expected.map(|(channel, message)| Address { channel: channel.into(), message });
            assert_eq!(Address::of(template, target), expected, "{target}");
        };
        let dicom = "/channels/{channelId}/messages/{messageId}/_getDICOMMessage";
        check(dicom, "/api/4.5.2/channels/a-1/messages/8/_getDICOMMessage", Some(("a-1", Some(8))));
        check(dicom, "/x/api/channels/a%20b/messages/-08/_getDICOMMessage/", Some(("a b", Some(-8))));
        let search = "/channels/{channelId}/messages/_search";
        check(search, "/api/channels/a-1/messages/_search?offset=0", Some(("a-1", None)));
        check("/channels/_getChannels", "/api/channels/_getChannels", None);
    }
}
