-- What keeps a connection from carrying, as each side's agent sees it; NULL while nothing does, or none told.
ALTER TABLE connection_fact ADD COLUMN fault TEXT CHECK (length(fault) BETWEEN 1 AND 24);
ALTER TABLE connection_fact ADD COLUMN fault_since INTEGER CHECK ((fault IS NULL) = (fault_since IS NULL));
-- What lists and the overview read: until when an agent may come, and whose each end is.
ALTER TABLE server ADD COLUMN leaf_until INTEGER;                        -- when its agent's newest leaf ends; NULL: not known
-- Whose a connection is at either end, for life: lists of one organization are read by it, in order. Filled by the
-- database, so that no writer forgets it.
ALTER TABLE connection ADD COLUMN source_owner TEXT;
ALTER TABLE connection ADD COLUMN target_owner TEXT;
UPDATE connection SET
    source_owner = coalesce((SELECT s.organization FROM server s WHERE s.id = connection.source_server), recipient),
    target_owner = (SELECT s.organization FROM server s WHERE s.id = connection.target_server);
CREATE TRIGGER connection_has_owners AFTER INSERT ON connection WHEN NEW.target_owner IS NULL BEGIN
    UPDATE connection SET
        source_owner = coalesce((SELECT s.organization FROM server s WHERE s.id = NEW.source_server), NEW.recipient),
        target_owner = (SELECT s.organization FROM server s WHERE s.id = NEW.target_server)
        WHERE id = NEW.id;
END;
CREATE INDEX connection_by_source_owner ON connection (source_owner, created_at, id);
CREATE INDEX connection_by_target_owner ON connection (target_owner, created_at, id);
-- What waits to be decided is few of all grants, and looked for by every overview.
CREATE INDEX channel_grant_pending ON channel_grant (channel) WHERE status = 'pending';
-- What one holds is listed in this order; what one has to do with a channel or a server of another is asked of each row
-- of a list.
DROP INDEX channel_grant_by_holder;
CREATE INDEX channel_grant_by_holder ON channel_grant (holder, created_at, id);
DROP INDEX channel_grant_by_channel;
CREATE INDEX channel_grant_by_channel ON channel_grant (channel, holder);
DROP INDEX connection_by_source;
CREATE INDEX connection_by_source ON connection (source_server, target_owner);
DROP INDEX connection_by_target;
CREATE INDEX connection_by_target ON connection (target_server, source_owner);
-- The oldest go first. An index of both spans would be taken for the last hour of a few connections, too, and read that of
-- all others.
DROP INDEX measurement_by_age;
CREATE INDEX measurement_minutes_by_age ON measurement (at) WHERE span = 'minute';
CREATE INDEX measurement_hours_by_age ON measurement (at) WHERE span = 'hour';
PRAGMA user_version = 7;
