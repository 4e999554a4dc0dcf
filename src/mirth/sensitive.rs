//! Which of an owner's `hide` words keep an operation back from view-only partners, from the table's
//! `sensitive` column.

use adit_core::domain::access::Category;

use super::operation::Operation;

use Category::{ConfigurationMap, Events, GlobalMaps, Messages, Scripts, ServerLog, ServerSettings, Users};

/// Returns the categories: hiding any of these hides the operation.
#[must_use]
pub(crate) fn categories(operation: &Operation) -> &'static [Category] {
    match operation.template {
        // Counts tell what searches would: `attributeSearch` is answered by them too.
        "/events/count" | "/events/count/_search" | "/events/maxEventId" => &[Events],
        // The partner's own record: the Administrator cannot open without it.
        "/users/current" => &[],
        _ => of_words(operation.sensitive).unwrap_or(Category::ALL.as_slice()),
    }
}

/// Returns the categories; none for words nobody has sorted.
fn of_words(sensitive: &str) -> Option<&'static [Category]> {
    Some(match sensitive {
        "PHI: message content/metadata" | "PHI oracle (search counts)" => &[Messages],
        // JMS templates are connectors' settings with their passwords.
        "SECRETS: connector passwords/scripts inside channels"
        | "SECRETS: JMS connection passwords"
        | "script source (may embed secrets)" => &[Scripts],
        "SECRETS: may return full channels (delta); alert recipients" => &[Scripts, Users],
        "SECRETS: configuration map values" => &[ConfigurationMap],
        "SECRETS: SMTP username/password" | "resource definitions (paths; plug-ins may hold credentials)" => {
            &[ServerSettings]
        }
        // The JMS templates are among the plug-in settings.
        "SECRETS: plug-in settings (LDAP, keystores, tokens; JMS templates)" => &[ServerSettings, Scripts],
        "SECRETS: any CONFIGURATION row incl. plug-in properties" => {
            &[ServerSettings, Scripts, ConfigurationMap]
        }
        "SECRETS: full backup (channels with passwords, SMTP password, configuration map, plug-in properties)" => {
            &[Scripts, ConfigurationMap, ServerSettings, Users]
        }
        "log lines (may hold PHI/secrets)" | "peer addresses" => &[ServerLog],
        "SECRETS/PHI: runtime variables" => &[GlobalMaps],
        "audit log: users, IP addresses, patient ids in attributes" => &[Events],
        "alert recipients/user list" | "personal data of users" | "personal data" => &[Users],
        // Nothing is shown: the key is always refused, credentials only go in. The Administrator reads
        // the preferences of its own user at every start.
        "-"
        | "KEY: AES secret key"
        | "body holds credentials"
        | "body is a plaintext password"
        | "user preferences" => &[],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::operation::OPERATIONS;
    use super::*;

    #[test]
    fn every_kind_of_sensitive_answer_in_the_table_has_been_sorted() {
        for operation in OPERATIONS.all() {
            assert!(of_words(operation.sensitive).is_some(), "{operation:?}");
        }
        assert_eq!(of_words("something new"), None);
    }

    #[test]
    fn every_word_hides_what_it_says() {
        let hidden = |category: Category| -> Vec<_> {
            let all = OPERATIONS.all().iter();
            all.filter(|known| categories(known).contains(&category)).map(|known| known.template).collect()
        };
        assert_eq!(hidden(Messages).len(), 8);
        assert_eq!(
            hidden(ConfigurationMap),
            ["/server/configuration", "/server/configurationMap", "/server/property"]
        );
        assert_eq!(hidden(GlobalMaps).len(), 4);
        assert_eq!(hidden(Events).len(), 6);
        assert_eq!(
            hidden(ServerLog),
            [
                "/extensions/dashboardstatus/connectionLogs",
                "/extensions/dashboardstatus/connectionLogs/{channelId}",
                "/extensions/serverlog"
            ]
        );
        for (category, template) in [
            (Scripts, "/channels/{channelId}"),
            (Scripts, "/channels/_getSummary"),
            (Scripts, "/codeTemplates/_getSummary"),
            (Scripts, "/server/globalScripts"),
            (Scripts, "/alerts/_getInfo"),
            (Scripts, "/connectors/jms/templates/{templateName}"),
            (ServerSettings, "/server/settings"),
            (ServerSettings, "/extensions/{extensionName}/properties"),
            (Users, "/users"),
            (Users, "/users/{userIdOrName}"),
        ] {
            assert!(hidden(category).contains(&template), "{category}: {template}");
        }
    }
}
