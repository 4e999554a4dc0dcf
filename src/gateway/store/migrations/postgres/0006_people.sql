-- People: who acts for an organization, and how they prove it.
ALTER TABLE organization ADD COLUMN needs_second_factor BOOLEAN NOT NULL DEFAULT false; -- of users with a password
-- A deleted row stays for what ended connections tell; its name, which becomes its id, is free again.
ALTER TABLE server ADD COLUMN deleted_at BIGINT;
ALTER TABLE channel ADD COLUMN deleted_at BIGINT;
ALTER TABLE channel ADD COLUMN last_name TEXT COLLATE "C";                            -- what it was called before it was deleted
-- An ended connection tells what its channel was called then.
ALTER TABLE connection ADD COLUMN channel_last_name TEXT COLLATE "C";
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
    id             TEXT COLLATE "C"    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    organization   TEXT COLLATE "C"    NOT NULL REFERENCES organization (id),
    name           TEXT COLLATE "C"    NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    email          TEXT COLLATE "C"    NOT NULL CHECK (length(email) BETWEEN 3 AND 254), -- in lower case; signs in with it
    role           TEXT COLLATE "C"    NOT NULL CHECK (length(role) BETWEEN 1 AND 24),
    password       TEXT COLLATE "C",                                                 -- argon2id as a PHC string; NULL: none
    subject        TEXT COLLATE "C"    CHECK (length(subject) BETWEEN 1 AND 255),    -- who it is at the organization's provider
    totp_sealed    BYTEA,                                                 -- the second factor's seed
    totp_since     BIGINT,                                              -- NULL while it is being set up
    totp_step      BIGINT,                                              -- of the code that was used last
    created_at     BIGINT NOT NULL,
    changed_at     BIGINT NOT NULL,
    disabled_at    BIGINT,
    signed_in_at   BIGINT,                                              -- last
    devices_made   BIGINT NOT NULL DEFAULT 0,                           -- browsers that are known again, as numbered
    devices_void   BIGINT NOT NULL DEFAULT 0,                           -- those up to this one are known no more
    UNIQUE (organization, email),
    CHECK (totp_sealed IS NOT NULL OR totp_since IS NULL)
);
CREATE UNIQUE INDEX user_account_by_subject ON user_account (organization, subject) WHERE subject IS NOT NULL;
CREATE INDEX user_account_by_lower_name ON user_account (organization, lower(name), id);

-- Used when there is no second factor at hand; each once.
CREATE TABLE recovery_code (
    account        TEXT COLLATE "C"    NOT NULL REFERENCES user_account (id),
    hash           BYTEA    NOT NULL CHECK (length(hash) = 32),           -- SHA-256; the code itself is nowhere
    used_at        BIGINT,
    PRIMARY KEY (account, hash)
);

-- A link that makes somebody a user, or lets one who is one set a password anew.
CREATE TABLE invitation (
    id             TEXT COLLATE "C"    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    organization   TEXT COLLATE "C"    NOT NULL REFERENCES organization (id),
    account        TEXT COLLATE "C"    REFERENCES user_account (id),                 -- whose password is set anew; NULL: a newcomer's
    email          TEXT COLLATE "C"    NOT NULL CHECK (length(email) BETWEEN 3 AND 254),
    role           TEXT COLLATE "C"    NOT NULL CHECK (length(role) BETWEEN 1 AND 24),
    hash           BYTEA    NOT NULL UNIQUE CHECK (length(hash) = 32),    -- SHA-256; the token itself is nowhere
    invited_by     TEXT COLLATE "C"    NOT NULL,                                     -- as that organization may know
    created_at     BIGINT NOT NULL,
    expires_at     BIGINT NOT NULL,
    accepted_at    BIGINT,
    revoked_at     BIGINT,
    CHECK (accepted_at IS NULL OR revoked_at IS NULL)
);
CREATE UNIQUE INDEX invitation_open ON invitation (organization, email)
    WHERE accepted_at IS NULL AND revoked_at IS NULL;
CREATE INDEX invitation_by_age ON invitation (organization, created_at, id);

-- Who is signed in, by the hash of what their browser keeps.
CREATE TABLE user_session (
    id             TEXT COLLATE "C"    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    account        TEXT COLLATE "C"    NOT NULL REFERENCES user_account (id),
    hash           BYTEA    NOT NULL UNIQUE CHECK (length(hash) = 32),
    is_whole       BOOLEAN NOT NULL,                                     -- all factors are shown
    created_at     BIGINT NOT NULL,
    seen_at        BIGINT NOT NULL,                                     -- about
    expires_at     BIGINT NOT NULL,                                     -- whatever is done with it
    address        TEXT COLLATE "C"    NOT NULL CHECK (length(address) <= 64),       -- signed in from
    agent          TEXT COLLATE "C"    NOT NULL CHECK (length(agent) <= 200)         -- what the browser calls itself
);
CREATE INDEX user_session_by_account ON user_session (account);
CREATE INDEX user_session_by_expiry ON user_session (expires_at);

