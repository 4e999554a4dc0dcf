-- Admin sessions, a row each: what each side's agent tells of it, kept apart. Numbers are an agent's own within one of its
-- runs; what one side counts is never written over the other's.
CREATE TABLE admin_session (
    id              TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    connection      TEXT    NOT NULL REFERENCES connection (id),
    source_owner    TEXT    NOT NULL,                                    -- the connection's, for life
    target_owner    TEXT    NOT NULL,
    local_peer      TEXT    NOT NULL CHECK (length(local_peer) BETWEEN 2 AND 45),
    begun_at        INTEGER NOT NULL,                                    -- when it was told of first
    heard_at        INTEGER NOT NULL,                                    -- and last
    runs            INTEGER NOT NULL CHECK (runs IN (0, 1)),       -- not ended, and heard of lately
    source_run      TEXT,                                              -- '' of an agent that tells no run
    source_number   INTEGER,
    source_heard_at INTEGER,
    source_ended_at INTEGER,
    source_requests INTEGER,
    target_run      TEXT,
    target_number   INTEGER,
    target_heard_at INTEGER,
    target_ended_at INTEGER,
    target_requests INTEGER,
    target_refused  INTEGER,
    target_changes  INTEGER,
    target_audits   INTEGER,
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
) STRICT;
-- Lists are read in this order: of either party, of a connection, of all.
CREATE INDEX admin_session_by_source_owner ON admin_session (source_owner, runs, begun_at, id);
CREATE INDEX admin_session_by_target_owner ON admin_session (target_owner, runs, begun_at, id);
CREATE INDEX admin_session_by_connection ON admin_session (connection, runs, begun_at, id);
CREATE INDEX admin_session_in_order ON admin_session (runs, begun_at, id);
CREATE INDEX admin_session_by_source ON admin_session (connection, source_run, source_number);
CREATE INDEX admin_session_by_target ON admin_session (connection, target_run, target_number);
CREATE INDEX admin_session_by_age ON admin_session (runs, heard_at);
PRAGMA user_version = 8;
