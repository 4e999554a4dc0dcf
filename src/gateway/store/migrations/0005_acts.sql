-- Words may grow without a table made anew: what is closed is no longer checked here, what holds between
-- columns is. Links are kept by gateway; what changed is a feed; an audit entry knows its act.
-- Foreign keys are off while this runs, and looked at after it: a table keeps its name, and what refers to
-- it stays as it is.
CREATE TABLE organization_now (
    id          TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    name        TEXT    NOT NULL COLLATE NOCASE UNIQUE CHECK (length(name) BETWEEN 1 AND 80), -- public
    tier        TEXT    NOT NULL CHECK (length(tier) BETWEEN 1 AND 24),
    created_at  INTEGER NOT NULL
) STRICT;
INSERT INTO organization_now SELECT id, name, tier, created_at FROM organization;
DROP TABLE organization;
ALTER TABLE organization_now RENAME TO organization;
CREATE INDEX organization_by_lower_name ON organization (lower(name), id);

-- Who serves a server's control link; newest first come, newest counts.
CREATE TABLE server_link (
    server      TEXT    NOT NULL PRIMARY KEY REFERENCES server (id),
    gateway     TEXT    NOT NULL CHECK (length(gateway) = 16),
    is_up       INTEGER NOT NULL CHECK (is_up IN (0, 1)),                -- true only while its gateway's lease lasts
    since       INTEGER NOT NULL
) STRICT;
CREATE INDEX server_link_by_gateway ON server_link (gateway);
-- What was told by the one gateway there was until now; whether it is up is told anew.
INSERT INTO server_link SELECT id, '0000000000000000', 0, link_since FROM server WHERE link_up IS NOT NULL;
-- Gateways that live, until when.
CREATE TABLE gateway_lease (
    gateway     TEXT    NOT NULL PRIMARY KEY CHECK (length(gateway) = 16),
    until       INTEGER NOT NULL
) STRICT;

CREATE TABLE server_now (
    id           TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    organization TEXT    NOT NULL REFERENCES organization (id),
    name         TEXT    NOT NULL COLLATE NOCASE CHECK (length(name) BETWEEN 1 AND 80),
    description  TEXT    NOT NULL CHECK (length(description) <= 500),
    version      TEXT    NOT NULL CHECK (length(version) <= 80),         -- of the Mirth, as its owner wrote it
    route        TEXT    NOT NULL UNIQUE CHECK (length(route) = 16),     -- first bytes of its connection ids, for life
    key          TEXT    UNIQUE CHECK (length(key) = 71),                -- on file; NULL before enrolment and after revocation
    enrolled_at  INTEGER,                                                -- last time a key was put on file
    created_at   INTEGER NOT NULL,
    UNIQUE (organization, name),
    CHECK (key IS NULL OR enrolled_at IS NOT NULL)
) STRICT;
INSERT INTO server_now
    SELECT id, organization, name, description, version, route, key, enrolled_at, created_at FROM server;
DROP TABLE server;
ALTER TABLE server_now RENAME TO server;
CREATE INDEX server_by_lower_name ON server (lower(name), id);

CREATE TABLE channel_now (
    id          TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    server      TEXT    NOT NULL REFERENCES server (id),
    name        TEXT    NOT NULL COLLATE NOCASE CHECK (length(name) BETWEEN 1 AND 80), -- public, never Mirth's own
    description TEXT    NOT NULL CHECK (length(description) <= 500),
    protocol    TEXT    NOT NULL CHECK (length(protocol) BETWEEN 1 AND 24),
    published   INTEGER NOT NULL CHECK (published IN (0, 1)),            -- whether peers without a connection see it
    created_at  INTEGER NOT NULL,
    UNIQUE (server, name)
) STRICT;
INSERT INTO channel_now SELECT id, server, name, description, protocol, published, created_at FROM channel;
DROP TABLE channel;
ALTER TABLE channel_now RENAME TO channel;
CREATE INDEX channel_by_lower_name ON channel (lower(name), id);

