//! Every table of the schema with its columns, in the order of their references, as [`super::migrate`] moves
//! them. A test holds the list against both engines' schemas.

/// How a column's values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Text,
    Number,
    /// 0 or 1 in `SQLite`.
    Flag,
    Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    pub name: &'static str,
    pub kind: Kind,
}

#[derive(Debug)]
pub(super) struct Table {
    pub name: &'static str,
    /// The primary key; empty where two rows may be alike.
    pub key: &'static [&'static str],
    pub columns: &'static [Column],
    /// The column that numbers new rows.
    pub numbered: Option<&'static str>,
    /// Whether an empty database has rows in it.
    pub is_never_empty: bool,
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text }
}

const fn number(name: &'static str) -> Column {
    Column { name, kind: Kind::Number }
}

const fn flag(name: &'static str) -> Column {
    Column { name, kind: Kind::Flag }
}

const fn bytes(name: &'static str) -> Column {
    Column { name, kind: Kind::Bytes }
}

const fn table(name: &'static str, key: &'static [&'static str], columns: &'static [Column]) -> Table {
    Table { name, key, columns, numbered: None, is_never_empty: false }
}

impl Table {
    const fn numbered(self, column: &'static str) -> Self {
        Self { numbered: Some(column), ..self }
    }

    const fn never_empty(self) -> Self {
        Self { is_never_empty: true, ..self }
    }

    /// Returns the columns by which its rows are in order.
    pub(super) fn order(&self) -> Vec<&'static str> {
        if self.key.is_empty() {
            self.columns.iter().map(|column| column.name).collect()
        } else {
            self.key.to_vec()
        }
    }
}

