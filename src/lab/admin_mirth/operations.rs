//! The operations that the stand-in serves: one table for its routing and its WADL.
//!
//! Names and paths are Mirth's, but the last: a plug-in's, which adit's tables do not know.

use super::api::{self, Run};
use super::people;

/// One operation.
pub(super) struct Operation {
    pub(super) method: &'static str,
    /// Jersey's resource class, the outer path of the WADL.
    pub(super) class: &'static str,
    /// Below the class.
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) run: Run,
}

const fn operation(
    method: &'static str,
    class: &'static str,
    path: &'static str,
    name: &'static str,
    run: Run,
) -> Operation {
    Operation { method, class, path, name, run }
}

/// Literal paths stand before those with parameters, which would match them too.
pub(super) static OPERATIONS: [Operation; 59] = [
    operation("GET", "/alerts", "/statuses", "getAlertStatusList", api::empty_list),
    operation("GET", "/channelgroups", "", "getChannelGroups", api::empty_list),
    operation("GET", "/channels", "", "getChannels", api::channels),
    operation("POST", "/channels", "", "createChannel", api::create_channel),
    operation("POST", "/channels", "/_deploy", "deployChannels", api::deploy),
    operation("POST", "/channels", "/_getChannels", "getChannels", api::channels),
    operation("POST", "/channels", "/_getSummary", "getChannelSummary", api::empty_list),
    operation("POST", "/channels", "/_redeployAll", "redeployAllChannels", api::deploy),
    operation("POST", "/channels", "/_auditAccessedPHIMessage", "auditAccessedPHIMessage", api::done),
    operation("POST", "/channels", "/_auditQueriedPHIMessage", "auditQueriedPHIMessage", api::done),
    operation("POST", "/channels", "/_auditExportMessages", "auditExportMessages", api::done),
    operation("POST", "/channels", "/_auditExportMessagesSuccess", "auditExportMessagesSuccess", api::done),
    operation("GET", "/channels", "/idsAndNames", "getChannelIdsAndNames", api::ids_and_names),
    operation("GET", "/channels", "/portsInUse", "getChannelPortsInUse", api::empty_list),
    operation("GET", "/channels", "/statuses", "getChannelStatusList", api::statuses),
    operation("POST", "/channels", "/statuses/_getChannelStatusList", "getChannelStatusList", api::statuses),
    operation("GET", "/channels", "/{channelId}", "getChannel", api::channel),
    operation("PUT", "/channels", "/{channelId}", "updateChannel", api::update_channel),
    operation("DELETE", "/channels", "/{channelId}", "removeChannel", api::remove_channel),
    operation("POST", "/channels", "/{channelId}/_deploy", "deployChannels", api::deploy),
    operation("POST", "/channels", "/{channelId}/_start", "startChannels", api::deploy),
    operation("POST", "/channels", "/{channelId}/_stop", "stopChannels", api::stop),
    operation("POST", "/channels", "/{channelId}/_undeploy", "undeployChannels", api::undeploy),
    operation("GET", "/channels", "/{channelId}/status", "getChannelStatus", api::status),
    operation("GET", "/channels", "/{channelId}/messages", "searchMessages", api::messages),
    operation("POST", "/channels", "/{channelId}/messages", "processMessages", api::process),
    operation("DELETE", "/channels", "/{channelId}/messages/_removeAll", "removeAllMessages", api::done),
    operation("POST", "/channels", "/{channelId}/messages/_import", "importMessage", api::done),
    operation("POST", "/channels", "/{channelId}/messages/_search", "searchMessages", api::messages),
    operation("GET", "/channels", "/{channelId}/messages/count", "getSearchCount", api::count),
    operation(
        "GET",
        "/channels",
        "/{channelId}/messages/maxMessageId",
        "getMaxMessageId",
        api::max_message_id,
    ),
    operation("GET", "/codeTemplates", "", "getCodeTemplates", api::empty_list),
    operation("GET", "/events", "/maxEventId", "getMaxEventId", api::count),
    operation("POST", "/extensions", "/_install", "installExtension", api::done),
    operation("GET", "/extensions", "/plugins", "getPluginMetaData", api::empty_map),
    operation(
        "GET",
        "/extensions/dashboardstatus",
        "/connectionLogs/{channelId}",
        "getConnectionInfoLogs",
        api::map_of_one,
    ),
    operation("GET", "/extensions/globalmapviewer", "/maps/all", "getAllMaps", api::maps_of_many),
    operation("POST", "/extensions/globalmapviewer", "/maps/_getAllMaps", "getAllMaps", api::maps_of_many),
    operation(
        "GET",
        "/extensions/globalmapviewer",
        "/maps/{channelId}",
        "getGlobalChannelMap",
        api::map_of_one,
    ),
    operation("GET", "/extensions/serverlog", "", "getMirthServerLogs", api::server_log),
    operation("GET", "/server", "/encryption", "getEncryptionSettings", api::encryption),
    operation("GET", "/server", "/globalScripts", "getGlobalScripts", api::empty_map),
    operation("PUT", "/server", "/globalScripts", "setGlobalScripts", api::done),
    operation("GET", "/server", "/id", "getServerId", api::server_id),
    operation("GET", "/server", "/jvm", "getJVMName", api::jvm),
    operation("GET", "/server", "/status", "getStatus", api::server_status),
    operation("GET", "/server", "/version", "getVersion", api::version),
    operation("GET", "/system", "/stats", "getStats", api::system_stats),
    operation("GET", "/users", "", "getAllUsers", api::users),
    operation("POST", "/users", "/_login", "login", api::log_in),
    operation("POST", "/users", "/_logout", "logout", api::log_out),
    operation("GET", "/users", "/current", "getCurrentUser", api::current_user),
    operation("PUT", "/users", "/{userId}", "updateUser", people::update),
    operation("PUT", "/users", "/{userId}/password", "updateUserPassword", people::update_password),
    operation("GET", "/users", "/{userId}/preferences", "getUserPreferences", people::preferences),
    operation("PUT", "/users", "/{userId}/preferences", "setUserPreferences", people::set_preferences),
    operation("GET", "/users", "/{userId}/preferences/{name}", "getUserPreference", people::preference),
    operation("PUT", "/users", "/{userId}/preferences/{name}", "setUserPreference", people::set_preference),
    operation("POST", "/extensions/bedboard", "/_clear", "clearBedBoard", api::done),
];
