-- Admin sessions, a row each, as the managed server's agent tells of them.
CREATE TABLE admin_session (
    id           TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    connection   TEXT    NOT NULL REFERENCES connection (id),
    source_owner TEXT    NOT NULL,                         -- the connection's, for life
    target_owner TEXT    NOT NULL,
    run          TEXT    NOT NULL,                         -- of the managed side's agent; '' if not told
    number       INTEGER NOT NULL,                         -- within that run
    round        INTEGER NOT NULL,                         -- how often it began before, where no run is told
    local_peer   TEXT    NOT NULL CHECK (length(local_peer) BETWEEN 2 AND 45),
    begun_at     INTEGER NOT NULL,                         -- when it was told of first
    heard_at     INTEGER NOT NULL,                         -- and last
    ended_at     INTEGER,
    requests     INTEGER NOT NULL,
    refused      INTEGER NOT NULL,
    changes      INTEGER NOT NULL,
    audits       INTEGER NOT NULL,
    judged       INTEGER NOT NULL CHECK (judged IN (0, 1)),
    CHECK (judged = (refused > 0 OR changes > 0))
) STRICT;
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
PRAGMA user_version = 8;
