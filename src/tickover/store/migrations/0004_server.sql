-- What the server keeps beside the journal: pushed routines, the queue of runs, schedules and the slots they fired.

CREATE TABLE routine (
  name          TEXT NOT NULL PRIMARY KEY,
  version       TEXT NOT NULL,            -- digest of what was pushed: a folder below DATA/routines/NAME/
  pushed_at     REAL NOT NULL,
  pushed_by     TEXT NOT NULL,
  paused_at     REAL,                     -- NULL: it may start
  paused_by     TEXT NOT NULL DEFAULT '',
  paused_reason TEXT NOT NULL DEFAULT '',
  resumed_at    REAL NOT NULL DEFAULT 0   -- failures of runs made before it are forgiven
) WITHOUT ROWID;

CREATE TABLE routine_version (
  name    TEXT NOT NULL,
  version TEXT NOT NULL,
  at      REAL NOT NULL,
  by      TEXT NOT NULL,
  PRIMARY KEY (name, version)
) WITHOUT ROWID;

-- One row per run of the server; its facts stand in the journal. `stage`: waiting, working, settling, done.
CREATE TABLE queue (
  run       TEXT    NOT NULL PRIMARY KEY,
  routine   TEXT    NOT NULL,
  wish_key  TEXT,                         -- the same routine and key is the same run
  priority  INTEGER NOT NULL,
  places    INTEGER NOT NULL,             -- `limits.concurrent` of its routine
  queued_at REAL    NOT NULL,
  stage     TEXT    NOT NULL,
  start_at  REAL    NOT NULL,             -- from when on it may take a place
  wake_at   REAL                          -- when an engine looks at it next; NULL: when it is woken
) WITHOUT ROWID;
CREATE UNIQUE INDEX queue_key    ON queue (routine, wish_key) WHERE wish_key IS NOT NULL;
CREATE INDEX queue_wake          ON queue (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX queue_ready         ON queue (priority DESC, wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX queue_waiting       ON queue (priority DESC, queued_at, run) WHERE stage = 'waiting';
CREATE INDEX queue_held          ON queue (priority DESC, queued_at) WHERE stage = 'waiting' AND wake_at IS NULL;
CREATE INDEX queue_active        ON queue (routine, stage) WHERE stage <> 'done';
CREATE INDEX queue_working       ON queue (stage) WHERE stage = 'working';

-- The next slot of each schedule stands here before its time comes, so that a missed one is a fact.
CREATE TABLE schedule (
  id        TEXT    NOT NULL PRIMARY KEY, -- ROUTINE#INDEX-DIGEST of the trigger
  routine   TEXT    NOT NULL,
  spec      TEXT    NOT NULL,             -- the trigger as JSON
  slot      REAL,                         -- the next slot, UTC seconds; NULL: there is none
  fire_at   REAL,                         -- slot + stagger
  after     REAL    NOT NULL,             -- the slot was looked for from here
  enabled   INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;
CREATE INDEX schedule_due     ON schedule (fire_at) WHERE enabled = 1 AND fire_at IS NOT NULL;
CREATE INDEX schedule_routine ON schedule (routine);

-- Every slot whose time came: `fired` (a run is made of it) or `missed` (`slots` of them, from slot to last).
CREATE TABLE slot (
  schedule TEXT    NOT NULL,
  slot     REAL    NOT NULL,
  last     REAL    NOT NULL,
  slots    INTEGER NOT NULL,
  routine  TEXT    NOT NULL,
  kind     TEXT    NOT NULL,
  reason   TEXT    NOT NULL,
  run      TEXT,                          -- NULL: its run is not made yet
  PRIMARY KEY (schedule, slot)
) WITHOUT ROWID;
CREATE INDEX slot_open ON slot (slot) WHERE run IS NULL;

CREATE TABLE server_note (
  name  TEXT NOT NULL PRIMARY KEY,        -- `tzdata`: the release that `schedule.slot` was computed with
  value TEXT NOT NULL
) WITHOUT ROWID;