-- A peering request and, once accepted, the agreement it became.
CREATE TABLE agreement_now (
    id           TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    requester    TEXT    NOT NULL REFERENCES organization (id),
    recipient    TEXT    NOT NULL REFERENCES organization (id),
    status       TEXT    NOT NULL CHECK (length(status) BETWEEN 1 AND 24),
    requested_at INTEGER NOT NULL,
    decided_at   INTEGER,
    CHECK ((status = 'requested') = (decided_at IS NULL)),
    CHECK (requester <> recipient OR status <> 'requested')              -- asking oneself is accepted at once
) STRICT;
INSERT INTO agreement_now SELECT id, requester, recipient, status, requested_at, decided_at FROM agreement;
DROP TABLE agreement;
ALTER TABLE agreement_now RENAME TO agreement;
-- Two organizations have one request or agreement at a time, whoever asked.
CREATE UNIQUE INDEX agreement_of_two ON agreement (min(requester, recipient), max(requester, recipient))
    WHERE status IN ('requested', 'live');
CREATE INDEX agreement_by_requester ON agreement (requester);
CREATE INDEX agreement_by_recipient ON agreement (recipient);
CREATE INDEX agreement_by_age ON agreement (requested_at, id);

-- Permission for one peer on one channel.
CREATE TABLE channel_grant_now (
    id            TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    agreement     TEXT    NOT NULL REFERENCES agreement (id),
    channel       TEXT    NOT NULL REFERENCES channel (id),
    holder        TEXT    NOT NULL REFERENCES organization (id),         -- the peer that may send
    origin        TEXT    NOT NULL CHECK (length(origin) BETWEEN 1 AND 24),
    source_server TEXT    REFERENCES server (id),                        -- the holder's; an offer learns it at approval
    status        TEXT    NOT NULL CHECK (length(status) BETWEEN 1 AND 24),
    created_at    INTEGER NOT NULL,
    changed_at    INTEGER NOT NULL,
    CHECK (source_server IS NOT NULL OR origin <> 'requested'),
    CHECK (source_server IS NOT NULL OR status <> 'approved')
) STRICT;
INSERT INTO channel_grant_now SELECT id, agreement, channel, holder, origin, source_server, status, created_at,
    changed_at FROM channel_grant;
DROP TABLE channel_grant;
ALTER TABLE channel_grant_now RENAME TO channel_grant;
-- One living grant for a channel, its holder and the sending server.
CREATE UNIQUE INDEX channel_grant_living ON channel_grant (channel, holder, coalesce(source_server, ''))
    WHERE status IN ('pending', 'approved');
CREATE INDEX channel_grant_by_holder ON channel_grant (holder);
CREATE INDEX channel_grant_by_channel ON channel_grant (channel);
CREATE INDEX channel_grant_by_age ON channel_grant (created_at, id);

