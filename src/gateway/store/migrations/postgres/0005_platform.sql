-- The platform as SQLite's schema of the same number has it. Times are milliseconds since 1970-01-01 UTC;
-- identities are lower-case UUIDs as text. Text is compared and sorted by its bytes, as in SQLite.
CREATE TABLE adit_schema (
    version      BIGINT NOT NULL                                             -- of this schema
);
INSERT INTO adit_schema VALUES (5);

-- Which builds have written here, so that an older one can say whose database it is.
CREATE TABLE build (
    version      TEXT COLLATE "C" NOT NULL PRIMARY KEY,                      -- of adit
    schema       BIGINT NOT NULL                                             -- the newest that it knew
);

CREATE TABLE organization (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    name        TEXT COLLATE "C" NOT NULL CHECK (length(name) BETWEEN 1 AND 80), -- public
    tier        TEXT COLLATE "C" NOT NULL CHECK (length(tier) BETWEEN 1 AND 24),
    created_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX organization_by_name ON organization (lower(name));

CREATE TABLE server (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    organization TEXT COLLATE "C" NOT NULL REFERENCES organization (id),
    name         TEXT COLLATE "C" NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    description  TEXT COLLATE "C" NOT NULL CHECK (length(description) <= 500),
    version      TEXT COLLATE "C" NOT NULL CHECK (length(version) <= 80),    -- of the Mirth, as its owner wrote it
    route        TEXT COLLATE "C" NOT NULL UNIQUE CHECK (length(route) = 16), -- first bytes of its connection ids, for life
    key          TEXT COLLATE "C" UNIQUE CHECK (length(key) = 71),           -- on file; NULL before enrolment and after revocation
    enrolled_at  BIGINT,                                                     -- last time a key was put on file
    created_at   BIGINT NOT NULL,
    CHECK (key IS NULL OR enrolled_at IS NOT NULL)
);
CREATE UNIQUE INDEX server_by_name ON server (organization, lower(name));

-- Who serves a server's control link.
CREATE TABLE server_link (
    server      TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES server (id),
    gateway     TEXT COLLATE "C" NOT NULL CHECK (length(gateway) = 16),
    is_up       BOOLEAN NOT NULL,                                            -- true only while its gateway's lease lasts
    since       BIGINT NOT NULL
);

-- Gateways that live, until when.
CREATE TABLE gateway_lease (
    gateway     TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(gateway) = 16),
    until       BIGINT NOT NULL
);

-- Keys whose leaves are good no more; never removed.
CREATE TABLE revoked_key (
    key         TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(key) = 71),
    server      TEXT COLLATE "C" NOT NULL REFERENCES server (id),
    revoked_at  BIGINT NOT NULL
);

-- One row a server: a new token voids the old one.
CREATE TABLE registration_token (
    server      TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES server (id),
    hash        BYTEA    NOT NULL UNIQUE CHECK (length(hash) = 32),          -- SHA-256; the token itself is nowhere
    issued_at   BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    bound_key   TEXT COLLATE "C" CHECK (length(bound_key) = 71),             -- first key that presented it
    bound_at    BIGINT,
    CHECK (expires_at > issued_at),
    CHECK ((bound_key IS NULL) = (bound_at IS NULL))
);