pub(super) const TABLES: [Table; 28] = [
    table("build", &["version"], &[text("version"), number("schema")]).never_empty(),
    table(
        "organization",
        &["id"],
        &[text("id"), text("name"), text("tier"), number("created_at"), flag("needs_second_factor")],
    ),
    table(
        "server",
        &["id"],
        &[
            text("id"),
            text("organization"),
            text("name"),
            text("description"),
            text("version"),
            text("route"),
            text("key"),
            number("enrolled_at"),
            number("created_at"),
            number("deleted_at"),
            number("leaf_until"),
        ],
    ),
    table(
        "server_link",
        &["server"],
        &[text("server"), text("gateway"), flag("is_up"), number("since"), text("software")],
    ),
    table("gateway_lease", &["gateway"], &[text("gateway"), number("until")]),
    table("revoked_key", &["key"], &[text("key"), text("server"), number("revoked_at")]),
    table(
        "registration_token",
        &["server"],
        &[
            text("server"),
            bytes("hash"),
            number("issued_at"),
            number("expires_at"),
            text("bound_key"),
            number("bound_at"),
        ],
    ),
    table(
        "channel",
        &["id"],
        &[
            text("id"),
            text("server"),
            text("name"),
            text("description"),
            text("protocol"),
            flag("published"),
            number("created_at"),
            number("deleted_at"),
            text("last_name"),
        ],
    ),
    table(
        "agreement",
        &["id"],
        &[
            text("id"),
            text("requester"),
            text("recipient"),
            text("status"),
            number("requested_at"),
            number("decided_at"),
        ],
    ),
    table(
        "channel_grant",
        &["id"],
        &[
            text("id"),
            text("agreement"),
            text("channel"),
            text("holder"),
            text("origin"),
            text("source_server"),
            text("status"),
            number("created_at"),
            number("changed_at"),
        ],
    ),
    table(
        "connection",
        &["id"],
        &[
            text("id"),
            text("kind"),
            text("channel_grant"),
            text("agreement"),
            text("recipient"),
            number("expires_at"),
            text("source_server"),
            text("target_server"),
            text("status"),
            text("held_by"),
            flag("held_for_tier"),
            text("failure"),
            number("cut_epoch"),
            text("source_last_name"),
            text("target_last_name"),
            number("created_at"),
            number("changed_at"),
            number("first_connected_at"),
            text("channel_last_name"),
            text("source_owner"),
            text("target_owner"),
        ],
    ),
    table(
        "connection_secret",
        &["connection"],
        &[
            text("connection"),
            number("epoch"),
            bytes("sealed"),
            number("made_at"),
            number("source_viewed_at"),
            number("target_viewed_at"),
            number("source_held_at"),
            number("target_held_at"),
        ],
    ),
    table("secret_view", &[], &[text("connection"), number("at")]),
    table(
        "connection_fact",
        &["connection", "side"],
        &[
            text("connection"),
            text("side"),
            text("tunnel"),
            number("tunnel_since"),
            flag("mirth_up"),
            number("mirth_since"),
            number("last_ack_at"),
            text("fault"),
            number("fault_since"),
        ],
    ),
    table(
        "audit",
        &["id"],
        &[
            number("id"),
            number("at"),
            text("organization"),
            text("actor"),
            text("action"),
            text("object"),
            text("outcome"),
            text("detail"),
            number("times"),
            text("bucket"),
            text("act"),
        ],
    )
    .numbered("id"),
    table(
        "change",
        &["seq"],
        &[number("seq"), text("organization"), text("server"), text("connection"), text("kind")],
    )
    .numbered("seq"),
    table("note_mark", &["teller", "run"], &[text("teller"), text("run"), number("number"), number("at")]),
    table(
        "user_account",
        &["id"],
        &[
            text("id"),
            text("organization"),
            text("name"),
            text("email"),
            text("role"),
            text("password"),
            text("subject"),
            bytes("totp_sealed"),
            number("totp_since"),
            number("totp_step"),
            number("created_at"),
            number("changed_at"),
            number("disabled_at"),
            number("signed_in_at"),
            number("devices_made"),
            number("devices_void"),
        ],
    ),
    table("recovery_code", &["account", "hash"], &[text("account"), bytes("hash"), number("used_at")]),
    table(
        "invitation",
        &["id"],
        &[
            text("id"),
            text("organization"),
            text("account"),
            text("email"),
            text("role"),
            bytes("hash"),
            text("invited_by"),
            number("created_at"),
            number("expires_at"),
            number("accepted_at"),
            number("revoked_at"),
        ],
    ),
    table(
        "user_session",
        &["id"],
        &[
            text("id"),
            text("account"),
            bytes("hash"),
            flag("is_whole"),
            number("created_at"),
            number("seen_at"),
            number("expires_at"),
            text("address"),
            text("agent"),
        ],
    ),
    table(
        "api_token",
        &["id"],
        &[
            text("id"),
            text("account"),
            text("name"),
            bytes("hash"),
            text("role"),
            number("created_at"),
            number("expires_at"),
            number("used_at"),
            number("revoked_at"),
        ],
    ),
    table(
        "identity_provider",
        &["organization"],
        &[
            text("organization"),
            text("issuer"),
            text("client_id"),
            bytes("client_secret_sealed"),
            text("role_claim"),
            text("owner_value"),
            text("operator_value"),
            text("auditor_value"),
            flag("owners_only"),
            number("changed_at"),
        ],
    ),
    table(
        "sign_in_flow",
        &["state_hash"],
        &[
            bytes("state_hash"),
            text("organization"),
            bytes("browser_hash"),
            text("address"),
            text("client_id"),
            text("issuer"),
            bytes("nonce_hash"),
            bytes("verifier_sealed"),
            text("go_to"),
            number("expires_at"),
        ],
    ),
    table(
        "idempotency_key",
        &["account", "key"],
        &[text("account"), text("key"), bytes("request_hash"), text("made"), number("at")],
    ),
    table(
        "measurement",
        &["connection", "span", "at", "side"],
        &[text("connection"), text("span"), number("at"), text("side"), bytes("sums")],
    ),
    table(
        "admin_session",
        &["id"],
        &[
            text("id"),
            text("connection"),
            text("source_owner"),
            text("target_owner"),
            text("run"),
            number("number"),
            number("round"),
            text("local_peer"),
            number("begun_at"),
            number("heard_at"),
            number("ended_at"),
            number("requests"),
            number("refused"),
            number("changes"),
            number("audits"),
            flag("judged"),
        ],
    ),
    table("feed", &["one"], &[number("one"), number("pruned_to")]).never_empty(),
];
