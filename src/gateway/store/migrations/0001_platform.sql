-- Organizations, their servers and channels, who agreed to what, the connections made from it.
-- Times are milliseconds since 1970-01-01 UTC; identities are lower-case UUIDs as text.

CREATE TABLE organization (
    id          TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    name        TEXT    NOT NULL COLLATE NOCASE UNIQUE CHECK (length(name) BETWEEN 1 AND 80), -- public
    tier        TEXT    NOT NULL CHECK (tier IN ('Free', 'Standard', 'Enterprise')),
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE server (
    id           TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    organization TEXT    NOT NULL REFERENCES organization (id),
    name         TEXT    NOT NULL COLLATE NOCASE CHECK (length(name) BETWEEN 1 AND 80),
    description  TEXT    NOT NULL CHECK (length(description) <= 500),
    version      TEXT    NOT NULL CHECK (length(version) <= 80),         -- of the Mirth, as its owner wrote it
    route        TEXT    NOT NULL UNIQUE CHECK (length(route) = 16),     -- first bytes of its connection ids, for life
    key          TEXT    UNIQUE CHECK (length(key) = 71),                -- on file; NULL before enrolment and after revocation
    enrolled_at  INTEGER,                                                -- last time a key was put on file
    link_up      INTEGER CHECK (link_up IN (0, 1)),                      -- agent to gateway; NULL when never seen
    link_since   INTEGER,                                                -- when link_up became so
    created_at   INTEGER NOT NULL,
    UNIQUE (organization, name),
    CHECK (key IS NULL OR enrolled_at IS NOT NULL),
    CHECK ((link_up IS NULL) = (link_since IS NULL))
) STRICT;

-- Keys whose leaves are good no more; never removed.
CREATE TABLE revoked_key (
    key         TEXT    NOT NULL PRIMARY KEY CHECK (length(key) = 71),
    server      TEXT    NOT NULL REFERENCES server (id),
    revoked_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX revoked_key_by_server ON revoked_key (server);

-- One row a server: a new token voids the old one.
CREATE TABLE registration_token (
    server      TEXT    NOT NULL PRIMARY KEY REFERENCES server (id),
    hash        BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),       -- SHA-256; the token itself is nowhere
    issued_at   INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    bound_key   TEXT    CHECK (length(bound_key) = 71),                  -- first key that presented it
    bound_at    INTEGER,
    CHECK (expires_at > issued_at),
    CHECK ((bound_key IS NULL) = (bound_at IS NULL))
) STRICT;

CREATE TABLE channel (
    id          TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    server      TEXT    NOT NULL REFERENCES server (id),
    name        TEXT    NOT NULL COLLATE NOCASE CHECK (length(name) BETWEEN 1 AND 80), -- public, never Mirth's own
    description TEXT    NOT NULL CHECK (length(description) <= 500),
    protocol    TEXT    NOT NULL CHECK (protocol IN ('mllp', 'dicom', 'tcp')),
    published   INTEGER NOT NULL CHECK (published IN (0, 1)),            -- whether peers without a connection see it
    created_at  INTEGER NOT NULL,
    UNIQUE (server, name)
) STRICT;

-- A peering request and, once accepted, the agreement it became.
CREATE TABLE agreement (
    id           TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    requester    TEXT    NOT NULL REFERENCES organization (id),
    recipient    TEXT    NOT NULL REFERENCES organization (id),
    status       TEXT    NOT NULL CHECK (status IN ('requested', 'live', 'declined', 'withdrawn')),
    requested_at INTEGER NOT NULL,
    decided_at   INTEGER,
    CHECK ((status = 'requested') = (decided_at IS NULL)),
    CHECK (requester <> recipient OR status = 'live')                    -- asking oneself is accepted at once
) STRICT;
-- Two organizations have one request or agreement at a time, whoever asked.
CREATE UNIQUE INDEX agreement_of_two ON agreement (min(requester, recipient), max(requester, recipient))
    WHERE status IN ('requested', 'live');
CREATE INDEX agreement_by_recipient ON agreement (recipient);

-- Permission for one peer on one channel.
CREATE TABLE channel_grant (
    id            TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    agreement     TEXT    NOT NULL REFERENCES agreement (id),
    channel       TEXT    NOT NULL REFERENCES channel (id),
    holder        TEXT    NOT NULL REFERENCES organization (id),         -- the peer that may send
    origin        TEXT    NOT NULL CHECK (origin IN ('offered', 'requested')),
    source_server TEXT    REFERENCES server (id),                        -- the holder's; an offer learns it at approval
    status        TEXT    NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'revoked', 'relinquished')),
    created_at    INTEGER NOT NULL,
    changed_at    INTEGER NOT NULL,
    CHECK (source_server IS NOT NULL OR origin = 'offered'),
    CHECK (source_server IS NOT NULL OR status <> 'approved')
) STRICT;
-- One living grant for a channel, its holder and the sending server.
CREATE UNIQUE INDEX channel_grant_living ON channel_grant (channel, holder, coalesce(source_server, ''))
    WHERE status IN ('pending', 'approved');
