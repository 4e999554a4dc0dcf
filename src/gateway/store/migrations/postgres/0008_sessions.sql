-- Admin sessions, a row each, as the managed server's agent tells of them.
CREATE TABLE admin_session (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    connection   TEXT COLLATE "C" NOT NULL REFERENCES connection (id),
    source_owner TEXT COLLATE "C" NOT NULL,                         -- the connection's, for life
    target_owner TEXT COLLATE "C" NOT NULL,
    run          TEXT COLLATE "C" NOT NULL,                         -- of the managed side's agent; '' if not told
    number       BIGINT NOT NULL,                         -- within that run
    round        BIGINT NOT NULL,                         -- how often it began before, where no run is told
    local_peer   TEXT COLLATE "C" NOT NULL CHECK (length(local_peer) BETWEEN 2 AND 45),
    begun_at     BIGINT NOT NULL,                         -- when it was told of first
    heard_at     BIGINT NOT NULL,                         -- and last
    ended_at     BIGINT,
    requests     BIGINT NOT NULL,
    refused      BIGINT NOT NULL,
    changes      BIGINT NOT NULL,
    audits       BIGINT NOT NULL,
    judged       BOOLEAN NOT NULL,
    CHECK (judged = (refused > 0 OR changes > 0))
);
-- No index has what changes while a session goes on, save once whether anything was refused or changed.
CREATE UNIQUE INDEX admin_session_by_number ON admin_session (connection, run, number, round);
-- Lists are read in this order: of either party, of a connection, of all.
CREATE INDEX admin_session_by_source_owner ON admin_session (source_owner, begun_at, id);
CREATE INDEX admin_session_by_target_owner ON admin_session (target_owner, begun_at, id);
CREATE INDEX admin_session_by_connection ON admin_session (connection, begun_at, id);
CREATE INDEX admin_session_by_age ON admin_session (begun_at, id);
-- The oldest of a connection's that have anything refused or changed, and of those that have not, go first.
CREATE INDEX admin_session_by_kind ON admin_session (connection, judged, begun_at, id);
-- The build of the agent, as it told when its link came up last.
ALTER TABLE server_link ADD COLUMN software TEXT CHECK (length(software) <= 64);
UPDATE adit_schema SET version = 8;
