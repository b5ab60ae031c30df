-- What people are told: a durable outbox, and each attempt to deliver.

CREATE TABLE notice (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  run      TEXT,                        -- NULL: about the routine itself (it was paused)
  routine  TEXT    NOT NULL,
  kinds    TEXT    NOT NULL,            -- failed, verified ... separated by blanks
  cause    TEXT    NOT NULL,            -- notices of one routine and cause are merged; '': never
  target   TEXT    NOT NULL,            -- a name in the instance's `notify`
  created  REAL    NOT NULL,
  body     TEXT    NOT NULL,            -- JSON of core.notice.Notice
  state    TEXT    NOT NULL,            -- waiting, sent, failed, merged
  tries    INTEGER NOT NULL DEFAULT 0,
  next_at  REAL,                        -- UTC seconds of the next attempt, while it waits
  merged   INTEGER,                     -- the notice that speaks for this one
  UNIQUE (run, target)
);
CREATE INDEX notice_due   ON notice (next_at) WHERE state = 'waiting';
CREATE INDEX notice_cause ON notice (routine, cause, target, created);

CREATE TABLE notice_attempt (
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  notice INTEGER NOT NULL,
  at     REAL    NOT NULL,
  ok     INTEGER NOT NULL,
  says   TEXT    NOT NULL
);
CREATE INDEX notice_attempt_of ON notice_attempt (notice, id);

CREATE TRIGGER notice_attempt_no_delete BEFORE DELETE ON notice_attempt
BEGIN SELECT RAISE(ABORT, 'notice_attempt: append-only'); END;

CREATE TRIGGER notice_attempt_no_update BEFORE UPDATE ON notice_attempt
BEGIN SELECT RAISE(ABORT, 'notice_attempt: append-only'); END;

CREATE TABLE noticed_run (              -- ended runs that have been looked at, whether or not anybody was told
  run      TEXT NOT NULL PRIMARY KEY,   -- '': when notices began; what ended before is not told any more
  finished REAL NOT NULL
);
CREATE INDEX noticed_run_finished ON noticed_run (finished);
CREATE INDEX run_finished ON run (finished_at) WHERE finished_at IS NOT NULL;