CREATE INDEX channel_grant_by_holder ON channel_grant (holder);

CREATE TABLE connection (
    id               TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    kind             TEXT    NOT NULL CHECK (kind = 'P2P'),              -- fixed for life
    channel_grant    TEXT    NOT NULL UNIQUE REFERENCES channel_grant (id),
    source_server    TEXT    NOT NULL REFERENCES server (id),            -- dials
    target_server    TEXT    NOT NULL REFERENCES server (id),
    status           TEXT    NOT NULL CHECK (status IN
                         ('Provisioning', 'Ready', 'Active', 'Paused', 'Failed', 'Terminated')),
    held_by          TEXT    CHECK (held_by IN ('source', 'target', 'both')), -- whose pause is in force
    failure          TEXT,                                               -- why it is Failed
    cut_epoch        INTEGER NOT NULL DEFAULT 0 CHECK (cut_epoch >= 0),  -- rises with every disconnect now
    source_last_name TEXT,                                               -- the names shown after it ended
    target_last_name TEXT,
    created_at       INTEGER NOT NULL,
    changed_at       INTEGER NOT NULL,                                   -- of the status
    first_connected_at INTEGER,                                          -- tunnel first up on both sides
    CHECK (source_server <> target_server),
    CHECK ((status = 'Paused') = (held_by IS NOT NULL)),
    CHECK ((status = 'Failed') = (failure IS NOT NULL)),
    CHECK ((status = 'Terminated') = (source_last_name IS NOT NULL)),
    CHECK ((status = 'Terminated') = (target_last_name IS NOT NULL))
) STRICT;
CREATE INDEX connection_by_source ON connection (source_server);
CREATE INDEX connection_by_target ON connection (target_server);

-- The shared secret, sealed with a key that is not in this database, until it is no longer needed here.
CREATE TABLE connection_secret (
    connection       TEXT    NOT NULL PRIMARY KEY REFERENCES connection (id),
    epoch            INTEGER NOT NULL CHECK (epoch >= 1),                -- rises with every rotation
    sealed           BLOB    CHECK (length(sealed) = 60),                -- nonce, ciphertext, tag; NULL once deleted
    made_at          INTEGER NOT NULL,
    source_viewed_at INTEGER,                                            -- one view for each owner
    target_viewed_at INTEGER,
    source_held_at   INTEGER,                                            -- that side's agent has it on disk
    target_held_at   INTEGER
) STRICT;

-- What each side's agent last told of a connection.
CREATE TABLE connection_fact (
    connection   TEXT    NOT NULL REFERENCES connection (id),
    side         TEXT    NOT NULL CHECK (side IN ('source', 'target')),
    tunnel       TEXT    NOT NULL CHECK (tunnel IN ('down', 'direct')),  -- the path while it is up
    tunnel_since INTEGER NOT NULL,
    mirth_up     INTEGER CHECK (mirth_up IN (0, 1)),                     -- NULL when not told
    mirth_since  INTEGER,
    last_ack_at  INTEGER,
    PRIMARY KEY (connection, side),
    CHECK ((mirth_up IS NULL) = (mirth_since IS NULL))
) STRICT;

-- Every change, refusal, reveal and enrolment: one row for each organization concerned.
CREATE TABLE audit (
    id           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at           INTEGER NOT NULL,
    organization TEXT    REFERENCES organization (id),                   -- whose log; NULL is the gateway operator's
    actor        TEXT    NOT NULL,                                       -- who did it, as that organization may know
    action       TEXT    NOT NULL,
    object       TEXT    NOT NULL,
    outcome      TEXT    NOT NULL CHECK (outcome IN ('done', 'refused', 'alert')),
    detail       TEXT    NOT NULL,
    times        INTEGER NOT NULL DEFAULT 1 CHECK (times >= 1),          -- repeats within the bucket's minute
    bucket       TEXT    UNIQUE                                          -- what a stranger can cause is counted a minute
) STRICT;
CREATE INDEX audit_by_organization ON audit (organization, id);
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_never_rewritten BEFORE UPDATE OF id, at, organization, actor, action, object, outcome, detail, bucket ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

PRAGMA user_version = 1;
PRAGMA application_id = 0x61646974; -- "adit"