CREATE TABLE channel (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    server      TEXT COLLATE "C" NOT NULL REFERENCES server (id),
    name        TEXT COLLATE "C" NOT NULL CHECK (length(name) BETWEEN 1 AND 80), -- public, never Mirth's own
    description TEXT COLLATE "C" NOT NULL CHECK (length(description) <= 500),
    protocol    TEXT COLLATE "C" NOT NULL CHECK (length(protocol) BETWEEN 1 AND 24),
    published   BOOLEAN NOT NULL,                                            -- whether peers without a connection see it
    created_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX channel_by_name ON channel (server, lower(name));

-- A peering request and, once accepted, the agreement it became.
CREATE TABLE agreement (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    requester    TEXT COLLATE "C" NOT NULL REFERENCES organization (id),
    recipient    TEXT COLLATE "C" NOT NULL REFERENCES organization (id),
    status       TEXT COLLATE "C" NOT NULL CHECK (length(status) BETWEEN 1 AND 24),
    requested_at BIGINT NOT NULL,
    decided_at   BIGINT,
    CHECK ((status = 'requested') = (decided_at IS NULL)),
    CHECK (requester <> recipient OR status <> 'requested')                  -- asking oneself is accepted at once
);

-- Permission for one peer on one channel.
CREATE TABLE channel_grant (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    agreement     TEXT COLLATE "C" NOT NULL REFERENCES agreement (id),
    channel       TEXT COLLATE "C" NOT NULL REFERENCES channel (id),
    holder        TEXT COLLATE "C" NOT NULL REFERENCES organization (id),    -- the peer that may send
    origin        TEXT COLLATE "C" NOT NULL CHECK (length(origin) BETWEEN 1 AND 24),
    source_server TEXT COLLATE "C" REFERENCES server (id),                   -- the holder's; an offer learns it at approval
    status        TEXT COLLATE "C" NOT NULL CHECK (length(status) BETWEEN 1 AND 24),
    created_at    BIGINT NOT NULL,
    changed_at    BIGINT NOT NULL,
    CHECK (source_server IS NOT NULL OR origin <> 'requested'),
    CHECK (source_server IS NOT NULL OR status <> 'approved')
);

CREATE TABLE connection (
    id               TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    kind             TEXT COLLATE "C" NOT NULL CHECK (length(kind) BETWEEN 1 AND 24), -- fixed for life
    channel_grant    TEXT COLLATE "C" UNIQUE REFERENCES channel_grant (id),  -- what a P2P connection comes from
    agreement        TEXT COLLATE "C" REFERENCES agreement (id),             -- what an admin offer was made over,
    recipient        TEXT COLLATE "C" REFERENCES organization (id),          --   to whom,
    expires_at       BIGINT,                                                 --   and until when it may be accepted
    source_server    TEXT COLLATE "C" REFERENCES server (id),                -- dials; an offer learns it at acceptance
    target_server    TEXT COLLATE "C" NOT NULL REFERENCES server (id),
    status           TEXT COLLATE "C" NOT NULL CHECK (length(status) BETWEEN 1 AND 24),
    held_by          TEXT COLLATE "C" CHECK (length(held_by) BETWEEN 1 AND 24), -- whose pause is in force
    held_for_tier    BOOLEAN NOT NULL DEFAULT FALSE,                         -- the target's was made by a downgrade
    failure          TEXT COLLATE "C",                                       -- why it is Failed
    cut_epoch        BIGINT NOT NULL DEFAULT 0 CHECK (cut_epoch >= 0),       -- rises with every disconnect now
    source_last_name TEXT COLLATE "C",                                       -- the names shown after it ended
    target_last_name TEXT COLLATE "C",
    created_at       BIGINT NOT NULL,
    changed_at       BIGINT NOT NULL,                                        -- of the status
    first_connected_at BIGINT,                                               -- tunnel first up on both sides
    CHECK ((kind = 'P2P') = (channel_grant IS NOT NULL)),
    CHECK ((kind = 'P2P') = (agreement IS NULL)),
    CHECK ((kind = 'P2P') = (recipient IS NULL)),
    CHECK ((kind = 'P2P') = (expires_at IS NULL)),
    CHECK (kind <> 'P2P' OR status NOT IN ('Offered', 'Declined', 'Expired')),
    CHECK (source_server IS NOT NULL
           OR (kind <> 'P2P' AND status NOT IN ('Ready', 'Active', 'Paused'))),
    CHECK (source_server <> target_server),
    CHECK ((status = 'Paused') = (held_by IS NOT NULL)),
    CHECK (NOT held_for_tier OR (kind = 'Admin RW' AND coalesce(held_by, '') IN ('target', 'both'))),
    CHECK ((status = 'Failed') = (failure IS NOT NULL)),
    CHECK ((status IN ('Declined', 'Expired', 'Terminated')) = (target_last_name IS NOT NULL)),
    CHECK ((status IN ('Declined', 'Expired', 'Terminated') AND source_server IS NOT NULL)
           = (source_last_name IS NOT NULL))
);

-- The shared secret, sealed with a key that is not in this database, until it is no longer needed here.
CREATE TABLE connection_secret (
    connection       TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES connection (id),
    epoch            BIGINT NOT NULL CHECK (epoch >= 1),                     -- rises with every rotation
    sealed           BYTEA    CHECK (length(sealed) = 60),                   -- nonce, ciphertext, tag; NULL once deleted
    made_at          BIGINT NOT NULL,
    source_viewed_at BIGINT,                                                 -- P2P: one view for each owner
    target_viewed_at BIGINT,
    source_held_at   BIGINT,                                                 -- that side's agent has it on disk
    target_held_at   BIGINT
);

-- When an admin connection's secret was shown to the server's owner; only the last hour's count.
CREATE TABLE secret_view (
    connection   TEXT COLLATE "C" NOT NULL REFERENCES connection (id),
    at           BIGINT NOT NULL
);

-- What each side's agent last told of a connection.
CREATE TABLE connection_fact (
    connection   TEXT COLLATE "C" NOT NULL REFERENCES connection (id),
    side         TEXT COLLATE "C" NOT NULL CHECK (length(side) BETWEEN 1 AND 24),
    tunnel       TEXT COLLATE "C" NOT NULL CHECK (length(tunnel) BETWEEN 1 AND 24), -- `down`, or the path while it is up
    tunnel_since BIGINT NOT NULL,
    mirth_up     BOOLEAN,                                                    -- NULL when not told
    mirth_since  BIGINT,
    last_ack_at  BIGINT,
    PRIMARY KEY (connection, side),
    CHECK ((mirth_up IS NULL) = (mirth_since IS NULL))
);

-- Every change, refusal, reveal and enrolment: one row for each organization concerned.
CREATE TABLE audit (
    id           BIGINT NOT NULL GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    at           BIGINT NOT NULL,
    organization TEXT COLLATE "C" REFERENCES organization (id),              -- whose log; NULL is the gateway operator's
    actor        TEXT COLLATE "C" NOT NULL,                                  -- who did it, as that organization may know
    action       TEXT COLLATE "C" NOT NULL,
    object       TEXT COLLATE "C" NOT NULL,
    outcome      TEXT COLLATE "C" NOT NULL CHECK (length(outcome) BETWEEN 1 AND 24),
    detail       TEXT COLLATE "C" NOT NULL,
    times        BIGINT NOT NULL DEFAULT 1 CHECK (times >= 1),               -- repeats within the bucket's minute
    bucket       TEXT COLLATE "C" UNIQUE,                                    -- what a stranger can cause is counted a minute
    act          TEXT COLLATE "C" CHECK (length(act) = 36)                   -- the rows of one act have one
);

-- What changed, in the order of the commits: whom it concerns. Agents and people who look on follow it.
CREATE TABLE change (
    seq          BIGINT NOT NULL GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    organization TEXT COLLATE "C",
    server       TEXT COLLATE "C",                                           -- whose agent is told something else
    connection   TEXT COLLATE "C",
    kind         TEXT COLLATE "C" NOT NULL CHECK (length(kind) BETWEEN 1 AND 24)
);

-- Changes up to this one are forgotten.
CREATE TABLE feed (
    one          BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    pruned_to    BIGINT NOT NULL
);

-- Up to which number what is told again until it is on file is there, by who tells and its run: agents their
-- notes, gateways what they count.
CREATE TABLE note_mark (
    teller       TEXT COLLATE "C" NOT NULL CHECK (length(teller) BETWEEN 1 AND 36),
    run          TEXT COLLATE "C" NOT NULL CHECK (length(run) = 16),
    number       BIGINT NOT NULL,
    at           BIGINT NOT NULL,
    PRIMARY KEY (teller, run)
);

CREATE INDEX server_by_lower_name ON server (lower(name), id);
CREATE INDEX channel_by_lower_name ON channel (lower(name), id);
CREATE INDEX server_link_by_gateway ON server_link (gateway);
-- Two organizations have one request or agreement at a time, whoever asked.
CREATE UNIQUE INDEX agreement_of_two ON agreement (least(requester, recipient), greatest(requester, recipient))
    WHERE status IN ('requested', 'live');
CREATE INDEX agreement_by_requester ON agreement (requester);
CREATE INDEX agreement_by_recipient ON agreement (recipient);
CREATE INDEX agreement_by_age ON agreement (requested_at, id);
-- One living grant for a channel, its holder and the sending server.
CREATE UNIQUE INDEX channel_grant_living ON channel_grant (channel, holder, coalesce(source_server, ''))
    WHERE status IN ('pending', 'approved');
CREATE INDEX channel_grant_by_holder ON channel_grant (holder);
CREATE INDEX channel_grant_by_channel ON channel_grant (channel);
CREATE INDEX channel_grant_by_age ON channel_grant (created_at, id);
CREATE INDEX connection_by_source ON connection (source_server);
CREATE INDEX connection_by_target ON connection (target_server);
CREATE INDEX connection_by_age ON connection (created_at, id);
CREATE INDEX connection_by_recipient ON connection (recipient) WHERE recipient IS NOT NULL;
-- One open offer of a kind for a server and a peer.
CREATE UNIQUE INDEX connection_offered_once ON connection (target_server, recipient, kind)
    WHERE status IN ('Provisioning', 'Offered');
CREATE INDEX connection_by_expiry ON connection (expires_at) WHERE status = 'Offered';
-- Whether secrets are kept is asked at the start, which of them are due every few minutes.
CREATE INDEX connection_secret_kept ON connection_secret (connection) WHERE sealed IS NOT NULL;
CREATE INDEX connection_secret_held ON connection_secret (connection)
    WHERE sealed IS NOT NULL AND source_held_at IS NOT NULL AND target_held_at IS NOT NULL;
CREATE INDEX audit_by_organization ON audit (organization, id);
CREATE INDEX audit_by_act ON audit (act) WHERE act IS NOT NULL;
CREATE INDEX revoked_key_by_server ON revoked_key (server);
CREATE INDEX secret_view_by_connection ON secret_view (connection, at);

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_is_never_rewritten
    BEFORE UPDATE OF id, at, organization, actor, action, object, outcome, detail, bucket, act ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
INSERT INTO feed VALUES (1, 0);
