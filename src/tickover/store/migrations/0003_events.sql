-- What came in from outside, why it started what it started, and what was refused at the door.

CREATE TABLE event (
  n           INTEGER PRIMARY KEY AUTOINCREMENT,  -- shown as eN; never used again
  source      TEXT    NOT NULL,         -- the hook it came by: ROUTINE/TRIGGER
  provider    TEXT    NOT NULL,
  delivery    TEXT    NOT NULL,         -- the sender's id, or what stands for it
  name        TEXT    NOT NULL,
  received_at REAL    NOT NULL,         -- UTC seconds
  headers     TEXT    NOT NULL,         -- JSON, the few that are kept
  size        INTEGER NOT NULL,
  body        BLOB,                     -- NULL: in the blob `digest`, or purged
  digest      TEXT,
  replay_of   INTEGER,
  state       TEXT    NOT NULL DEFAULT 'received',  -- then routed: every target has its row in `routing`
  UNIQUE (source, delivery)
);
CREATE INDEX event_received ON event (n) WHERE state = 'received';
CREATE INDEX event_source   ON event (source, received_at);

CREATE TABLE routing (
  event     INTEGER NOT NULL,
  target    TEXT    NOT NULL,           -- ROUTINE/TRIGGER
  at        REAL    NOT NULL,
  verdict   TEXT    NOT NULL,           -- fired filtered duplicate held superseded dropped failed
  reason    TEXT    NOT NULL,           -- a stable word
  says      TEXT    NOT NULL,           -- a sentence
  clauses   TEXT    NOT NULL,           -- JSON: each clause of the filter, its value and its verdict
  run       TEXT,
  starts_at REAL,                       -- of a fired one: when its run may start
  subject   TEXT    NOT NULL,           -- what it was about: a repository; the loop guard counts by it
  depth     INTEGER NOT NULL,           -- how many runs of ours stand behind it
  PRIMARY KEY (event, target)
) WITHOUT ROWID;
CREATE INDEX routing_fired ON routing (target, starts_at) WHERE verdict = 'fired';
CREATE INDEX routing_depth ON routing (subject, at) WHERE depth > 0;

CREATE TABLE held (                     -- a window that is open: the newest event of its group waits in it
  target   TEXT    NOT NULL,
  kind     TEXT    NOT NULL,            -- debounce coalesce
  grp      TEXT    NOT NULL,
  event    INTEGER NOT NULL,
  first_at REAL    NOT NULL,
  due_at   REAL    NOT NULL,
  PRIMARY KEY (target, kind, grp)
) WITHOUT ROWID;
CREATE INDEX held_due ON held (due_at);

CREATE TABLE seen (                     -- keys of `dedup`
  target TEXT    NOT NULL,
  key    TEXT    NOT NULL,
  event  INTEGER NOT NULL,
  at     REAL    NOT NULL,
  PRIMARY KEY (target, key)
) WITHOUT ROWID;
CREATE INDEX seen_at ON seen (at);

CREATE TABLE rejected (                 -- what was refused before it was an event
  source TEXT    NOT NULL,
  reason TEXT    NOT NULL,
  minute INTEGER NOT NULL,              -- UTC seconds / 60
  count  INTEGER NOT NULL,
  sample TEXT    NOT NULL,              -- JSON of the first: names and sizes, no values
  PRIMARY KEY (source, reason, minute)
) WITHOUT ROWID;

CREATE TABLE silence (
  target     TEXT NOT NULL PRIMARY KEY,
  since      REAL NOT NULL,             -- when it began to be watched
  alarmed_at REAL
) WITHOUT ROWID;
