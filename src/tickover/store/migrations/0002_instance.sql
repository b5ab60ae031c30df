-- What the owner of the instance said: secrets and where they may go, and what routines were granted.

-- Each setting of a secret is a version. Only the newest keeps its value, sealed under the instance's key.
CREATE TABLE secret (
  name       TEXT    NOT NULL,
  version    INTEGER NOT NULL CHECK (version > 0),
  kind       TEXT    NOT NULL,
  binding    TEXT,                      -- JSON: where it may go; NULL: only tickover.yaml says
  sealed     BLOB,                      -- NULL: replaced or removed
  set_at     REAL    NOT NULL,          -- UTC seconds
  set_by     TEXT    NOT NULL,
  removed_at REAL,
  PRIMARY KEY (name, version)
) WITHOUT ROWID;

-- What was granted, item by item; what was taken back stays, with its time.
CREATE TABLE permission_grant (
  id         INTEGER PRIMARY KEY,
  routine    TEXT NOT NULL,
  digest     TEXT NOT NULL,             -- sha256 of `item`
  item       TEXT NOT NULL,             -- canonical JSON
  says       TEXT NOT NULL,             -- as it was read when it was granted
  folder     TEXT NOT NULL,             -- of the routine that asked
  granted_at REAL NOT NULL,
  granted_by TEXT NOT NULL,
  revoked_at REAL,
  revoked_by TEXT
);
CREATE UNIQUE INDEX permission_grant_now ON permission_grant (routine, folder, digest) WHERE revoked_at IS NULL;
