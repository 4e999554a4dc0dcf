-- What keeps a connection from carrying, as each side's agent sees it; NULL while nothing does, or none told.
ALTER TABLE connection_fact ADD COLUMN fault TEXT CHECK (length(fault) BETWEEN 1 AND 24);
ALTER TABLE connection_fact ADD COLUMN fault_since INTEGER CHECK ((fault IS NULL) = (fault_since IS NULL));
PRAGMA user_version = 7;
