-- Admin sessions, a row each: what each side's agent tells of it, kept apart. Numbers are an agent's own within one of its
-- runs; what one side counts is never written over the other's.
CREATE TABLE admin_session (
    id              TEXT COLLATE "C"    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    connection      TEXT COLLATE "C"    NOT NULL REFERENCES connection (id),
    source_owner    TEXT COLLATE "C"    NOT NULL,                                    -- the connection's, for life
    target_owner    TEXT COLLATE "C"    NOT NULL,
    local_peer      TEXT COLLATE "C"    NOT NULL CHECK (length(local_peer) BETWEEN 2 AND 45),
    begun_at        BIGINT NOT NULL,                                    -- when it was told of first
    heard_at        BIGINT NOT NULL,                                    -- and last
    runs            BOOLEAN NOT NULL,       -- not ended, and heard of lately
    source_run      TEXT COLLATE "C",                                              -- '' of an agent that tells no run
    source_number   BIGINT,
    source_heard_at BIGINT,
    source_ended_at BIGINT,
    source_requests BIGINT,
    target_run      TEXT COLLATE "C",
    target_number   BIGINT,
    target_heard_at BIGINT,
    target_ended_at BIGINT,
    target_requests BIGINT,
    target_refused  BIGINT,
    target_changes  BIGINT,
    target_audits   BIGINT,
    CHECK (source_heard_at IS NOT NULL OR target_heard_at IS NOT NULL),
    CHECK ((source_heard_at IS NULL) = (source_run IS NULL)),
    CHECK ((source_heard_at IS NULL) = (source_number IS NULL)),
    CHECK ((source_heard_at IS NULL) = (source_requests IS NULL)),
    CHECK (source_heard_at IS NOT NULL OR source_ended_at IS NULL),
    CHECK ((target_heard_at IS NULL) = (target_run IS NULL)),
    CHECK ((target_heard_at IS NULL) = (target_number IS NULL)),
    CHECK ((target_heard_at IS NULL) = (target_requests IS NULL)),
    CHECK ((target_heard_at IS NULL) = (target_refused IS NULL)),
    CHECK ((target_heard_at IS NULL) = (target_changes IS NULL)),
    CHECK ((target_heard_at IS NULL) = (target_audits IS NULL)),
    CHECK (target_heard_at IS NOT NULL OR target_ended_at IS NULL)
);
-- Lists are read in this order: of either party, of a connection, of all.
CREATE INDEX admin_session_by_source_owner ON admin_session (source_owner, runs, begun_at, id);
CREATE INDEX admin_session_by_target_owner ON admin_session (target_owner, runs, begun_at, id);
CREATE INDEX admin_session_by_connection ON admin_session (connection, runs, begun_at, id);
CREATE INDEX admin_session_in_order ON admin_session (runs, begun_at, id);
CREATE INDEX admin_session_by_source ON admin_session (connection, source_run, source_number);
CREATE INDEX admin_session_by_target ON admin_session (connection, target_run, target_number);
CREATE INDEX admin_session_by_age ON admin_session (runs, heard_at);
UPDATE adit_schema SET version = 8;
