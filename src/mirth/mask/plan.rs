//! What an operation's answer may hold, and how far it is masked.

use crate::verdict::Named;

use super::names::is_credential;

/// How far an answer is masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Values that stand under the name of a credential.
    Named,
    /// All values but switches and whole numbers, which a plug-in's view reads.
    Properties,
    /// All values of the map.
    ConfigurationMap,
    /// One value, masked unless it is a switch.
    Single,
}

/// Returns how the answer to a request is masked; none where it holds no values. `target` is the one that is
/// sent to Mirth.
///
/// Every operation's answer is masked, those too that hold no credentials today: it costs little, and
/// the next version of Mirth need not be watched.
#[must_use]
pub fn scope(names: &Named, target: &str) -> Option<Scope> {
    Some(match names.operation? {
        // Of what the API looks like.
        "openapi" | "wadl" => return None,
        "getPluginProperties" => Scope::Properties,
        "getConfigurationMap" => Scope::ConfigurationMap,
        "getProperty" if !is_of_the_core(target) => Scope::Single,
        _ => Scope::Named,
    })
}

/// Returns whether one property is asked for that is Mirth's own and no credential. All others are plug-ins'.
fn is_of_the_core(target: &str) -> bool {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let values = |name: &'static str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(move |(own, _)| *own == name).map(|(_, value)| value)
    };
    // An escape may hide a name.
    let mut names = values("name");
    let is_plain = !query.contains(['%', '+']);
    is_plain
        && values("group").eq(["core"])
        // The configuration map, where it is kept in the database.
        && names
            .next()
            .is_some_and(|name| name != "configuration.properties" && !is_credential(name.as_bytes()))
        && names.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(operation: Option<&'static str>, target: &str) -> Option<Scope> {
        let names =
            Named { template: "x".into(), operation, changes: false, rule: String::from("view-only: …") };
        scope(&names, target)
    }

    #[test]
    fn every_answer_of_the_api_but_its_own_description_is_masked() {
        assert_eq!(of(Some("getChannels"), "/api/channels"), Some(Scope::Named));
        assert_eq!(of(Some("getPluginProperties"), "/x"), Some(Scope::Properties));
        assert_eq!(of(Some("getConfigurationMap"), "/x"), Some(Scope::ConfigurationMap));
        assert_eq!(of(Some("somethingNew"), "/x"), Some(Scope::Named));
        assert_eq!(of(Some("openapi"), "/api/openapi.json"), None);
        assert_eq!(of(None, "/webadmin"), None, "a page");
    }

    #[test]
    fn one_property_is_masked_whole_unless_it_is_a_harmless_one_of_mirths_own() {
        let of = |query: &str| of(Some("getProperty"), &format!("/api/server/property{query}"));
        assert_eq!(of("?group=core&name=server.name"), Some(Scope::Named));
        for query in [
            "",
            "?group=core",
            "?group=core&name=smtp.password",
            "?group=core&name=configuration.properties",
            "?group=core&name=encryption.key",
            "?group=core&name=smtp.passwor%64",
            "?group=LDAP&name=url",
            "?group=core&group=LDAP&name=url",
            "?group=core&name=url&name=password",
        ] {
            assert_eq!(of(query), Some(Scope::Single), "{query}");
        }
    }
}