-- What programs of a user show.
CREATE TABLE api_token (
    id             TEXT COLLATE "C"    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    account        TEXT COLLATE "C"    NOT NULL REFERENCES user_account (id),
    name           TEXT COLLATE "C"    NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    hash           BYTEA    NOT NULL UNIQUE CHECK (length(hash) = 32),
    role           TEXT COLLATE "C"    NOT NULL CHECK (length(role) BETWEEN 1 AND 24), -- at most this one
    created_at     BIGINT NOT NULL,
    expires_at     BIGINT NOT NULL,
    used_at        BIGINT,                                              -- last, about
    revoked_at     BIGINT
);
CREATE INDEX api_token_by_account ON api_token (account);

-- Where an organization's users sign in (OpenID Connect Core 1.0).
CREATE TABLE identity_provider (
    organization   TEXT COLLATE "C"    NOT NULL PRIMARY KEY REFERENCES organization (id),
    issuer         TEXT COLLATE "C"    NOT NULL CHECK (length(issuer) BETWEEN 1 AND 500),
    client_id      TEXT COLLATE "C"    NOT NULL CHECK (length(client_id) BETWEEN 1 AND 255),
    client_secret_sealed BYTEA,
    role_claim     TEXT COLLATE "C"    NOT NULL CHECK (length(role_claim) BETWEEN 1 AND 80),
    owner_value    TEXT COLLATE "C"    CHECK (length(owner_value) BETWEEN 1 AND 255), -- of the claim; NULL: nobody becomes one
    operator_value TEXT COLLATE "C"    CHECK (length(operator_value) BETWEEN 1 AND 255),
    auditor_value  TEXT COLLATE "C"    CHECK (length(auditor_value) BETWEEN 1 AND 255),
    owners_only    BOOLEAN NOT NULL,                                     -- sign in with a password too
    changed_at     BIGINT NOT NULL
);

-- Sign-ins that are under way at a provider; each answer counts once.
CREATE TABLE sign_in_flow (
    state_hash     BYTEA    NOT NULL PRIMARY KEY CHECK (length(state_hash) = 32),
    organization   TEXT COLLATE "C"    NOT NULL REFERENCES organization (id),
    browser_hash   BYTEA    NOT NULL CHECK (length(browser_hash) = 32),   -- of the one that began it
    address        TEXT COLLATE "C"    NOT NULL CHECK (length(address) <= 64),      -- from where; of IPv6 the network
    client_id      TEXT COLLATE "C"    NOT NULL CHECK (length(client_id) BETWEEN 1 AND 255),
    issuer         TEXT COLLATE "C"    NOT NULL,                                     -- as it was then
    nonce_hash     BYTEA    NOT NULL CHECK (length(nonce_hash) = 32),
    verifier_sealed BYTEA   NOT NULL,                                     -- RFC 7636
    go_to          TEXT COLLATE "C"    NOT NULL CHECK (length(go_to) <= 500),        -- a path of the console
    expires_at     BIGINT NOT NULL
);
CREATE INDEX sign_in_flow_by_expiry ON sign_in_flow (expires_at);
CREATE INDEX sign_in_flow_by_address ON sign_in_flow (address);
CREATE INDEX sign_in_flow_by_organization ON sign_in_flow (organization);

-- What was made for which key, for those who ask again because they heard no answer.
CREATE TABLE idempotency_key (
    account        TEXT COLLATE "C"    NOT NULL REFERENCES user_account (id),
    key            TEXT COLLATE "C"    NOT NULL CHECK (length(key) BETWEEN 1 AND 100),
    request_hash   BYTEA    NOT NULL CHECK (length(request_hash) = 32),
    made           TEXT COLLATE "C"    NOT NULL CHECK (length(made) <= 80),          -- its id
    at             BIGINT NOT NULL,
    PRIMARY KEY (account, key)
);
CREATE INDEX idempotency_key_by_age ON idempotency_key (at);

-- What was measured of each end of a connection, in steps of one minute and of one hour. No reference to the
-- connection: what agents say goes by its age alone, and a row too many must not keep the others from being written.
CREATE TABLE measurement (
    connection     TEXT COLLATE "C" NOT NULL CHECK (length(connection) = 36),
    span           TEXT COLLATE "C" NOT NULL CHECK (length(span) BETWEEN 1 AND 24),
    at             BIGINT NOT NULL,                                     -- when the step began
    side           TEXT COLLATE "C" NOT NULL CHECK (length(side) BETWEEN 1 AND 24),
    sums           BYTEA NOT NULL CHECK (length(sums) <= 2048),        -- numbers behind tags
    PRIMARY KEY (connection, span, at, side)
);
CREATE INDEX measurement_by_age ON measurement (span, at);

-- That the platform is not here: it has moved away, or its move to here was not finished. No row: it is here.
CREATE TABLE fence (
    one            BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    id             TEXT COLLATE "C"    NOT NULL CHECK (length(id) = 36),                -- of the move, the same on both sides
    state          TEXT COLLATE "C"    NOT NULL CHECK (length(state) BETWEEN 1 AND 24),
    place          TEXT COLLATE "C"    NOT NULL,                                        -- its other side; nothing secret
    at             BIGINT NOT NULL
);
UPDATE adit_schema SET version = 6;
