PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE organization (
    id          TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    name        TEXT    NOT NULL COLLATE NOCASE UNIQUE CHECK (length(name) BETWEEN 1 AND 80), -- public
    tier        TEXT    NOT NULL CHECK (tier IN ('Free', 'Standard', 'Enterprise')),
    created_at  INTEGER NOT NULL
) STRICT;
INSERT INTO organization VALUES('4f6b6e78-875d-45c6-8e2a-e339415be77e','Lakeside Clinic','Enterprise',1795989122092);
INSERT INTO organization VALUES('921ccdc7-4747-4212-8e68-4be77dd0b86a','St Mary Hospital','Free',1795989122105);
INSERT INTO organization VALUES('efbb957a-b803-46e0-bb49-d170c1829255','Größe & Söhne','Standard',1795989154719);
INSERT INTO organization VALUES('be69d27e-d504-4a18-808b-ba5567606383','Nobody','Free',1795989155173);
CREATE TABLE server (
    id           TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    organization TEXT    NOT NULL REFERENCES organization (id),
    name         TEXT    NOT NULL COLLATE NOCASE CHECK (length(name) BETWEEN 1 AND 80),
    description  TEXT    NOT NULL CHECK (length(description) <= 500),
    version      TEXT    NOT NULL CHECK (length(version) <= 80),         -- of the Mirth, as its owner wrote it
    route        TEXT    NOT NULL UNIQUE CHECK (length(route) = 16),     -- first bytes of its connection ids, for life
    key          TEXT    UNIQUE CHECK (length(key) = 71),                -- on file; NULL before enrolment and after revocation
    enrolled_at  INTEGER,                                                -- last time a key was put on file
    link_up      INTEGER CHECK (link_up IN (0, 1)),                      -- agent to gateway; NULL when never seen
    link_since   INTEGER,                                                -- when link_up became so
    created_at   INTEGER NOT NULL,
    UNIQUE (organization, name),
    CHECK (key IS NULL OR enrolled_at IS NOT NULL),
    CHECK ((link_up IS NULL) = (link_since IS NULL))
) STRICT;
INSERT INTO server VALUES('95384bce-d51e-4637-9608-20b363178e89','4f6b6e78-875d-45c6-8e2a-e339415be77e','Lakeside Mirth','','','ffe2ddd209c2df69','sha256:e8a3003c8b3fa889ab909bb80b6d13453289a65bb0737dbcbeedffb599e52ed4',1795989136300,0,1795989201781,1795989122103);
INSERT INTO server VALUES('8c74b890-536c-421e-9043-fc393738dbfa','921ccdc7-4747-4212-8e68-4be77dd0b86a','St Mary Mirth','','','0055663a60e4ceff','sha256:928912a9207e35f6fa275e391ec1f6b8bc59e28189ee4db5b9a9a25279f49375',1795989136323,0,1795989201780,1795989122107);
INSERT INTO server VALUES('0fdd0a87-f1e4-4447-bc82-2c5514979eeb','efbb957a-b803-46e0-bb49-d170c1829255','Grün 1','Zeile "eins" ä','4.5.2','221f1d22775fa53d',NULL,1795989182283,0,1795989187104,1795989155666);
INSERT INTO server VALUES('cf64d5e4-b337-4cd2-b068-15867b7fd095','efbb957a-b803-46e0-bb49-d170c1829255','Grün 2','','','c351bb9fea2b79aa',NULL,NULL,NULL,NULL,1795989155996);
INSERT INTO server VALUES('94942f04-3158-4a17-be7c-4666200af87b','4f6b6e78-875d-45c6-8e2a-e339415be77e','Spare','','','dfbd76927b86d321',NULL,NULL,NULL,NULL,1795989156471);
CREATE TABLE revoked_key (
    key         TEXT    NOT NULL PRIMARY KEY CHECK (length(key) = 71),
    server      TEXT    NOT NULL REFERENCES server (id),
    revoked_at  INTEGER NOT NULL
) STRICT;
INSERT INTO revoked_key VALUES('sha256:bfe2fe9d29daaa2329f82366052119c264a3448db5aff69ddbdc92cd9b927168','0fdd0a87-f1e4-4447-bc82-2c5514979eeb',1795989187958);
CREATE TABLE registration_token (
    server      TEXT    NOT NULL PRIMARY KEY REFERENCES server (id),
    hash        BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),       -- SHA-256; the token itself is nowhere
    issued_at   INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    bound_key   TEXT    CHECK (length(bound_key) = 71),                  -- first key that presented it
    bound_at    INTEGER,
    CHECK (expires_at > issued_at),
    CHECK ((bound_key IS NULL) = (bound_at IS NULL))
) STRICT;
INSERT INTO registration_token VALUES('95384bce-d51e-4637-9608-20b363178e89',X'607bdce4fbaba93304a84b6d683395cf44aa236253dec3f3f7c67b6c4ede91e8',1795989122104,1796593922104,'sha256:e8a3003c8b3fa889ab909bb80b6d13453289a65bb0737dbcbeedffb599e52ed4',1795989136300);
INSERT INTO registration_token VALUES('8c74b890-536c-421e-9043-fc393738dbfa',X'da2dea17091db09f4de5e9c442a9c554a3547d47d7fde067659587d1aa0d9576',1795989122108,1796593922108,'sha256:928912a9207e35f6fa275e391ec1f6b8bc59e28189ee4db5b9a9a25279f49375',1795989136323);
INSERT INTO registration_token VALUES('0fdd0a87-f1e4-4447-bc82-2c5514979eeb',X'512b523f4b66788835579e51d4c04aafa60d57c76ff67c21c6ce83017f50f6b7',1795989157900,1796593957900,'sha256:bfe2fe9d29daaa2329f82366052119c264a3448db5aff69ddbdc92cd9b927168',1795989182283);
INSERT INTO registration_token VALUES('cf64d5e4-b337-4cd2-b068-15867b7fd095',X'5c21510cfc9f8dd5b5be75023fc13a7a69297b096bf62456b95bf113e9665e86',1795989158358,1796075558358,NULL,NULL);
CREATE TABLE channel (
    id          TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    server      TEXT    NOT NULL REFERENCES server (id),
    name        TEXT    NOT NULL COLLATE NOCASE CHECK (length(name) BETWEEN 1 AND 80), -- public, never Mirth's own
    description TEXT    NOT NULL CHECK (length(description) <= 500),
    protocol    TEXT    NOT NULL CHECK (protocol IN ('mllp', 'dicom', 'tcp')),
    published   INTEGER NOT NULL CHECK (published IN (0, 1)),            -- whether peers without a connection see it
    created_at  INTEGER NOT NULL,
    UNIQUE (server, name)
) STRICT;
INSERT INTO channel VALUES('e27eb0bd-1142-4078-9a0a-d30a1abc1a16','8c74b890-536c-421e-9043-fc393738dbfa','mllp 1','','mllp',1,1795989122195);
INSERT INTO channel VALUES('1dbd00a4-9d02-4a90-8fa9-e956a2427d7a','8c74b890-536c-421e-9043-fc393738dbfa','PACS','Bilder','dicom',1,1795989158744);
INSERT INTO channel VALUES('dc4695d9-b158-4efb-b812-3c236227212c','8c74b890-536c-421e-9043-fc393738dbfa','Hidden','','tcp',0,1795989159214);
INSERT INTO channel VALUES('830b4349-85cb-400f-9e5c-b99c67637a3c','95384bce-d51e-4637-9608-20b363178e89','Results','','mllp',1,1795989159880);
INSERT INTO channel VALUES('cea53543-7b19-4302-af6c-e113858d0b19','95384bce-d51e-4637-9608-20b363178e89','Orders','','mllp',1,1795989160697);
CREATE TABLE agreement (
    id           TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    requester    TEXT    NOT NULL REFERENCES organization (id),
    recipient    TEXT    NOT NULL REFERENCES organization (id),
    status       TEXT    NOT NULL CHECK (status IN ('requested', 'live', 'declined', 'withdrawn')),
    requested_at INTEGER NOT NULL,
    decided_at   INTEGER,
    CHECK ((status = 'requested') = (decided_at IS NULL)),
    CHECK (requester <> recipient OR status = 'live')                    -- asking oneself is accepted at once
) STRICT;
INSERT INTO agreement VALUES('5e217dae-9e7f-46d1-8bdf-797fefba83cf','4f6b6e78-875d-45c6-8e2a-e339415be77e','921ccdc7-4747-4212-8e68-4be77dd0b86a','live',1795989122152,1795989122169);
INSERT INTO agreement VALUES('13f46a7c-fdea-4fb5-8760-573b7f12b2d4','efbb957a-b803-46e0-bb49-d170c1829255','4f6b6e78-875d-45c6-8e2a-e339415be77e','live',1795989160760,1795989161481);
INSERT INTO agreement VALUES('5aa1b72e-df46-49c1-9926-bcea8d0943cb','efbb957a-b803-46e0-bb49-d170c1829255','921ccdc7-4747-4212-8e68-4be77dd0b86a','declined',1795989161839,1795989162548);
INSERT INTO agreement VALUES('6a919cfa-2307-4d51-8c43-f20ab8ce42d8','be69d27e-d504-4a18-808b-ba5567606383','921ccdc7-4747-4212-8e68-4be77dd0b86a','requested',1795989162699,NULL);
INSERT INTO agreement VALUES('dd5c9564-3e72-417e-bbc5-6c86b782e638','be69d27e-d504-4a18-808b-ba5567606383','4f6b6e78-875d-45c6-8e2a-e339415be77e','withdrawn',1795989163515,1795989164006);
CREATE TABLE channel_grant (
    id            TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    agreement     TEXT    NOT NULL REFERENCES agreement (id),
    channel       TEXT    NOT NULL REFERENCES channel (id),
    holder        TEXT    NOT NULL REFERENCES organization (id),         -- the peer that may send
    origin        TEXT    NOT NULL CHECK (origin IN ('offered', 'requested')),
    source_server TEXT    REFERENCES server (id),                        -- the holder's; an offer learns it at approval
    status        TEXT    NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'revoked', 'relinquished')),
    created_at    INTEGER NOT NULL,
    changed_at    INTEGER NOT NULL,
    CHECK (source_server IS NOT NULL OR origin = 'offered'),
    CHECK (source_server IS NOT NULL OR status <> 'approved')
) STRICT;
INSERT INTO channel_grant VALUES('090d8930-2977-41ce-a44a-1505942fb006','5e217dae-9e7f-46d1-8bdf-797fefba83cf','e27eb0bd-1142-4078-9a0a-d30a1abc1a16','4f6b6e78-875d-45c6-8e2a-e339415be77e','requested','95384bce-d51e-4637-9608-20b363178e89','approved',1795989122207,1795989122215);
INSERT INTO channel_grant VALUES('bcd71d7a-fa64-4a06-b91d-9ea09e83a882','13f46a7c-fdea-4fb5-8760-573b7f12b2d4','830b4349-85cb-400f-9e5c-b99c67637a3c','efbb957a-b803-46e0-bb49-d170c1829255','offered',NULL,'pending',1795989164216,1795989164216);
INSERT INTO channel_grant VALUES('5c61a3c7-3edf-4318-a65e-8efec8994f8c','13f46a7c-fdea-4fb5-8760-573b7f12b2d4','cea53543-7b19-4302-af6c-e113858d0b19','efbb957a-b803-46e0-bb49-d170c1829255','requested','0fdd0a87-f1e4-4447-bc82-2c5514979eeb','approved',1795989165203,1795989165767);
INSERT INTO channel_grant VALUES('73c383a7-5d53-4d4d-9919-e8d4d364a527','13f46a7c-fdea-4fb5-8760-573b7f12b2d4','cea53543-7b19-4302-af6c-e113858d0b19','efbb957a-b803-46e0-bb49-d170c1829255','requested','cf64d5e4-b337-4cd2-b068-15867b7fd095','denied',1795989166349,1795989166965);
INSERT INTO channel_grant VALUES('95aba3c9-b83b-4d5d-818a-d9d4406925e7','5e217dae-9e7f-46d1-8bdf-797fefba83cf','1dbd00a4-9d02-4a90-8fa9-e956a2427d7a','4f6b6e78-875d-45c6-8e2a-e339415be77e','requested','95384bce-d51e-4637-9608-20b363178e89','revoked',1795989167253,1795989168380);
INSERT INTO channel_grant VALUES('27400674-7584-4d01-bc3e-d0706556f1e8','5e217dae-9e7f-46d1-8bdf-797fefba83cf','1dbd00a4-9d02-4a90-8fa9-e956a2427d7a','4f6b6e78-875d-45c6-8e2a-e339415be77e','requested','95384bce-d51e-4637-9608-20b363178e89','approved',1795989168623,1795989169112);
CREATE TABLE audit (
    id           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at           INTEGER NOT NULL,
    organization TEXT    REFERENCES organization (id),                   -- whose log; NULL is the gateway operator's
    actor        TEXT    NOT NULL,                                       -- who did it, as that organization may know
    action       TEXT    NOT NULL,
    object       TEXT    NOT NULL,
    outcome      TEXT    NOT NULL CHECK (outcome IN ('done', 'refused', 'alert')),
    detail       TEXT    NOT NULL,
    times        INTEGER NOT NULL DEFAULT 1 CHECK (times >= 1),          -- repeats within the bucket's minute
    bucket       TEXT    UNIQUE                                          -- what a stranger can cause is counted a minute
) STRICT;
INSERT INTO audit VALUES(1,1795989122092,'4f6b6e78-875d-45c6-8e2a-e339415be77e','the gateway''s operator','add organization','organization 4f6b6e78-875d-45c6-8e2a-e339415be77e','done','name Lakeside Clinic, tier Enterprise',1,NULL);
INSERT INTO audit VALUES(2,1795989122092,NULL,'set-up','add organization','organization 4f6b6e78-875d-45c6-8e2a-e339415be77e','done','name Lakeside Clinic, tier Enterprise',1,NULL);
INSERT INTO audit VALUES(3,1795989122103,'4f6b6e78-875d-45c6-8e2a-e339415be77e','set-up','add server','server 95384bce-d51e-4637-9608-20b363178e89','done','name Lakeside Mirth',1,NULL);
INSERT INTO audit VALUES(4,1795989122104,'4f6b6e78-875d-45c6-8e2a-e339415be77e','set-up','issue token','server 95384bce-d51e-4637-9608-20b363178e89','done','good until 2026-12-06T21:52:02Z',1,NULL);
INSERT INTO audit VALUES(5,1795989122105,'921ccdc7-4747-4212-8e68-4be77dd0b86a','the gateway''s operator','add organization','organization 921ccdc7-4747-4212-8e68-4be77dd0b86a','done','name St Mary Hospital, tier Enterprise',1,NULL);
INSERT INTO audit VALUES(6,1795989122105,NULL,'set-up','add organization','organization 921ccdc7-4747-4212-8e68-4be77dd0b86a','done','name St Mary Hospital, tier Enterprise',1,NULL);
INSERT INTO audit VALUES(7,1795989122107,'921ccdc7-4747-4212-8e68-4be77dd0b86a','set-up','add server','server 8c74b890-536c-421e-9043-fc393738dbfa','done','name St Mary Mirth',1,NULL);
INSERT INTO audit VALUES(8,1795989122108,'921ccdc7-4747-4212-8e68-4be77dd0b86a','set-up','issue token','server 8c74b890-536c-421e-9043-fc393738dbfa','done','good until 2026-12-06T21:52:02Z',1,NULL);
INSERT INTO audit VALUES(9,1795989122152,'4f6b6e78-875d-45c6-8e2a-e339415be77e','set-up','request peering','peering 5e217dae-9e7f-46d1-8bdf-797fefba83cf','done','from Lakeside Clinic to St Mary Hospital',1,NULL);
INSERT INTO audit VALUES(10,1795989122152,'921ccdc7-4747-4212-8e68-4be77dd0b86a','Lakeside Clinic','request peering','peering 5e217dae-9e7f-46d1-8bdf-797fefba83cf','done','from Lakeside Clinic to St Mary Hospital',1,NULL);
INSERT INTO audit VALUES(11,1795989122169,'4f6b6e78-875d-45c6-8e2a-e339415be77e','St Mary Hospital','accept peering','peering 5e217dae-9e7f-46d1-8bdf-797fefba83cf','done','from Lakeside Clinic to St Mary Hospital',1,NULL);
INSERT INTO audit VALUES(12,1795989122169,'921ccdc7-4747-4212-8e68-4be77dd0b86a','set-up','accept peering','peering 5e217dae-9e7f-46d1-8bdf-797fefba83cf','done','from Lakeside Clinic to St Mary Hospital',1,NULL);
INSERT INTO audit VALUES(13,1795989122195,'921ccdc7-4747-4212-8e68-4be77dd0b86a','set-up','add channel','channel e27eb0bd-1142-4078-9a0a-d30a1abc1a16','done','name mllp 1, mllp',1,NULL);
INSERT INTO audit VALUES(14,1795989122207,'4f6b6e78-875d-45c6-8e2a-e339415be77e','set-up','request grant','grant 090d8930-2977-41ce-a44a-1505942fb006','done','channel mllp 1',1,NULL);
INSERT INTO audit VALUES(15,1795989122207,'921ccdc7-4747-4212-8e68-4be77dd0b86a','Lakeside Clinic','request grant','grant 090d8930-2977-41ce-a44a-1505942fb006','done','channel mllp 1',1,NULL);
INSERT INTO audit VALUES(16,1795989122215,'4f6b6e78-875d-45c6-8e2a-e339415be77e','St Mary Hospital','approve grant','grant 090d8930-2977-41ce-a44a-1505942fb006','done','channel mllp 1, connection 15639b56-e77e-4caf-a531-e7f03c535ea5',1,NULL);
INSERT INTO audit VALUES(17,1795989122215,'921ccdc7-4747-4212-8e68-4be77dd0b86a','set-up','approve grant','grant 090d8930-2977-41ce-a44a-1505942fb006','done','channel mllp 1, connection 15639b56-e77e-4caf-a531-e7f03c535ea5',1,NULL);
INSERT INTO audit VALUES(18,1795989122223,'4f6b6e78-875d-45c6-8e2a-e339415be77e','set-up','activate connection','connection 15639b56-e77e-4caf-a531-e7f03c535ea5','done','from Ready to Active',1,NULL);
INSERT INTO audit VALUES(19,1795989122223,'921ccdc7-4747-4212-8e68-4be77dd0b86a','Lakeside Clinic','activate connection','connection 15639b56-e77e-4caf-a531-e7f03c535ea5','done','from Ready to Active',1,NULL);
INSERT INTO audit VALUES(20,1795989136300,'4f6b6e78-875d-45c6-8e2a-e339415be77e','agent of Lakeside Mirth','enrol','server 95384bce-d51e-4637-9608-20b363178e89','done','key sha256:e8a3003c8b3fa889ab909bb80b6d13453289a65bb0737dbcbeedffb599e52ed4',1,NULL);
INSERT INTO audit VALUES(21,1795989136323,'921ccdc7-4747-4212-8e68-4be77dd0b86a','agent of St Mary Mirth','enrol','server 8c74b890-536c-421e-9043-fc393738dbfa','done','key sha256:928912a9207e35f6fa275e391ec1f6b8bc59e28189ee4db5b9a9a25279f49375',1,NULL);
INSERT INTO audit VALUES(22,1795989136410,'4f6b6e78-875d-45c6-8e2a-e339415be77e','agent of Lakeside Mirth','fetch secret','connection 15639b56-e77e-4caf-a531-e7f03c535ea5','done','epoch 1, to the source''s agent',1,NULL);
INSERT INTO audit VALUES(23,1795989136410,'921ccdc7-4747-4212-8e68-4be77dd0b86a','agent of Lakeside Mirth','fetch secret','connection 15639b56-e77e-4caf-a531-e7f03c535ea5','done','epoch 1, to the source''s agent',1,NULL);
INSERT INTO audit VALUES(24,1795989136437,'4f6b6e78-875d-45c6-8e2a-e339415be77e','agent of St Mary Mirth','fetch secret','connection 15639b56-e77e-4caf-a531-e7f03c535ea5','done','epoch 1, to the target''s agent',1,NULL);
INSERT INTO audit VALUES(25,1795989136437,'921ccdc7-4747-4212-8e68-4be77dd0b86a','agent of St Mary Mirth','fetch secret','connection 15639b56-e77e-4caf-a531-e7f03c535ea5','done','epoch 1, to the target''s agent',1,NULL);
INSERT INTO audit VALUES(26,1795989136459,'4f6b6e78-875d-45c6-8e2a-e339415be77e','agent of Lakeside Mirth','hold secret','connection 15639b56-e77e-4caf-a531-e7f03c535ea5','done','epoch 1, by the source''s agent',1,NULL);
INSERT INTO audit VALUES(27,1795989136459,'921ccdc7-4747-4212-8e68-4be77dd0b86a','agent of Lakeside Mirth','hold secret','connection 15639b56-e77e-4caf-a531-e7f03c535ea5','done','epoch 1, by the source''s agent',1,NULL);
INSERT INTO audit VALUES(28,1795989136482,'4f6b6e78-875d-45c6-8e2a-e339415be77e','agent of St Mary Mirth','hold secret','connection 15639b56-e77e-4caf-a531-e7f03c535ea5','done','epoch 1, by the target''s agent',1,NULL);
INSERT INTO audit VALUES(29,1795989136482,'921ccdc7-4747-4212-8e68-4be77dd0b86a','agent of St Mary Mirth','hold secret','connection 15639b56-e77e-4caf-a531-e7f03c535ea5','done','epoch 1, by the target''s agent',1,NULL);
INSERT INTO audit VALUES(30,1795989154719,'efbb957a-b803-46e0-bb49-d170c1829255','the gateway''s operator','add organization','organization efbb957a-b803-46e0-bb49-d170c1829255','done','name Größe & Söhne, tier Free',1,NULL);
INSERT INTO audit VALUES(31,1795989154719,NULL,'adit admin (uid 0)','add organization','organization efbb957a-b803-46e0-bb49-d170c1829255','done','name Größe & Söhne, tier Free',1,NULL);
INSERT INTO audit VALUES(32,1795989155148,'efbb957a-b803-46e0-bb49-d170c1829255','the gateway''s operator','set tier','organization efbb957a-b803-46e0-bb49-d170c1829255','done','from Free to Standard',1,NULL);
INSERT INTO audit VALUES(33,1795989155148,NULL,'adit admin (uid 0)','set tier','organization efbb957a-b803-46e0-bb49-d170c1829255','done','from Free to Standard',1,NULL);
INSERT INTO audit VALUES(34,1795989155173,'be69d27e-d504-4a18-808b-ba5567606383','the gateway''s operator','add organization','organization be69d27e-d504-4a18-808b-ba5567606383','done','name Nobody, tier Free',1,NULL);
INSERT INTO audit VALUES(35,1795989155173,NULL,'adit admin (uid 0)','add organization','organization be69d27e-d504-4a18-808b-ba5567606383','done','name Nobody, tier Free',1,NULL);
INSERT INTO audit VALUES(36,1795989155666,'efbb957a-b803-46e0-bb49-d170c1829255','adit admin (uid 0)','add server','server 0fdd0a87-f1e4-4447-bc82-2c5514979eeb','done','name Grün 1',1,NULL);
INSERT INTO audit VALUES(37,1795989155996,'efbb957a-b803-46e0-bb49-d170c1829255','adit admin (uid 0)','add server','server cf64d5e4-b337-4cd2-b068-15867b7fd095','done','name Grün 2',1,NULL);
INSERT INTO audit VALUES(38,1795989156471,'4f6b6e78-875d-45c6-8e2a-e339415be77e','adit admin (uid 0)','add server','server 94942f04-3158-4a17-be7c-4666200af87b','done','name Spare',1,NULL);
INSERT INTO audit VALUES(39,1795989157495,'efbb957a-b803-46e0-bb49-d170c1829255','adit admin (uid 0)','issue token','server 0fdd0a87-f1e4-4447-bc82-2c5514979eeb','done','good until 2026-11-29T22:52:37Z',1,NULL);
INSERT INTO audit VALUES(40,1795989157900,'efbb957a-b803-46e0-bb49-d170c1829255','adit admin (uid 0)','issue token','server 0fdd0a87-f1e4-4447-bc82-2c5514979eeb','done','good until 2026-12-06T21:52:37Z',1,NULL);
INSERT INTO audit VALUES(41,1795989158358,'efbb957a-b803-46e0-bb49-d170c1829255','adit admin (uid 0)','issue token','server cf64d5e4-b337-4cd2-b068-15867b7fd095','done','good until 2026-11-30T21:52:38Z',1,NULL);
INSERT INTO audit VALUES(42,1795989158744,'921ccdc7-4747-4212-8e68-4be77dd0b86a','adit admin (uid 0)','add channel','channel 1dbd00a4-9d02-4a90-8fa9-e956a2427d7a','done','name PACS, dicom',1,NULL);
INSERT INTO audit VALUES(43,1795989159214,'921ccdc7-4747-4212-8e68-4be77dd0b86a','adit admin (uid 0)','add channel','channel dc4695d9-b158-4efb-b812-3c236227212c','done','name Hidden, tcp',1,NULL);
INSERT INTO audit VALUES(44,1795989159880,'4f6b6e78-875d-45c6-8e2a-e339415be77e','adit admin (uid 0)','add channel','channel 830b4349-85cb-400f-9e5c-b99c67637a3c','done','name Results, mllp',1,NULL);
INSERT INTO audit VALUES(45,1795989160697,'4f6b6e78-875d-45c6-8e2a-e339415be77e','adit admin (uid 0)','add channel','channel cea53543-7b19-4302-af6c-e113858d0b19','done','name Orders, mllp',1,NULL);
INSERT INTO audit VALUES(46,1795989160760,'4f6b6e78-875d-45c6-8e2a-e339415be77e','Größe & Söhne','request peering','peering 13f46a7c-fdea-4fb5-8760-573b7f12b2d4','done','from Größe & Söhne to Lakeside Clinic',1,NULL);
INSERT INTO audit VALUES(47,1795989160760,'efbb957a-b803-46e0-bb49-d170c1829255','adit admin (uid 0)','request peering','peering 13f46a7c-fdea-4fb5-8760-573b7f12b2d4','done','from Größe & Söhne to Lakeside Clinic',1,NULL);
INSERT INTO audit VALUES(48,1795989161481,'4f6b6e78-875d-45c6-8e2a-e339415be77e','adit admin (uid 0)','accept peering','peering 13f46a7c-fdea-4fb5-8760-573b7f12b2d4','done','from Größe & Söhne to Lakeside Clinic',1,NULL);
INSERT INTO audit VALUES(49,1795989161481,'efbb957a-b803-46e0-bb49-d170c1829255','Lakeside Clinic','accept peering','peering 13f46a7c-fdea-4fb5-8760-573b7f12b2d4','done','from Größe & Söhne to Lakeside Clinic',1,NULL);
INSERT INTO audit VALUES(50,1795989161839,'921ccdc7-4747-4212-8e68-4be77dd0b86a','Größe & Söhne','request peering','peering 5aa1b72e-df46-49c1-9926-bcea8d0943cb','done','from Größe & Söhne to St Mary Hospital',1,NULL);
INSERT INTO audit VALUES(51,1795989161839,'efbb957a-b803-46e0-bb49-d170c1829255','adit admin (uid 0)','request peering','peering 5aa1b72e-df46-49c1-9926-bcea8d0943cb','done','from Größe & Söhne to St Mary Hospital',1,NULL);
INSERT INTO audit VALUES(52,1795989162548,'921ccdc7-4747-4212-8e68-4be77dd0b86a','adit admin (uid 0)','decline peering','peering 5aa1b72e-df46-49c1-9926-bcea8d0943cb','done','from Größe & Söhne to St Mary Hospital',1,NULL);
INSERT INTO audit VALUES(53,1795989162548,'efbb957a-b803-46e0-bb49-d170c1829255','St Mary Hospital','decline peering','peering 5aa1b72e-df46-49c1-9926-bcea8d0943cb','done','from Größe & Söhne to St Mary Hospital',1,NULL);
INSERT INTO audit VALUES(54,1795989162699,'921ccdc7-4747-4212-8e68-4be77dd0b86a','Nobody','request peering','peering 6a919cfa-2307-4d51-8c43-f20ab8ce42d8','done','from Nobody to St Mary Hospital',1,NULL);
INSERT INTO audit VALUES(55,1795989162699,'be69d27e-d504-4a18-808b-ba5567606383','adit admin (uid 0)','request peering','peering 6a919cfa-2307-4d51-8c43-f20ab8ce42d8','done','from Nobody to St Mary Hospital',1,NULL);
INSERT INTO audit VALUES(56,1795989163515,'4f6b6e78-875d-45c6-8e2a-e339415be77e','Nobody','request peering','peering dd5c9564-3e72-417e-bbc5-6c86b782e638','done','from Nobody to Lakeside Clinic',1,NULL);
INSERT INTO audit VALUES(57,1795989163515,'be69d27e-d504-4a18-808b-ba5567606383','adit admin (uid 0)','request peering','peering dd5c9564-3e72-417e-bbc5-6c86b782e638','done','from Nobody to Lakeside Clinic',1,NULL);
INSERT INTO audit VALUES(58,1795989164006,'4f6b6e78-875d-45c6-8e2a-e339415be77e','Nobody','withdraw peering','peering dd5c9564-3e72-417e-bbc5-6c86b782e638','done','from Nobody to Lakeside Clinic',1,NULL);
INSERT INTO audit VALUES(59,1795989164006,'be69d27e-d504-4a18-808b-ba5567606383','adit admin (uid 0)','withdraw peering','peering dd5c9564-3e72-417e-bbc5-6c86b782e638','done','from Nobody to Lakeside Clinic',1,NULL);
INSERT INTO audit VALUES(60,1795989164216,'4f6b6e78-875d-45c6-8e2a-e339415be77e','adit admin (uid 0)','offer grant','grant bcd71d7a-fa64-4a06-b91d-9ea09e83a882','done','channel Results',1,NULL);
INSERT INTO audit VALUES(61,1795989164216,'efbb957a-b803-46e0-bb49-d170c1829255','Lakeside Clinic','offer grant','grant bcd71d7a-fa64-4a06-b91d-9ea09e83a882','done','channel Results',1,NULL);
INSERT INTO audit VALUES(62,1795989165203,'4f6b6e78-875d-45c6-8e2a-e339415be77e','Größe & Söhne','request grant','grant 5c61a3c7-3edf-4318-a65e-8efec8994f8c','done','channel Orders',1,NULL);
INSERT INTO audit VALUES(63,1795989165203,'efbb957a-b803-46e0-bb49-d170c1829255','adit admin (uid 0)','request grant','grant 5c61a3c7-3edf-4318-a65e-8efec8994f8c','done','channel Orders',1,NULL);
INSERT INTO audit VALUES(64,1795989165767,'4f6b6e78-875d-45c6-8e2a-e339415be77e','adit admin (uid 0)','approve grant','grant 5c61a3c7-3edf-4318-a65e-8efec8994f8c','done','channel Orders, connection 1752d676-df4e-407d-a432-96b2f81c9b26',1,NULL);
INSERT INTO audit VALUES(65,1795989165767,'efbb957a-b803-46e0-bb49-d170c1829255','Lakeside Clinic','approve grant','grant 5c61a3c7-3edf-4318-a65e-8efec8994f8c','done','channel Orders, connection 1752d676-df4e-407d-a432-96b2f81c9b26',1,NULL);
INSERT INTO audit VALUES(66,1795989166349,'4f6b6e78-875d-45c6-8e2a-e339415be77e','Größe & Söhne','request grant','grant 73c383a7-5d53-4d4d-9919-e8d4d364a527','done','channel Orders',1,NULL);
INSERT INTO audit VALUES(67,1795989166349,'efbb957a-b803-46e0-bb49-d170c1829255','adit admin (uid 0)','request grant','grant 73c383a7-5d53-4d4d-9919-e8d4d364a527','done','channel Orders',1,NULL);
INSERT INTO audit VALUES(68,1795989166965,'4f6b6e78-875d-45c6-8e2a-e339415be77e','adit admin (uid 0)','deny grant','grant 73c383a7-5d53-4d4d-9919-e8d4d364a527','done','channel Orders',1,NULL);
INSERT INTO audit VALUES(69,1795989166965,'efbb957a-b803-46e0-bb49-d170c1829255','Lakeside Clinic','deny grant','grant 73c383a7-5d53-4d4d-9919-e8d4d364a527','done','channel Orders',1,NULL);
INSERT INTO audit VALUES(70,1795989167253,'4f6b6e78-875d-45c6-8e2a-e339415be77e','adit admin (uid 0)','request grant','grant 95aba3c9-b83b-4d5d-818a-d9d4406925e7','done','channel PACS',1,NULL);
INSERT INTO audit VALUES(71,1795989167253,'921ccdc7-4747-4212-8e68-4be77dd0b86a','Lakeside Clinic','request grant','grant 95aba3c9-b83b-4d5d-818a-d9d4406925e7','done','channel PACS',1,NULL);
INSERT INTO audit VALUES(72,1795989167774,'4f6b6e78-875d-45c6-8e2a-e339415be77e','St Mary Hospital','approve grant','grant 95aba3c9-b83b-4d5d-818a-d9d4406925e7','done','channel PACS, connection 8d7a9591-df0b-488a-b481-f47a7058f723',1,NULL);
INSERT INTO audit VALUES(73,1795989167774,'921ccdc7-4747-4212-8e68-4be77dd0b86a','adit admin (uid 0)','approve grant','grant 95aba3c9-b83b-4d5d-818a-d9d4406925e7','done','channel PACS, connection 8d7a9591-df0b-488a-b481-f47a7058f723',1,NULL);
INSERT INTO audit VALUES(74,1795989168380,'4f6b6e78-875d-45c6-8e2a-e339415be77e','St Mary Hospital','revoke grant','grant 95aba3c9-b83b-4d5d-818a-d9d4406925e7','done','channel PACS; connection 8d7a9591-df0b-488a-b481-f47a7058f723 terminated',1,NULL);
INSERT INTO audit VALUES(75,1795989168380,'921ccdc7-4747-4212-8e68-4be77dd0b86a','adit admin (uid 0)','revoke grant','grant 95aba3c9-b83b-4d5d-818a-d9d4406925e7','done','channel PACS; connection 8d7a9591-df0b-488a-b481-f47a7058f723 terminated',1,NULL);
INSERT INTO audit VALUES(76,1795989168623,'4f6b6e78-875d-45c6-8e2a-e339415be77e','adit admin (uid 0)','request grant','grant 27400674-7584-4d01-bc3e-d0706556f1e8','done','channel PACS',1,NULL);
INSERT INTO audit VALUES(77,1795989168623,'921ccdc7-4747-4212-8e68-4be77dd0b86a','Lakeside Clinic','request grant','grant 27400674-7584-4d01-bc3e-d0706556f1e8','done','channel PACS',1,NULL);
INSERT INTO audit VALUES(78,1795989169112,'4f6b6e78-875d-45c6-8e2a-e339415be77e','St Mary Hospital','approve grant','grant 27400674-7584-4d01-bc3e-d0706556f1e8','done','channel PACS, connection 7fc67f9f-e807-49a9-b6bb-cc5c8386aea4',1,NULL);
INSERT INTO audit VALUES(79,1795989169112,'921ccdc7-4747-4212-8e68-4be77dd0b86a','adit admin (uid 0)','approve grant','grant 27400674-7584-4d01-bc3e-d0706556f1e8','done','channel PACS, connection 7fc67f9f-e807-49a9-b6bb-cc5c8386aea4',1,NULL);
INSERT INTO audit VALUES(80,1795989169578,'4f6b6e78-875d-45c6-8e2a-e339415be77e','St Mary Hospital','activate connection','connection 7fc67f9f-e807-49a9-b6bb-cc5c8386aea4','done','from Ready to Active',1,NULL);
INSERT INTO audit VALUES(81,1795989169578,'921ccdc7-4747-4212-8e68-4be77dd0b86a','adit admin (uid 0)','activate connection','connection 7fc67f9f-e807-49a9-b6bb-cc5c8386aea4','done','from Ready to Active',1,NULL);
INSERT INTO audit VALUES(82,1795989169895,'4f6b6e78-875d-45c6-8e2a-e339415be77e','adit admin (uid 0)','activate connection','connection 7fc67f9f-e807-49a9-b6bb-cc5c8386aea4','refused','`activate` is possible when the connection is Ready; it is Active',1,NULL);
INSERT INTO audit VALUES(83,1795989169895,'921ccdc7-4747-4212-8e68-4be77dd0b86a','Lakeside Clinic','activate connection','connection 7fc67f9f-e807-49a9-b6bb-cc5c8386aea4','refused','`activate` is possible when the connection is Ready; it is Active',1,NULL);
INSERT INTO audit VALUES(84,1795989170139,'4f6b6e78-875d-45c6-8e2a-e339415be77e','adit admin (uid 0)','pause connection','connection 7fc67f9f-e807-49a9-b6bb-cc5c8386aea4','done','from Active to Paused',1,NULL);
INSERT INTO audit VALUES(85,1795989170139,'921ccdc7-4747-4212-8e68-4be77dd0b86a','Lakeside Clinic','pause connection','connection 7fc67f9f-e807-49a9-b6bb-cc5c8386aea4','done','from Active to Paused',1,NULL);
INSERT INTO audit VALUES(86,1795989170451,'4f6b6e78-875d-45c6-8e2a-e339415be77e','adit admin (uid 0)','view secret','connection 7fc67f9f-e807-49a9-b6bb-cc5c8386aea4','done','epoch 1, to the source''s owner',1,NULL);
INSERT INTO audit VALUES(87,1795989170451,'921ccdc7-4747-4212-8e68-4be77dd0b86a','Lakeside Clinic','view secret','connection 7fc67f9f-e807-49a9-b6bb-cc5c8386aea4','done','epoch 1, to the source''s owner',1,NULL);
INSERT INTO audit VALUES(88,1795989170603,'4f6b6e78-875d-45c6-8e2a-e339415be77e','St Mary Hospital','offer administration','connection ccad5260-b189-473b-b196-c00a83107995','done','Admin RW of St Mary Mirth by St Mary Hospital, open until 2026-12-29T21:52:50Z',1,NULL);
INSERT INTO audit VALUES(89,1795989170603,'921ccdc7-4747-4212-8e68-4be77dd0b86a','adit admin (uid 0)','offer administration','connection ccad5260-b189-473b-b196-c00a83107995','done','Admin RW of St Mary Mirth by St Mary Hospital, open until 2026-12-29T21:52:50Z',1,NULL);
INSERT INTO audit VALUES(90,1795989180500,'4f6b6e78-875d-45c6-8e2a-e339415be77e','adit admin (uid 0)','accept offer','connection ccad5260-b189-473b-b196-c00a83107995','done','Admin RW Lakeside Mirth → St Mary Mirth, from Offered to Active',1,NULL);
INSERT INTO audit VALUES(91,1795989180500,'921ccdc7-4747-4212-8e68-4be77dd0b86a','Lakeside Clinic','accept offer','connection ccad5260-b189-473b-b196-c00a83107995','done','Admin RW Lakeside Mirth → St Mary Mirth, from Offered to Active',1,NULL);
INSERT INTO audit VALUES(92,1795989180611,'4f6b6e78-875d-45c6-8e2a-e339415be77e','St Mary Hospital','view secret','connection ccad5260-b189-473b-b196-c00a83107995','done','epoch 1, to the target''s owner',1,NULL);
INSERT INTO audit VALUES(93,1795989180611,'921ccdc7-4747-4212-8e68-4be77dd0b86a','adit admin (uid 0)','view secret','connection ccad5260-b189-473b-b196-c00a83107995','done','epoch 1, to the target''s owner',1,NULL);
INSERT INTO audit VALUES(94,1795989180747,'4f6b6e78-875d-45c6-8e2a-e339415be77e','St Mary Hospital','view secret','connection ccad5260-b189-473b-b196-c00a83107995','done','epoch 1, to the target''s owner',1,NULL);
INSERT INTO audit VALUES(95,1795989180747,'921ccdc7-4747-4212-8e68-4be77dd0b86a','adit admin (uid 0)','view secret','connection ccad5260-b189-473b-b196-c00a83107995','done','epoch 1, to the target''s owner',1,NULL);
INSERT INTO audit VALUES(96,1795989180850,'4f6b6e78-875d-45c6-8e2a-e339415be77e','St Mary Hospital','offer administration','connection 797066f4-279a-4a90-892e-93f985430308','done','Admin RO of St Mary Mirth by St Mary Hospital, open until 2026-11-29T22:53:00Z',1,NULL);
INSERT INTO audit VALUES(97,1795989180850,'921ccdc7-4747-4212-8e68-4be77dd0b86a','adit admin (uid 0)','offer administration','connection 797066f4-279a-4a90-892e-93f985430308','done','Admin RO of St Mary Mirth by St Mary Hospital, open until 2026-11-29T22:53:00Z',1,NULL);
INSERT INTO audit VALUES(98,1795989181325,'4f6b6e78-875d-45c6-8e2a-e339415be77e','adit admin (uid 0)','offer administration','connection f7d67668-b739-4b43-9185-a79a16351132','done','Admin RO of Lakeside Mirth by Lakeside Clinic, open until 2026-12-29T21:53:01Z',1,NULL);
INSERT INTO audit VALUES(99,1795989181325,'efbb957a-b803-46e0-bb49-d170c1829255','Lakeside Clinic','offer administration','connection f7d67668-b739-4b43-9185-a79a16351132','done','Admin RO of Lakeside Mirth by Lakeside Clinic, open until 2026-12-29T21:53:01Z',1,NULL);
INSERT INTO audit VALUES(100,1795989181588,'4f6b6e78-875d-45c6-8e2a-e339415be77e','adit admin (uid 0)','offer administration','connection fa472a4c-aefb-48ba-aef9-202f98c374fd','done','Admin RO of Lakeside Mirth by Lakeside Clinic, open until 2026-12-29T21:53:01Z',1,NULL);
INSERT INTO audit VALUES(101,1795989181588,'921ccdc7-4747-4212-8e68-4be77dd0b86a','Lakeside Clinic','offer administration','connection fa472a4c-aefb-48ba-aef9-202f98c374fd','done','Admin RO of Lakeside Mirth by Lakeside Clinic, open until 2026-12-29T21:53:01Z',1,NULL);
INSERT INTO audit VALUES(102,1795989181979,'4f6b6e78-875d-45c6-8e2a-e339415be77e','St Mary Hospital','decline offer','connection fa472a4c-aefb-48ba-aef9-202f98c374fd','done','Admin RO St Mary Hospital → Lakeside Mirth, from Offered to Declined',1,NULL);
INSERT INTO audit VALUES(103,1795989181979,'921ccdc7-4747-4212-8e68-4be77dd0b86a','adit admin (uid 0)','decline offer','connection fa472a4c-aefb-48ba-aef9-202f98c374fd','done','Admin RO St Mary Hospital → Lakeside Mirth, from Offered to Declined',1,NULL);
INSERT INTO audit VALUES(104,1795989182063,'921ccdc7-4747-4212-8e68-4be77dd0b86a','the gateway''s operator','set tier','organization 921ccdc7-4747-4212-8e68-4be77dd0b86a','done','from Enterprise to Standard',1,NULL);
INSERT INTO audit VALUES(105,1795989182063,NULL,'adit admin (uid 0)','set tier','organization 921ccdc7-4747-4212-8e68-4be77dd0b86a','done','from Enterprise to Standard',1,NULL);
INSERT INTO audit VALUES(106,1795989182283,'efbb957a-b803-46e0-bb49-d170c1829255','agent of Grün 1','enrol','server 0fdd0a87-f1e4-4447-bc82-2c5514979eeb','done','key sha256:bfe2fe9d29daaa2329f82366052119c264a3448db5aff69ddbdc92cd9b927168',1,NULL);
INSERT INTO audit VALUES(107,1795989187776,'efbb957a-b803-46e0-bb49-d170c1829255','a host at 127.0.0.1','enrol','server 0fdd0a87-f1e4-4447-bc82-2c5514979eeb','refused','this registration token is not good for this server; issue a new one and use its connector file (key sha256:7023400632b38d7cfb94a45add8f52c99cc15df0a754434909ce614d01492c30)',1,'3600:498885 enrol 127.0.0.1 0fdd0a87-f1e4-4447-bc82-2c5514979eeb wrong efbb957a-b803-46e0-bb49-d170c1829255');
INSERT INTO audit VALUES(108,1795989187958,'4f6b6e78-875d-45c6-8e2a-e339415be77e','Größe & Söhne','revoke server key','server 0fdd0a87-f1e4-4447-bc82-2c5514979eeb','done','key sha256:bfe2fe9d29daaa2329f82366052119c264a3448db5aff69ddbdc92cd9b927168',1,NULL);
INSERT INTO audit VALUES(109,1795989187958,'efbb957a-b803-46e0-bb49-d170c1829255','adit admin (uid 0)','revoke server key','server 0fdd0a87-f1e4-4447-bc82-2c5514979eeb','done','key sha256:bfe2fe9d29daaa2329f82366052119c264a3448db5aff69ddbdc92cd9b927168',1,NULL);
INSERT INTO audit VALUES(110,1795989200462,'4f6b6e78-875d-45c6-8e2a-e339415be77e','the gateway','hold connection','connection ccad5260-b189-473b-b196-c00a83107995','done','from Active to Paused, open tunnels cut, on behalf of St Mary Hospital',1,NULL);
INSERT INTO audit VALUES(111,1795989200462,'921ccdc7-4747-4212-8e68-4be77dd0b86a','the gateway','hold connection','connection ccad5260-b189-473b-b196-c00a83107995','done','from Active to Paused, open tunnels cut, on behalf of St Mary Hospital',1,NULL);
INSERT INTO audit VALUES(112,1795989200462,'921ccdc7-4747-4212-8e68-4be77dd0b86a','the gateway''s operator','set tier','organization 921ccdc7-4747-4212-8e68-4be77dd0b86a','done','from Standard to Free',1,NULL);
INSERT INTO audit VALUES(113,1795989200462,NULL,'adit admin (uid 0)','set tier','organization 921ccdc7-4747-4212-8e68-4be77dd0b86a','done','from Standard to Free',1,NULL);
CREATE TABLE connection (
    id               TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    kind             TEXT    NOT NULL CHECK (kind IN ('P2P', 'Admin RW', 'Admin RO')), -- fixed for life
    channel_grant    TEXT    UNIQUE REFERENCES channel_grant (id),       -- what a P2P connection comes from
    agreement        TEXT    REFERENCES agreement (id),                  -- what an admin offer was made over,
    recipient        TEXT    REFERENCES organization (id),               --   to whom,
    expires_at       INTEGER,                                            --   and until when it may be accepted
    source_server    TEXT    REFERENCES server (id),                     -- dials; an offer learns it at acceptance
    target_server    TEXT    NOT NULL REFERENCES server (id),
    status           TEXT    NOT NULL CHECK (status IN
                         ('Provisioning', 'Ready', 'Active', 'Paused', 'Offered', 'Failed',
                          'Declined', 'Expired', 'Terminated')),
    held_by          TEXT    CHECK (held_by IN ('source', 'target', 'both')), -- whose pause is in force
    held_for_tier    INTEGER NOT NULL DEFAULT 0 CHECK (held_for_tier IN (0, 1)), -- the target's was made by a downgrade
    failure          TEXT,                                               -- why it is Failed
    cut_epoch        INTEGER NOT NULL DEFAULT 0 CHECK (cut_epoch >= 0),  -- rises with every disconnect now
    source_last_name TEXT,                                               -- the names shown after it ended
    target_last_name TEXT,
    created_at       INTEGER NOT NULL,
    changed_at       INTEGER NOT NULL,                                   -- of the status
    first_connected_at INTEGER,                                          -- tunnel first up on both sides
    CHECK ((kind = 'P2P') = (channel_grant IS NOT NULL)),
    CHECK ((kind = 'P2P') = (agreement IS NULL)),
    CHECK ((kind = 'P2P') = (recipient IS NULL)),
    CHECK ((kind = 'P2P') = (expires_at IS NULL)),
    CHECK (kind <> 'P2P' OR status NOT IN ('Offered', 'Declined', 'Expired')),
    CHECK (source_server IS NOT NULL
           OR (kind <> 'P2P' AND status NOT IN ('Ready', 'Active', 'Paused'))),
    CHECK (source_server <> target_server),
    CHECK ((status = 'Paused') = (held_by IS NOT NULL)),
    CHECK (held_for_tier = 0 OR (kind = 'Admin RW' AND coalesce(held_by, '') IN ('target', 'both'))),
    CHECK ((status = 'Failed') = (failure IS NOT NULL)),
    CHECK ((status IN ('Declined', 'Expired', 'Terminated')) = (target_last_name IS NOT NULL)),
    CHECK ((status IN ('Declined', 'Expired', 'Terminated') AND source_server IS NOT NULL)
           = (source_last_name IS NOT NULL))
) STRICT;
INSERT INTO connection VALUES('15639b56-e77e-4caf-a531-e7f03c535ea5','P2P','090d8930-2977-41ce-a44a-1505942fb006',NULL,NULL,NULL,'95384bce-d51e-4637-9608-20b363178e89','8c74b890-536c-421e-9043-fc393738dbfa','Active',NULL,0,NULL,0,NULL,NULL,1795989122215,1795989122223,1795989138099);
INSERT INTO connection VALUES('1752d676-df4e-407d-a432-96b2f81c9b26','P2P','5c61a3c7-3edf-4318-a65e-8efec8994f8c',NULL,NULL,NULL,'0fdd0a87-f1e4-4447-bc82-2c5514979eeb','95384bce-d51e-4637-9608-20b363178e89','Ready',NULL,0,NULL,0,NULL,NULL,1795989165767,1795989165767,NULL);
INSERT INTO connection VALUES('8d7a9591-df0b-488a-b481-f47a7058f723','P2P','95aba3c9-b83b-4d5d-818a-d9d4406925e7',NULL,NULL,NULL,'95384bce-d51e-4637-9608-20b363178e89','8c74b890-536c-421e-9043-fc393738dbfa','Terminated',NULL,0,NULL,1,'Lakeside Mirth','St Mary Mirth',1795989167774,1795989168380,NULL);
INSERT INTO connection VALUES('7fc67f9f-e807-49a9-b6bb-cc5c8386aea4','P2P','27400674-7584-4d01-bc3e-d0706556f1e8',NULL,NULL,NULL,'95384bce-d51e-4637-9608-20b363178e89','8c74b890-536c-421e-9043-fc393738dbfa','Paused','source',0,NULL,0,NULL,NULL,1795989169112,1795989170139,NULL);
INSERT INTO connection VALUES('ccad5260-b189-473b-b196-c00a83107995','Admin RW',NULL,'5e217dae-9e7f-46d1-8bdf-797fefba83cf','4f6b6e78-875d-45c6-8e2a-e339415be77e',1798581170603,'95384bce-d51e-4637-9608-20b363178e89','8c74b890-536c-421e-9043-fc393738dbfa','Paused','target',1,NULL,1,NULL,NULL,1795989170603,1795989200462,NULL);
INSERT INTO connection VALUES('797066f4-279a-4a90-892e-93f985430308','Admin RO',NULL,'5e217dae-9e7f-46d1-8bdf-797fefba83cf','4f6b6e78-875d-45c6-8e2a-e339415be77e',1795992780850,NULL,'8c74b890-536c-421e-9043-fc393738dbfa','Offered',NULL,0,NULL,0,NULL,NULL,1795989180850,1795989180850,NULL);
INSERT INTO connection VALUES('f7d67668-b739-4b43-9185-a79a16351132','Admin RO',NULL,'13f46a7c-fdea-4fb5-8760-573b7f12b2d4','efbb957a-b803-46e0-bb49-d170c1829255',1798581181325,NULL,'95384bce-d51e-4637-9608-20b363178e89','Offered',NULL,0,NULL,0,NULL,NULL,1795989181325,1795989181325,NULL);
INSERT INTO connection VALUES('fa472a4c-aefb-48ba-aef9-202f98c374fd','Admin RO',NULL,'5e217dae-9e7f-46d1-8bdf-797fefba83cf','921ccdc7-4747-4212-8e68-4be77dd0b86a',1798581181588,NULL,'95384bce-d51e-4637-9608-20b363178e89','Declined',NULL,0,NULL,0,NULL,'Lakeside Mirth',1795989181588,1795989181979,NULL);
CREATE TABLE connection_secret (
    connection       TEXT    NOT NULL PRIMARY KEY REFERENCES connection (id),
    epoch            INTEGER NOT NULL CHECK (epoch >= 1),                -- rises with every rotation
    sealed           BLOB    CHECK (length(sealed) = 60),                -- nonce, ciphertext, tag; NULL once deleted
    made_at          INTEGER NOT NULL,
    source_viewed_at INTEGER,                                            -- P2P: one view for each owner
    target_viewed_at INTEGER,
    source_held_at   INTEGER,                                            -- that side's agent has it on disk
    target_held_at   INTEGER
) STRICT;
INSERT INTO connection_secret VALUES('15639b56-e77e-4caf-a531-e7f03c535ea5',1,X'29d7b86f2ab797cd5dc0cf6dbc7797821c49ea892bc797217721d411bad7f53a9da7a3a1d93e585799b9e1687d37fd056da349d38cb7ee46a6068992',1795989122215,NULL,NULL,1795989136459,1795989136482);
INSERT INTO connection_secret VALUES('1752d676-df4e-407d-a432-96b2f81c9b26',1,X'6e78d0e8d24a1b9b8eaf21315816456134dd0b2c77e5e057d22de78e5a209a5599c112884e483a5e1c980628a38ad3581093d5689c7e84c94b83a62a',1795989165767,NULL,NULL,NULL,NULL);
INSERT INTO connection_secret VALUES('8d7a9591-df0b-488a-b481-f47a7058f723',1,NULL,1795989167774,NULL,NULL,NULL,NULL);
INSERT INTO connection_secret VALUES('7fc67f9f-e807-49a9-b6bb-cc5c8386aea4',1,X'410989ddcd5bc66875fe76e96b82479b9a3e2b20b111c593364e9aede5078bc5fdcec24621519627ce5f21808bfc829802bc690087a46abd04a6ce69',1795989169112,1795989170451,NULL,NULL,NULL);
INSERT INTO connection_secret VALUES('ccad5260-b189-473b-b196-c00a83107995',1,X'4ceb62adefe0dcfe28d8e326a767d9356583eb146974a43b01e04451b2517eddc959d2b556b3e59130570459441d53abfdd6cf18b09732c8766baeb1',1795989170603,NULL,NULL,NULL,NULL);
INSERT INTO connection_secret VALUES('797066f4-279a-4a90-892e-93f985430308',1,X'79a6d7fb45202370a8cc25830d49356aa91fb5ea0d492e2585d6a4b1e8c62e2de8fb7d090ebefeb19d87d8a5e485ff9537bfa68fdc6d7a9558bef0e2',1795989180850,NULL,NULL,NULL,NULL);
INSERT INTO connection_secret VALUES('f7d67668-b739-4b43-9185-a79a16351132',1,X'e437cd85a402121843f635998d256df378ec7b7666a5bef20ac04690ae2ca1c8cdbd21dfd93c076c2a1b0ad98ec796465d1f0711008a17e0448b899a',1795989181325,NULL,NULL,NULL,NULL);
INSERT INTO connection_secret VALUES('fa472a4c-aefb-48ba-aef9-202f98c374fd',1,NULL,1795989181588,NULL,NULL,NULL,NULL);
CREATE TABLE secret_view (
    connection   TEXT    NOT NULL REFERENCES connection (id),
    at           INTEGER NOT NULL
) STRICT;
INSERT INTO secret_view VALUES('ccad5260-b189-473b-b196-c00a83107995',1795989180611);
INSERT INTO secret_view VALUES('ccad5260-b189-473b-b196-c00a83107995',1795989180747);
CREATE TABLE build (
    version      TEXT    NOT NULL PRIMARY KEY,                           -- of adit
    schema       INTEGER NOT NULL                                        -- the newest that it knew
) STRICT;
INSERT INTO build VALUES('0.1.0',4);
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
INSERT INTO connection_fact VALUES('15639b56-e77e-4caf-a531-e7f03c535ea5','target','direct',1795989137386,0,1795989137386,NULL);
INSERT INTO connection_fact VALUES('15639b56-e77e-4caf-a531-e7f03c535ea5','source','direct',1795989137389,NULL,NULL,NULL);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('audit',113);
CREATE INDEX revoked_key_by_server ON revoked_key (server);
CREATE UNIQUE INDEX agreement_of_two ON agreement (min(requester, recipient), max(requester, recipient))
    WHERE status IN ('requested', 'live');
CREATE INDEX agreement_by_recipient ON agreement (recipient);
CREATE UNIQUE INDEX channel_grant_living ON channel_grant (channel, holder, coalesce(source_server, ''))
    WHERE status IN ('pending', 'approved');
CREATE INDEX channel_grant_by_holder ON channel_grant (holder);
CREATE INDEX audit_by_organization ON audit (organization, id);
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_never_rewritten BEFORE UPDATE OF id, at, organization, actor, action, object, outcome, detail, bucket ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE INDEX connection_by_source ON connection (source_server);
CREATE INDEX connection_by_target ON connection (target_server);
CREATE UNIQUE INDEX connection_offered_once ON connection (target_server, recipient, kind)
    WHERE status IN ('Provisioning', 'Offered');
CREATE INDEX connection_by_expiry ON connection (expires_at) WHERE status = 'Offered';
CREATE INDEX secret_view_by_connection ON secret_view (connection, at);
COMMIT;
PRAGMA user_version = 4;
PRAGMA application_id = 1633970548;
