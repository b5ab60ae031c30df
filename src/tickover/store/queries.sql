-- Every statement of the SQLite store. `-- name: NAME` begins one; database.py reads this file once.

-- name: head
SELECT lease.fence, lease.owner, run.seq, run.row, run.created_at
FROM (SELECT :run AS id) LEFT JOIN lease ON lease.run = id LEFT JOIN run ON run.run = id

-- name: append
INSERT INTO journal (run, seq, at, attempt, fence, type, data) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: read
SELECT run, seq, at, attempt, fence, type, data FROM journal
WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?

-- name: event_data
SELECT data FROM journal WHERE run = ? AND seq = ?

-- name: last_seq
SELECT seq FROM run WHERE run = ?

-- name: put_run
INSERT INTO run (run, seq, routine, execution, outcome, created_at, finished_at, row)
VALUES (:run, :seq, :routine, :execution, :outcome, :created, :finished, :row)
ON CONFLICT (run) DO UPDATE SET seq = excluded.seq, routine = excluded.routine, execution = excluded.execution,
  outcome = excluded.outcome, created_at = excluded.created_at, finished_at = excluded.finished_at,
  row = excluded.row

-- name: update_row
UPDATE run SET seq = :seq, row = :row WHERE run = :run

-- name: get_run
SELECT run, seq, row FROM run WHERE run = ?

-- name: list_runs
SELECT run, seq, row FROM run WHERE /* filters */ ORDER BY created_at DESC, run DESC LIMIT :limit

-- name: add_seal
INSERT INTO seal (run, seq, at, by, reason, sha256, bytes, replacement)
VALUES (:run, :seq, :at, :by, :reason, :sha256, :bytes, :replacement)

-- name: seal
UPDATE journal SET data = ?, sealed = 1 WHERE run = ? AND seq = ?

-- name: seals
SELECT run, seq, at, by, reason, sha256, bytes FROM seal WHERE run = ? ORDER BY id

-- name: acquire
INSERT INTO lease (run, fence, owner, expires_at) VALUES (:run, 1, :owner, :until)
ON CONFLICT (run) DO UPDATE SET fence = fence + 1, owner = excluded.owner, expires_at = excluded.expires_at
WHERE lease.owner IS NULL OR lease.expires_at <= :now OR lease.fence = :dead

-- name: renew
UPDATE lease SET expires_at = :until WHERE run = :run AND fence = :fence AND owner IS NOT NULL

-- name: release
UPDATE lease SET owner = NULL WHERE run = :run AND fence = :fence

-- name: lease
SELECT fence, owner, expires_at FROM lease WHERE run = ?

-- name: last_commits
SELECT repo, last_commit FROM verifier_record WHERE routine = ? ORDER BY repo

-- name: record_commit
INSERT INTO verifier_record (routine, repo, last_commit, run, at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (routine, repo) DO UPDATE SET last_commit = excluded.last_commit, run = excluded.run, at = excluded.at

-- name: state
SELECT routine, digest, run, at FROM state WHERE routine = ?

-- name: put_state
INSERT INTO state (routine, digest, run, at) VALUES (?, ?, ?, ?)
ON CONFLICT (routine) DO UPDATE SET digest = excluded.digest, run = excluded.run, at = excluded.at

-- name: claim
INSERT INTO resource (kind, name, run, owner, at, detail) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (kind, name) DO NOTHING

-- name: claimed_names
SELECT name FROM resource WHERE kind = ?

-- name: release_resource
DELETE FROM resource WHERE kind = ? AND name = ?

-- name: resources
SELECT kind, name, run, owner, at, detail FROM resource
WHERE (:run IS NULL OR run = :run) AND (:kind IS NULL OR kind = :kind) ORDER BY at, kind, name

-- name: secret_newest
SELECT name, version, kind, binding, sealed, set_at, set_by FROM secret WHERE name = ? ORDER BY version DESC LIMIT 1

-- name: secrets
SELECT name, version, kind, binding, sealed, set_at, set_by FROM secret WHERE sealed IS NOT NULL ORDER BY name

-- name: put_secret
INSERT INTO secret (name, version, kind, binding, sealed, set_at, set_by) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: drop_secret
UPDATE secret SET sealed = NULL, removed_at = :at WHERE name = :name AND sealed IS NOT NULL

-- name: granted
SELECT routine, digest, item, says, folder, granted_at, granted_by FROM permission_grant
WHERE routine = ? AND revoked_at IS NULL ORDER BY id

-- name: put_grant
INSERT INTO permission_grant (routine, digest, item, says, folder, granted_at, granted_by) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: revoke_grant
UPDATE permission_grant SET revoked_at = ?, revoked_by = ?
WHERE routine = ? AND folder = ? AND digest = ? AND revoked_at IS NULL
