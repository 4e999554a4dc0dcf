-- Which builds have written here, so that an older one can say whose database it is.
CREATE TABLE build (
    version      TEXT    NOT NULL PRIMARY KEY,                           -- of adit
    schema       INTEGER NOT NULL                                        -- the newest that it knew
) STRICT;
-- A path is a word that newer agents may add to.
ALTER TABLE connection_fact RENAME TO connection_fact_before;
CREATE TABLE connection_fact (
    connection   TEXT    NOT NULL REFERENCES connection (id),
    side         TEXT    NOT NULL CHECK (side IN ('source', 'target')),
    tunnel       TEXT    NOT NULL CHECK (length(tunnel) BETWEEN 1 AND 24),  -- `down`, or the path while it is up
    tunnel_since INTEGER NOT NULL,
    mirth_up     INTEGER CHECK (mirth_up IN (0, 1)),                        -- NULL when not told
    mirth_since  INTEGER,
    last_ack_at  INTEGER,
    PRIMARY KEY (connection, side),
    CHECK ((mirth_up IS NULL) = (mirth_since IS NULL))
) STRICT;
INSERT INTO connection_fact
    SELECT connection, side, tunnel, tunnel_since, mirth_up, mirth_since, last_ack_at FROM connection_fact_before;
DROP TABLE connection_fact_before;
PRAGMA user_version = 4;