CREATE TABLE connection_now (
    id               TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    kind             TEXT    NOT NULL CHECK (length(kind) BETWEEN 1 AND 24), -- fixed for life
    channel_grant    TEXT    UNIQUE REFERENCES channel_grant (id),       -- what a P2P connection comes from
    agreement        TEXT    REFERENCES agreement (id),                  -- what an admin offer was made over,
    recipient        TEXT    REFERENCES organization (id),               --   to whom,
    expires_at       INTEGER,                                            --   and until when it may be accepted
    source_server    TEXT    REFERENCES server (id),                     -- dials; an offer learns it at acceptance
    target_server    TEXT    NOT NULL REFERENCES server (id),
    status           TEXT    NOT NULL CHECK (length(status) BETWEEN 1 AND 24),
    held_by          TEXT    CHECK (length(held_by) BETWEEN 1 AND 24),   -- whose pause is in force
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
INSERT INTO connection_now SELECT id, kind, channel_grant, agreement, recipient, expires_at, source_server,
    target_server, status, held_by, held_for_tier, failure, cut_epoch, source_last_name, target_last_name,
    created_at, changed_at, first_connected_at FROM connection;
DROP TABLE connection;
ALTER TABLE connection_now RENAME TO connection;
CREATE INDEX connection_by_source ON connection (source_server);
CREATE INDEX connection_by_target ON connection (target_server);
CREATE INDEX connection_by_age ON connection (created_at, id);
CREATE INDEX connection_by_recipient ON connection (recipient) WHERE recipient IS NOT NULL;
-- One open offer of a kind for a server and a peer.
CREATE UNIQUE INDEX connection_offered_once ON connection (target_server, recipient, kind)
    WHERE status IN ('Provisioning', 'Offered');
CREATE INDEX connection_by_expiry ON connection (expires_at) WHERE status = 'Offered';

CREATE TABLE connection_fact_now (
    connection   TEXT    NOT NULL REFERENCES connection (id),
    side         TEXT    NOT NULL CHECK (length(side) BETWEEN 1 AND 24),
    tunnel       TEXT    NOT NULL CHECK (length(tunnel) BETWEEN 1 AND 24),  -- `down`, or the path while it is up
    tunnel_since INTEGER NOT NULL,
    mirth_up     INTEGER CHECK (mirth_up IN (0, 1)),                        -- NULL when not told
    mirth_since  INTEGER,
    last_ack_at  INTEGER,
    PRIMARY KEY (connection, side),
    CHECK ((mirth_up IS NULL) = (mirth_since IS NULL))
) STRICT;
INSERT INTO connection_fact_now
    SELECT connection, side, tunnel, tunnel_since, mirth_up, mirth_since, last_ack_at FROM connection_fact;
DROP TABLE connection_fact;
ALTER TABLE connection_fact_now RENAME TO connection_fact;

-- Whether secrets are kept is asked at the start, which of them are due every few minutes.
CREATE INDEX connection_secret_kept ON connection_secret (connection) WHERE sealed IS NOT NULL;
CREATE INDEX connection_secret_held ON connection_secret (connection)
    WHERE sealed IS NOT NULL AND source_held_at IS NOT NULL AND target_held_at IS NOT NULL;

-- Every change, refusal, reveal and enrolment: one row for each organization concerned.
CREATE TABLE audit_now (
    id           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at           INTEGER NOT NULL,
    organization TEXT    REFERENCES organization (id),                   -- whose log; NULL is the gateway operator's
    actor        TEXT    NOT NULL,                                       -- who did it, as that organization may know
    action       TEXT    NOT NULL,
    object       TEXT    NOT NULL,
    outcome      TEXT    NOT NULL CHECK (length(outcome) BETWEEN 1 AND 24),
    detail       TEXT    NOT NULL,
    times        INTEGER NOT NULL DEFAULT 1 CHECK (times >= 1),          -- repeats within the bucket's minute
    bucket       TEXT    UNIQUE,                                         -- what a stranger can cause is counted a minute
    act          TEXT    CHECK (length(act) = 36)                        -- the rows of one act have one
) STRICT;
INSERT INTO audit_now (id, at, organization, actor, action, object, outcome, detail, times, bucket)
    SELECT id, at, organization, actor, action, object, outcome, detail, times, bucket FROM audit;
DROP TABLE audit;
ALTER TABLE audit_now RENAME TO audit;
CREATE INDEX audit_by_organization ON audit (organization, id);
CREATE INDEX audit_by_act ON audit (act) WHERE act IS NOT NULL;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_never_rewritten
    BEFORE UPDATE OF id, at, organization, actor, action, object, outcome, detail, bucket, act ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

-- What changed, in the order of the commits: whom it concerns. Agents and people who look on follow it.
CREATE TABLE change (
    seq          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    organization TEXT,
    server       TEXT,                                                   -- whose agent is told something else
    connection   TEXT,
    kind         TEXT    NOT NULL CHECK (length(kind) BETWEEN 1 AND 24)
) STRICT;
-- Changes up to this one are forgotten.
CREATE TABLE feed (
    one          INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    pruned_to    INTEGER NOT NULL
) STRICT;
INSERT INTO feed VALUES (1, 0);
-- Up to which number what is told again until it is on file is there, by who tells and its run: agents their
-- notes, gateways what they count.
CREATE TABLE note_mark (
    teller       TEXT    NOT NULL CHECK (length(teller) BETWEEN 1 AND 36),
    run          TEXT    NOT NULL CHECK (length(run) = 16),
    number       INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (teller, run)
) STRICT;
PRAGMA user_version = 5;
