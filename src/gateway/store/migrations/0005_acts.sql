-- Which act an entry belongs to, for one whose commit was not answered.
ALTER TABLE audit ADD COLUMN act TEXT;
CREATE INDEX audit_by_act ON audit (act) WHERE act IS NOT NULL;
PRAGMA user_version = 5;
