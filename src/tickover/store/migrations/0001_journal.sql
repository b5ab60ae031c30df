-- The journal is the truth; `run` is projected from it in the transaction that appends.
PRAGMA application_id = 1414091595;  -- "TICK"

CREATE TABLE journal (
  run     TEXT    NOT NULL,
  seq     INTEGER NOT NULL CHECK (seq > 0),
  at      REAL    NOT NULL,             -- UTC seconds
  attempt INTEGER NOT NULL,
  fence   INTEGER NOT NULL,
  type    TEXT    NOT NULL,
  data    TEXT    NOT NULL,             -- the event without its type: JSON, ASCII
  sealed  INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (run, seq)
) WITHOUT ROWID;                        -- one tree: a run's events lie together, an append dirties one page

CREATE TABLE seal (
  id          INTEGER PRIMARY KEY,
  run         TEXT    NOT NULL,
  seq         INTEGER NOT NULL,
  at          REAL    NOT NULL,
  by          TEXT    NOT NULL,
  reason      TEXT    NOT NULL,
  sha256      TEXT    NOT NULL,         -- of the data that was replaced
  bytes       INTEGER NOT NULL,
  replacement TEXT    NOT NULL
);
CREATE INDEX seal_run ON seal (run, seq);

-- Append-only, against our own mistakes (whoever holds the file can drop a trigger).
CREATE TRIGGER journal_gapless BEFORE INSERT ON journal
WHEN NEW.seq <> 1 + coalesce((SELECT max(seq) FROM journal WHERE run = NEW.run), 0)
BEGIN SELECT RAISE(ABORT, 'journal: seq would leave a gap or replace an event'); END;

CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'journal: append-only'); END;

-- The one way to change a row: its audit row is written first and names the very text that replaces it.
CREATE TRIGGER journal_no_update BEFORE UPDATE ON journal
WHEN NEW.run <> OLD.run OR NEW.seq <> OLD.seq OR NEW.at <> OLD.at OR NEW.attempt <> OLD.attempt
  OR NEW.fence <> OLD.fence OR NEW.type <> OLD.type OR NEW.sealed <> 1
  OR NOT EXISTS (SELECT 1 FROM seal WHERE run = OLD.run AND seq = OLD.seq AND replacement = NEW.data)
BEGIN SELECT RAISE(ABORT, 'journal: append-only'); END;

CREATE TRIGGER seal_no_delete BEFORE DELETE ON seal
BEGIN SELECT RAISE(ABORT, 'seal: append-only'); END;

CREATE TRIGGER seal_no_update BEFORE UPDATE ON seal
BEGIN SELECT RAISE(ABORT, 'seal: append-only'); END;

CREATE TABLE run (
  run         TEXT    NOT NULL PRIMARY KEY,
  seq         INTEGER NOT NULL,         -- of the last event projected, which is the last event
  routine     TEXT,
  execution   TEXT,
  outcome     TEXT,
  created_at  REAL    NOT NULL,
  finished_at REAL,
  row         TEXT    NOT NULL          -- JSON
) WITHOUT ROWID;
CREATE INDEX run_newest     ON run (created_at, run);
CREATE INDEX run_routine    ON run (routine, created_at, run);
CREATE INDEX run_execution  ON run (execution, created_at, run);
CREATE INDEX run_outcome    ON run (outcome, created_at, run);
CREATE INDEX run_unfinished ON run (created_at, run) WHERE finished_at IS NULL;

CREATE TABLE lease (
  run        TEXT    NOT NULL PRIMARY KEY,
  fence      INTEGER NOT NULL,
  owner      TEXT,                      -- NULL: released
  expires_at REAL    NOT NULL
);

CREATE TABLE verifier_record (
  routine     TEXT NOT NULL,
  repo        TEXT NOT NULL,
  last_commit TEXT NOT NULL,
  run         TEXT NOT NULL,
  at          REAL NOT NULL,
  PRIMARY KEY (routine, repo)
);

CREATE TABLE state (
  routine TEXT NOT NULL PRIMARY KEY,
  digest  TEXT NOT NULL,
  run     TEXT NOT NULL,
  at      REAL NOT NULL
);

CREATE TABLE resource (
  kind   TEXT NOT NULL,
  name   TEXT NOT NULL,
  run    TEXT NOT NULL,
  owner  TEXT NOT NULL,
  at     REAL NOT NULL,
  detail TEXT NOT NULL,
  PRIMARY KEY (kind, name)
);
CREATE INDEX resource_run ON resource (run);
