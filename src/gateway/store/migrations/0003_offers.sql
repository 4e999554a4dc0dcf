-- Administration of a peer's server: connections that come from an offer instead of a grant, whose
-- source the recipient names when it accepts. The tables that refer to a connection are made anew
-- with it, because renaming a table takes the references to it along.
DROP INDEX connection_by_source;
DROP INDEX connection_by_target;
ALTER TABLE connection RENAME TO connection_before;
CREATE TABLE connection (
    id               TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    kind             TEXT    NOT NULL CHECK (kind IN ('P2P', 'Admin RW', 'Admin RO')), -- fixed for life
    channel_grant    TEXT    UNIQUE REFERENCES channel_grant (id),       -- what a P2P connection comes from
    agreement        TEXT    REFERENCES agreement (id),                  -- what an admin offer was made over,
    recipient        TEXT    REFERENCES organization (id),               --   to whom,
    expires_at       INTEGER,                                            --   and until when it may be accepted
    source_server    TEXT    REFERENCES server (id),                     -- dials; an offer learns it at acceptance
    target_server    TEXT    NOT NULL REFERENCES server (id),
    status           TEXT    NOT NULL CHECK (status IN
                         ('Provisioning', 'Ready', 'Active', 'Paused', 'Offered', 'Failed',
                          'Declined', 'Expired', 'Terminated')),
    held_by          TEXT    CHECK (held_by IN ('source', 'target', 'both')), -- whose pause is in force
    held_for_tier    INTEGER NOT NULL DEFAULT 0 CHECK (held_for_tier IN (0, 1)), -- the target's was made by a downgrade
    failure          TEXT,                                               -- why it is Failed
    cut_epoch        INTEGER NOT NULL DEFAULT 0 CHECK (cut_epoch >= 0),  -- rises with every disconnect now
    source_last_name TEXT,                                               -- the names shown after it ended
    target_last_name TEXT,
    created_at       INTEGER NOT NULL,
    changed_at       INTEGER NOT NULL,                                   -- of the status
    first_connected_at INTEGER,                                          -- tunnel first up on both sides
    CHECK ((kind = 'P2P') = (channel_grant IS NOT NULL)),
    CHECK ((kind = 'P2P') = (agreement IS NULL)),
    CHECK ((kind = 'P2P') = (recipient IS NULL)),
    CHECK ((kind = 'P2P') = (expires_at IS NULL)),
    CHECK (kind <> 'P2P' OR status NOT IN ('Offered', 'Declined', 'Expired')),
    CHECK (source_server IS NOT NULL
           OR (kind <> 'P2P' AND status NOT IN ('Ready', 'Active', 'Paused'))),
    CHECK (source_server <> target_server),
    CHECK ((status = 'Paused') = (held_by IS NOT NULL)),
    CHECK (held_for_tier = 0 OR (kind = 'Admin RW' AND coalesce(held_by, '') IN ('target', 'both'))),
    CHECK ((status = 'Failed') = (failure IS NOT NULL)),
    CHECK ((status IN ('Declined', 'Expired', 'Terminated')) = (target_last_name IS NOT NULL)),
    CHECK ((status IN ('Declined', 'Expired', 'Terminated') AND source_server IS NOT NULL)
           = (source_last_name IS NOT NULL))
) STRICT;
INSERT INTO connection (id, kind, channel_grant, source_server, target_server, status, held_by, failure,
        cut_epoch, source_last_name, target_last_name, created_at, changed_at, first_connected_at)
    SELECT id, kind, channel_grant, source_server, target_server, status, held_by, failure,
        cut_epoch, source_last_name, target_last_name, created_at, changed_at, first_connected_at
    FROM connection_before;
CREATE INDEX connection_by_source ON connection (source_server);
CREATE INDEX connection_by_target ON connection (target_server);
-- One open offer of a kind for a server and a peer.
CREATE UNIQUE INDEX connection_offered_once ON connection (target_server, recipient, kind)
    WHERE status IN ('Provisioning', 'Offered');
CREATE INDEX connection_by_expiry ON connection (expires_at) WHERE status = 'Offered';

ALTER TABLE connection_secret RENAME TO connection_secret_before;
CREATE TABLE connection_secret (
    connection       TEXT    NOT NULL PRIMARY KEY REFERENCES connection (id),
    epoch            INTEGER NOT NULL CHECK (epoch >= 1),                -- rises with every rotation
    sealed           BLOB    CHECK (length(sealed) = 60),                -- nonce, ciphertext, tag; NULL once deleted
    made_at          INTEGER NOT NULL,
    source_viewed_at INTEGER,                                            -- P2P: one view for each owner
    target_viewed_at INTEGER,
    source_held_at   INTEGER,                                            -- that side's agent has it on disk
    target_held_at   INTEGER
) STRICT;
INSERT INTO connection_secret
    SELECT connection, epoch, sealed, made_at, source_viewed_at, target_viewed_at, source_held_at, target_held_at
    FROM connection_secret_before;
DROP TABLE connection_secret_before;

ALTER TABLE connection_fact RENAME TO connection_fact_before;
CREATE TABLE connection_fact (
    connection   TEXT    NOT NULL REFERENCES connection (id),
    side         TEXT    NOT NULL CHECK (side IN ('source', 'target')),
    tunnel       TEXT    NOT NULL CHECK (tunnel IN ('down', 'direct', 'relay')),  -- the path while it is up
    tunnel_since INTEGER NOT NULL,
    mirth_up     INTEGER CHECK (mirth_up IN (0, 1)),                              -- NULL when not told
    mirth_since  INTEGER,
    last_ack_at  INTEGER,
    PRIMARY KEY (connection, side),
    CHECK ((mirth_up IS NULL) = (mirth_since IS NULL))
) STRICT;
INSERT INTO connection_fact
    SELECT connection, side, tunnel, tunnel_since, mirth_up, mirth_since, last_ack_at FROM connection_fact_before;
DROP TABLE connection_fact_before;
DROP TABLE connection_before;

-- When an admin connection's secret was shown to the server's owner; only the last hour's count.
CREATE TABLE secret_view (
    connection   TEXT    NOT NULL REFERENCES connection (id),
    at           INTEGER NOT NULL
) STRICT;
CREATE INDEX secret_view_by_connection ON secret_view (connection, at);
PRAGMA user_version = 3;
