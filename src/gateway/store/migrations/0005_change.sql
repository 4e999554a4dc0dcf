-- Stand-in for the feed: triggers write what the store's own functions will.
CREATE TABLE change (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    organization TEXT,
    server       TEXT,
    connection   TEXT,
    kind         TEXT NOT NULL
) STRICT;
CREATE TABLE feed (pruned_to INTEGER NOT NULL) STRICT;
INSERT INTO feed VALUES (0);
CREATE TRIGGER connection_made AFTER INSERT ON connection BEGIN
    INSERT INTO change (organization, server, connection, kind)
        SELECT s.organization, s.id, NEW.id, 'connection' FROM server s WHERE s.id IN (NEW.source_server, NEW.target_server);
END;
CREATE TRIGGER connection_changed AFTER UPDATE OF status, held_by, cut_epoch, source_server ON connection BEGIN
    INSERT INTO change (organization, server, connection, kind)
        SELECT s.organization, s.id, NEW.id, 'connection' FROM server s WHERE s.id IN (NEW.source_server, NEW.target_server);
END;
CREATE TRIGGER secret_changed AFTER UPDATE OF epoch ON connection_secret BEGIN
    INSERT INTO change (organization, server, connection, kind)
        SELECT s.organization, s.id, c.id, 'secret' FROM connection c JOIN server s ON s.id IN (c.source_server, c.target_server)
        WHERE c.id = NEW.connection;
END;
CREATE TRIGGER server_changed AFTER UPDATE OF name ON server BEGIN
    INSERT INTO change (organization, server, connection, kind)
        SELECT DISTINCT s.organization, s.id, NULL, 'server' FROM server s
        WHERE s.id = NEW.id
           OR s.id IN (SELECT target_server FROM connection WHERE source_server = NEW.id)
           OR s.id IN (SELECT source_server FROM connection WHERE target_server = NEW.id);
END;
CREATE TRIGGER key_changed AFTER UPDATE OF key ON server BEGIN
    INSERT INTO change (organization, server, connection, kind)
        SELECT DISTINCT s.organization, s.id, NULL, 'key' FROM server s
        WHERE s.id = NEW.id
           OR s.id IN (SELECT target_server FROM connection WHERE source_server = NEW.id)
           OR s.id IN (SELECT source_server FROM connection WHERE target_server = NEW.id);
END;
PRAGMA user_version = 5;
