PRAGMA foreign_keys = OFF;
BEGIN TRANSACTION;
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
INSERT INTO "agreement" VALUES('8f9105cb-efcc-412d-8f5d-f9d2c322780a','51023715-d48c-4ae1-95de-62cc44c61041','510b4e6a-5191-4eff-918a-399d1c46042e','live',1795960934915,1795960934930);
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
INSERT INTO "audit" VALUES(1,1795960934877,'51023715-d48c-4ae1-95de-62cc44c61041','the gateway''s operator','add organization','organization 51023715-d48c-4ae1-95de-62cc44c61041','done','name Lakeside Clinic, tier Enterprise',1,NULL);
INSERT INTO "audit" VALUES(2,1795960934877,NULL,'set-up','add organization','organization 51023715-d48c-4ae1-95de-62cc44c61041','done','name Lakeside Clinic, tier Enterprise',1,NULL);
INSERT INTO "audit" VALUES(3,1795960934878,'51023715-d48c-4ae1-95de-62cc44c61041','set-up','add server','server 3298282c-6873-4421-8671-19c41d6bf2f1','done','name Lakeside Mirth',1,NULL);
INSERT INTO "audit" VALUES(4,1795960934885,'51023715-d48c-4ae1-95de-62cc44c61041','set-up','issue token','server 3298282c-6873-4421-8671-19c41d6bf2f1','done','good until 2026-12-06T14:02:14Z',1,NULL);
INSERT INTO "audit" VALUES(5,1795960934895,'510b4e6a-5191-4eff-918a-399d1c46042e','the gateway''s operator','add organization','organization 510b4e6a-5191-4eff-918a-399d1c46042e','done','name St Mary Hospital, tier Enterprise',1,NULL);
INSERT INTO "audit" VALUES(6,1795960934895,NULL,'set-up','add organization','organization 510b4e6a-5191-4eff-918a-399d1c46042e','done','name St Mary Hospital, tier Enterprise',1,NULL);
INSERT INTO "audit" VALUES(7,1795960934899,'510b4e6a-5191-4eff-918a-399d1c46042e','set-up','add server','server 496b9c52-8d32-402e-8111-5c5eaf77ecbe','done','name St Mary Mirth',1,NULL);
INSERT INTO "audit" VALUES(8,1795960934902,'510b4e6a-5191-4eff-918a-399d1c46042e','set-up','issue token','server 496b9c52-8d32-402e-8111-5c5eaf77ecbe','done','good until 2026-12-06T14:02:14Z',1,NULL);
INSERT INTO "audit" VALUES(9,1795960934915,'51023715-d48c-4ae1-95de-62cc44c61041','set-up','request peering','peering 8f9105cb-efcc-412d-8f5d-f9d2c322780a','done','from Lakeside Clinic to St Mary Hospital',1,NULL);
INSERT INTO "audit" VALUES(10,1795960934915,'510b4e6a-5191-4eff-918a-399d1c46042e','Lakeside Clinic','request peering','peering 8f9105cb-efcc-412d-8f5d-f9d2c322780a','done','from Lakeside Clinic to St Mary Hospital',1,NULL);
INSERT INTO "audit" VALUES(11,1795960934930,'51023715-d48c-4ae1-95de-62cc44c61041','St Mary Hospital','accept peering','peering 8f9105cb-efcc-412d-8f5d-f9d2c322780a','done','from Lakeside Clinic to St Mary Hospital',1,NULL);
INSERT INTO "audit" VALUES(12,1795960934930,'510b4e6a-5191-4eff-918a-399d1c46042e','set-up','accept peering','peering 8f9105cb-efcc-412d-8f5d-f9d2c322780a','done','from Lakeside Clinic to St Mary Hospital',1,NULL);
INSERT INTO "audit" VALUES(13,1795960934943,'510b4e6a-5191-4eff-918a-399d1c46042e','set-up','add channel','channel f5a0c201-f998-42bc-8b0d-2b38e2bb876b','done','name mllp 1, mllp',1,NULL);
INSERT INTO "audit" VALUES(14,1795960934951,'51023715-d48c-4ae1-95de-62cc44c61041','set-up','request grant','grant 766981f2-f8cf-44e5-ad24-77d885537b30','done','channel mllp 1',1,NULL);
INSERT INTO "audit" VALUES(15,1795960934951,'510b4e6a-5191-4eff-918a-399d1c46042e','Lakeside Clinic','request grant','grant 766981f2-f8cf-44e5-ad24-77d885537b30','done','channel mllp 1',1,NULL);
INSERT INTO "audit" VALUES(16,1795960934954,'51023715-d48c-4ae1-95de-62cc44c61041','St Mary Hospital','approve grant','grant 766981f2-f8cf-44e5-ad24-77d885537b30','done','channel mllp 1, connection 1a71a37a-6215-45c4-b8cd-997bd248397c',1,NULL);
INSERT INTO "audit" VALUES(17,1795960934954,'510b4e6a-5191-4eff-918a-399d1c46042e','set-up','approve grant','grant 766981f2-f8cf-44e5-ad24-77d885537b30','done','channel mllp 1, connection 1a71a37a-6215-45c4-b8cd-997bd248397c',1,NULL);
INSERT INTO "audit" VALUES(18,1795960934956,'51023715-d48c-4ae1-95de-62cc44c61041','set-up','activate connection','connection 1a71a37a-6215-45c4-b8cd-997bd248397c','done','from Ready to Active',1,NULL);
INSERT INTO "audit" VALUES(19,1795960934956,'510b4e6a-5191-4eff-918a-399d1c46042e','Lakeside Clinic','activate connection','connection 1a71a37a-6215-45c4-b8cd-997bd248397c','done','from Ready to Active',1,NULL);
INSERT INTO "audit" VALUES(20,1795960934957,'510b4e6a-5191-4eff-918a-399d1c46042e','set-up','add channel','channel d4ffae06-1963-4553-80fe-7d4489ff3602','done','name dicom 2, dicom',1,NULL);
INSERT INTO "audit" VALUES(21,1795960934957,'51023715-d48c-4ae1-95de-62cc44c61041','set-up','request grant','grant bf6d1b51-7ead-4234-94a0-973113e40724','done','channel dicom 2',1,NULL);
INSERT INTO "audit" VALUES(22,1795960934957,'510b4e6a-5191-4eff-918a-399d1c46042e','Lakeside Clinic','request grant','grant bf6d1b51-7ead-4234-94a0-973113e40724','done','channel dicom 2',1,NULL);
INSERT INTO "audit" VALUES(23,1795960934958,'51023715-d48c-4ae1-95de-62cc44c61041','St Mary Hospital','approve grant','grant bf6d1b51-7ead-4234-94a0-973113e40724','done','channel dicom 2, connection d405ec34-4623-4ced-be66-36e275577c8f',1,NULL);
INSERT INTO "audit" VALUES(24,1795960934958,'510b4e6a-5191-4eff-918a-399d1c46042e','set-up','approve grant','grant bf6d1b51-7ead-4234-94a0-973113e40724','done','channel dicom 2, connection d405ec34-4623-4ced-be66-36e275577c8f',1,NULL);
INSERT INTO "audit" VALUES(25,1795960934959,'51023715-d48c-4ae1-95de-62cc44c61041','set-up','activate connection','connection d405ec34-4623-4ced-be66-36e275577c8f','done','from Ready to Active',1,NULL);
INSERT INTO "audit" VALUES(26,1795960934959,'510b4e6a-5191-4eff-918a-399d1c46042e','Lakeside Clinic','activate connection','connection d405ec34-4623-4ced-be66-36e275577c8f','done','from Ready to Active',1,NULL);
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
INSERT INTO "channel" VALUES('f5a0c201-f998-42bc-8b0d-2b38e2bb876b','496b9c52-8d32-402e-8111-5c5eaf77ecbe','mllp 1','','mllp',1,1795960934943);
INSERT INTO "channel" VALUES('d4ffae06-1963-4553-80fe-7d4489ff3602','496b9c52-8d32-402e-8111-5c5eaf77ecbe','dicom 2','','dicom',1,1795960934957);
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
INSERT INTO "channel_grant" VALUES('766981f2-f8cf-44e5-ad24-77d885537b30','8f9105cb-efcc-412d-8f5d-f9d2c322780a','f5a0c201-f998-42bc-8b0d-2b38e2bb876b','51023715-d48c-4ae1-95de-62cc44c61041','requested','3298282c-6873-4421-8671-19c41d6bf2f1','approved',1795960934951,1795960934954);
INSERT INTO "channel_grant" VALUES('bf6d1b51-7ead-4234-94a0-973113e40724','8f9105cb-efcc-412d-8f5d-f9d2c322780a','d4ffae06-1963-4553-80fe-7d4489ff3602','51023715-d48c-4ae1-95de-62cc44c61041','requested','3298282c-6873-4421-8671-19c41d6bf2f1','approved',1795960934957,1795960934958);
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
INSERT INTO "connection" VALUES('1a71a37a-6215-45c4-b8cd-997bd248397c','P2P','766981f2-f8cf-44e5-ad24-77d885537b30',NULL,NULL,NULL,'3298282c-6873-4421-8671-19c41d6bf2f1','496b9c52-8d32-402e-8111-5c5eaf77ecbe','Active',NULL,0,NULL,0,NULL,NULL,1795960934954,1795960934956,NULL);
INSERT INTO "connection" VALUES('d405ec34-4623-4ced-be66-36e275577c8f','P2P','bf6d1b51-7ead-4234-94a0-973113e40724',NULL,NULL,NULL,'3298282c-6873-4421-8671-19c41d6bf2f1','496b9c52-8d32-402e-8111-5c5eaf77ecbe','Active',NULL,0,NULL,0,NULL,NULL,1795960934958,1795960934959,NULL);
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
INSERT INTO "connection_secret" VALUES('1a71a37a-6215-45c4-b8cd-997bd248397c',1,X'2C62158BF6CAF7A0218D94E7C171DCDDB615F90732520D0038C27A28DA0A81C64AEF2B72001F1A3F58A34AC659CBC1AC6A82458A642B46BDA4CE6716',1795960934954,NULL,NULL,NULL,NULL);
INSERT INTO "connection_secret" VALUES('d405ec34-4623-4ced-be66-36e275577c8f',1,X'139BE36B49A99B024F20B022A0F1375168BDFD569AAF864AD9C916B3D860B2D6ABD15BB755E0B41344CCAC6FD64ABC1E92482C365B0A28AC2098802F',1795960934958,NULL,NULL,NULL,NULL);
CREATE TABLE organization (
    id          TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    name        TEXT    NOT NULL COLLATE NOCASE UNIQUE CHECK (length(name) BETWEEN 1 AND 80), -- public
    tier        TEXT    NOT NULL CHECK (tier IN ('Free', 'Standard', 'Enterprise')),
    created_at  INTEGER NOT NULL
) STRICT;
INSERT INTO "organization" VALUES('51023715-d48c-4ae1-95de-62cc44c61041','Lakeside Clinic','Enterprise',1795960934877);
INSERT INTO "organization" VALUES('510b4e6a-5191-4eff-918a-399d1c46042e','St Mary Hospital','Enterprise',1795960934895);
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
INSERT INTO "registration_token" VALUES('3298282c-6873-4421-8671-19c41d6bf2f1',X'4D7CD8ED2B3389CD3C986D7EF1822D05F30D5DE3EF29E7CBDE380D9A1BD5473E',1795960934885,1796565734885,NULL,NULL);
INSERT INTO "registration_token" VALUES('496b9c52-8d32-402e-8111-5c5eaf77ecbe',X'73D2C943B9A0F86A34BE639A48168AA83E455FC093239C701D635F17FBFB4187',1795960934902,1796565734902,NULL,NULL);
CREATE TABLE revoked_key (
    key         TEXT    NOT NULL PRIMARY KEY CHECK (length(key) = 71),
    server      TEXT    NOT NULL REFERENCES server (id),
    revoked_at  INTEGER NOT NULL
) STRICT;
CREATE TABLE secret_view (
    connection   TEXT    NOT NULL REFERENCES connection (id),
    at           INTEGER NOT NULL
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
INSERT INTO "server" VALUES('3298282c-6873-4421-8671-19c41d6bf2f1','51023715-d48c-4ae1-95de-62cc44c61041','Lakeside Mirth','','','b7e8305f98786c1c',NULL,NULL,NULL,NULL,1795960934878);
INSERT INTO "server" VALUES('496b9c52-8d32-402e-8111-5c5eaf77ecbe','510b4e6a-5191-4eff-918a-399d1c46042e','St Mary Mirth','','','c7f91ce999e5590f',NULL,NULL,NULL,NULL,1795960934899);
CREATE INDEX revoked_key_by_server ON revoked_key (server);
CREATE UNIQUE INDEX agreement_of_two ON agreement (min(requester, recipient), max(requester, recipient))
    WHERE status IN ('requested', 'live');
CREATE INDEX agreement_by_recipient ON agreement (recipient);
CREATE UNIQUE INDEX channel_grant_living ON channel_grant (channel, holder, coalesce(source_server, ''))
    WHERE status IN ('pending', 'approved');
CREATE INDEX channel_grant_by_holder ON channel_grant (holder);
CREATE INDEX audit_by_organization ON audit (organization, id);
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_never_rewritten BEFORE UPDATE OF id, at, organization, actor, action, object, outcome, detail, bucket ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE INDEX connection_by_source ON connection (source_server);
CREATE INDEX connection_by_target ON connection (target_server);
CREATE UNIQUE INDEX connection_offered_once ON connection (target_server, recipient, kind)
    WHERE status IN ('Provisioning', 'Offered');
CREATE INDEX connection_by_expiry ON connection (expires_at) WHERE status = 'Offered';
CREATE INDEX secret_view_by_connection ON secret_view (connection, at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('audit',26);
COMMIT;
PRAGMA user_version = 3;
PRAGMA application_id = 1633970548;
