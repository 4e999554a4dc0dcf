-- What keeps a connection from carrying, as each side's agent sees it; NULL while nothing does, or none told.
ALTER TABLE connection_fact ADD COLUMN fault TEXT COLLATE "C" CHECK (length(fault) BETWEEN 1 AND 24);
ALTER TABLE connection_fact ADD COLUMN fault_since BIGINT;
ALTER TABLE connection_fact ADD CHECK ((fault IS NULL) = (fault_since IS NULL));
UPDATE adit_schema SET version = 7;
