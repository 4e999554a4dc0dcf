-- People: who acts for an organization, and how they prove it.
ALTER TABLE organization ADD COLUMN needs_second_factor INTEGER NOT NULL DEFAULT 0 CHECK (needs_second_factor IN (0, 1)); -- of users with a password
-- A deleted row stays for what ended connections tell; its name, which becomes its id, is free again.
ALTER TABLE server ADD COLUMN deleted_at INTEGER;
ALTER TABLE channel ADD COLUMN deleted_at INTEGER;
ALTER TABLE channel ADD COLUMN last_name TEXT;                            -- what it was called before it was deleted
-- An ended connection tells what its channel was called then.
ALTER TABLE connection ADD COLUMN channel_last_name TEXT;
UPDATE connection SET channel_last_name = (
    SELECT h.name FROM channel_grant g JOIN channel h ON h.id = g.channel WHERE g.id = connection.channel_grant)
    WHERE status IN ('Declined', 'Expired', 'Terminated');
CREATE INDEX channel_grant_by_agreement ON channel_grant (agreement);
CREATE INDEX channel_grant_by_source ON channel_grant (source_server) WHERE source_server IS NOT NULL;
CREATE INDEX connection_by_agreement ON connection (agreement) WHERE agreement IS NOT NULL;
-- The log is read by when things were written, and the history of one thing by its name there.
DROP INDEX audit_by_organization;
CREATE INDEX audit_by_organization ON audit (organization, at, id);
CREATE INDEX audit_by_time ON audit (at, id);
CREATE INDEX audit_by_object ON audit (object, at, id);

-- A person who acts for one organization. "user" is a word of SQL's own.
CREATE TABLE user_account (
    id             TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    organization   TEXT    NOT NULL REFERENCES organization (id),
    name           TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    email          TEXT    NOT NULL CHECK (length(email) BETWEEN 3 AND 254), -- in lower case; signs in with it
    role           TEXT    NOT NULL CHECK (length(role) BETWEEN 1 AND 24),
    password       TEXT,                                                 -- argon2id as a PHC string; NULL: none
    subject        TEXT    CHECK (length(subject) BETWEEN 1 AND 255),    -- who it is at the organization's provider
    totp_sealed    BLOB,                                                 -- the second factor's seed
    totp_since     INTEGER,                                              -- NULL while it is being set up
    totp_step      INTEGER,                                              -- of the code that was used last
    created_at     INTEGER NOT NULL,
    changed_at     INTEGER NOT NULL,
    disabled_at    INTEGER,
    signed_in_at   INTEGER,                                              -- last
    devices_made   INTEGER NOT NULL DEFAULT 0,                           -- browsers that are known again, as numbered
    devices_void   INTEGER NOT NULL DEFAULT 0,                           -- those up to this one are known no more
    UNIQUE (organization, email),
    CHECK (totp_sealed IS NOT NULL OR totp_since IS NULL)
) STRICT;
CREATE UNIQUE INDEX user_account_by_subject ON user_account (organization, subject) WHERE subject IS NOT NULL;
CREATE INDEX user_account_by_lower_name ON user_account (organization, lower(name), id);

-- Used when there is no second factor at hand; each once.
CREATE TABLE recovery_code (
    account        TEXT    NOT NULL REFERENCES user_account (id),
    hash           BLOB    NOT NULL CHECK (length(hash) = 32),           -- SHA-256; the code itself is nowhere
    used_at        INTEGER,
    PRIMARY KEY (account, hash)
) STRICT;

-- A link that makes somebody a user, or lets one who is one set a password anew.
CREATE TABLE invitation (
    id             TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    organization   TEXT    NOT NULL REFERENCES organization (id),
    account        TEXT    REFERENCES user_account (id),                 -- whose password is set anew; NULL: a newcomer's
    email          TEXT    NOT NULL CHECK (length(email) BETWEEN 3 AND 254),
    role           TEXT    NOT NULL CHECK (length(role) BETWEEN 1 AND 24),
    hash           BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),    -- SHA-256; the token itself is nowhere
    invited_by     TEXT    NOT NULL,                                     -- as that organization may know
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    accepted_at    INTEGER,
    revoked_at     INTEGER,
    CHECK (accepted_at IS NULL OR revoked_at IS NULL)
) STRICT;
CREATE UNIQUE INDEX invitation_open ON invitation (organization, email)
    WHERE accepted_at IS NULL AND revoked_at IS NULL;
CREATE INDEX invitation_by_age ON invitation (organization, created_at, id);

-- Who is signed in, by the hash of what their browser keeps.
CREATE TABLE user_session (
    id             TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    account        TEXT    NOT NULL REFERENCES user_account (id),
    hash           BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
    is_whole       INTEGER NOT NULL CHECK (is_whole IN (0, 1)),          -- all factors are shown
    created_at     INTEGER NOT NULL,
    seen_at        INTEGER NOT NULL,                                     -- about
    expires_at     INTEGER NOT NULL,                                     -- whatever is done with it
    address        TEXT    NOT NULL CHECK (length(address) <= 64),       -- signed in from
    agent          TEXT    NOT NULL CHECK (length(agent) <= 200)         -- what the browser calls itself
) STRICT;
CREATE INDEX user_session_by_account ON user_session (account);
CREATE INDEX user_session_by_expiry ON user_session (expires_at);

