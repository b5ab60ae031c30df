-- Who may call the API, and what was done through it.

CREATE TABLE token (
  id        TEXT NOT NULL PRIMARY KEY,   -- public: it stands in lists, in the audit log, in a run's `by`
  sha256    TEXT NOT NULL UNIQUE,        -- of the secret half, which is 32 random bytes and kept nowhere
  name      TEXT NOT NULL,
  owner     TEXT NOT NULL,               -- person:NAME, team:NAME or service:NAME
  scopes    TEXT NOT NULL,               -- separated by blanks: read, fire:ROUTINE, operate, admin
  created   REAL NOT NULL,
  made_by   TEXT NOT NULL,
  expires   REAL,                        -- UTC seconds; NULL: never
  last_used REAL,                        -- to the minute
  revoked   REAL
);

CREATE TABLE audit (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  at      REAL NOT NULL,
  who     TEXT NOT NULL,                 -- OWNER (token ID), or a name of this machine
  what    TEXT NOT NULL,                 -- token.create, routine.pause, run.cancel ...
  target  TEXT NOT NULL,
  origin  TEXT NOT NULL,                 -- address of the caller, or `command line`
  allowed INTEGER NOT NULL,              -- 0: it was refused
  detail  TEXT NOT NULL                  -- JSON
);
CREATE INDEX audit_at ON audit (at);

CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit: append-only'); END;

CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit: append-only'); END;
