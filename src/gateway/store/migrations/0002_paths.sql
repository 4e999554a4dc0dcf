-- A tunnel may take the relay: the fact's word for its path is one of two.
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
PRAGMA user_version = 2;