-- What programs of a user show.
CREATE TABLE api_token (
    id             TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    account        TEXT    NOT NULL REFERENCES user_account (id),
    name           TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    hash           BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
    role           TEXT    NOT NULL CHECK (length(role) BETWEEN 1 AND 24), -- at most this one
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    used_at        INTEGER,                                              -- last, about
    revoked_at     INTEGER
) STRICT;
CREATE INDEX api_token_by_account ON api_token (account);

-- Where an organization's users sign in (OpenID Connect Core 1.0).
CREATE TABLE identity_provider (
    organization   TEXT    NOT NULL PRIMARY KEY REFERENCES organization (id),
    issuer         TEXT    NOT NULL CHECK (length(issuer) BETWEEN 1 AND 500),
    client_id      TEXT    NOT NULL CHECK (length(client_id) BETWEEN 1 AND 255),
    client_secret_sealed BLOB,
    role_claim     TEXT    NOT NULL CHECK (length(role_claim) BETWEEN 1 AND 80),
    owner_value    TEXT    CHECK (length(owner_value) BETWEEN 1 AND 255), -- of the claim; NULL: nobody becomes one
    operator_value TEXT    CHECK (length(operator_value) BETWEEN 1 AND 255),
    auditor_value  TEXT    CHECK (length(auditor_value) BETWEEN 1 AND 255),
    owners_only    INTEGER NOT NULL CHECK (owners_only IN (0, 1)),       -- sign in with a password too
    changed_at     INTEGER NOT NULL
) STRICT;

-- Sign-ins that are under way at a provider; each answer counts once.
CREATE TABLE sign_in_flow (
    state_hash     BLOB    NOT NULL PRIMARY KEY CHECK (length(state_hash) = 32),
    organization   TEXT    NOT NULL REFERENCES organization (id),
    browser_hash   BLOB    NOT NULL CHECK (length(browser_hash) = 32),   -- of the one that began it
    address        TEXT    NOT NULL CHECK (length(address) <= 64),      -- from where; of IPv6 the network
    client_id      TEXT    NOT NULL CHECK (length(client_id) BETWEEN 1 AND 255),
    issuer         TEXT    NOT NULL,                                     -- as it was then
    nonce_hash     BLOB    NOT NULL CHECK (length(nonce_hash) = 32),
    verifier_sealed BLOB   NOT NULL,                                     -- RFC 7636
    go_to          TEXT    NOT NULL CHECK (length(go_to) <= 500),        -- a path of the console
    expires_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX sign_in_flow_by_expiry ON sign_in_flow (expires_at);
CREATE INDEX sign_in_flow_by_address ON sign_in_flow (address);
CREATE INDEX sign_in_flow_by_organization ON sign_in_flow (organization);

-- What was made for which key, for those who ask again because they heard no answer.
CREATE TABLE idempotency_key (
    account        TEXT    NOT NULL REFERENCES user_account (id),
    key            TEXT    NOT NULL CHECK (length(key) BETWEEN 1 AND 100),
    request_hash   BLOB    NOT NULL CHECK (length(request_hash) = 32),
    made           TEXT    NOT NULL CHECK (length(made) <= 80),          -- its id
    at             INTEGER NOT NULL,
    PRIMARY KEY (account, key)
) STRICT;
CREATE INDEX idempotency_key_by_age ON idempotency_key (at);

-- What was measured of each end of a connection, in steps of one minute and of one hour. No reference to the
-- connection: what agents say goes by its age alone, and a row too many must not keep the others from being written.
CREATE TABLE measurement (
    connection     TEXT    NOT NULL CHECK (length(connection) = 36),
    span           TEXT    NOT NULL CHECK (length(span) BETWEEN 1 AND 24),
    at             INTEGER NOT NULL,                                     -- when the step began
    side           TEXT    NOT NULL CHECK (length(side) BETWEEN 1 AND 24),
    sums           BLOB    NOT NULL CHECK (length(sums) <= 2048),        -- numbers behind tags
    PRIMARY KEY (connection, span, at, side)
) STRICT, WITHOUT ROWID;
CREATE INDEX measurement_by_age ON measurement (span, at);

-- That the platform is not here: it has moved away, or its move to here was not finished. No row: it is here.
CREATE TABLE fence (
    one            INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    id             TEXT    NOT NULL CHECK (length(id) = 36),                -- of the move, the same on both sides
    state          TEXT    NOT NULL CHECK (length(state) BETWEEN 1 AND 24),
    place          TEXT    NOT NULL,                                        -- its other side; nothing secret
    at             INTEGER NOT NULL
) STRICT;
PRAGMA user_version = 6;
