-- Statements of the outbox.

-- name: begin_notices
INSERT INTO noticed_run (run, finished) VALUES ('', ?) ON CONFLICT (run) DO NOTHING

-- name: notices_begun
SELECT finished FROM noticed_run WHERE run = ''

-- name: last_noticed
SELECT max(finished) FROM noticed_run

-- name: unnoticed
SELECT run FROM run WHERE finished_at >= :since AND outcome IS NOT 'pending' AND run NOT IN (SELECT run FROM noticed_run)
ORDER BY finished_at, run LIMIT :limit

-- name: note_run
INSERT INTO noticed_run (run, finished) VALUES (?, ?) ON CONFLICT (run) DO NOTHING

-- name: speaking_notice
SELECT id, created FROM notice
WHERE routine = :routine AND cause = :cause AND target = :target AND state <> 'merged' ORDER BY created DESC, id DESC LIMIT 1

-- name: merged_into
SELECT count(*) FROM notice WHERE routine = :routine AND cause = :cause AND target = :target AND merged = :id

-- name: add_notice
INSERT INTO notice (run, routine, kinds, cause, target, created, body, state, next_at, merged)
VALUES (:run, :routine, :kinds, :cause, :target, :created, :body, :state, :next_at, :merged)
ON CONFLICT (run, target) DO NOTHING

-- name: due_notices
SELECT id, run, routine, kinds, cause, target, created, body, state, tries, next_at, merged FROM notice
WHERE state = 'waiting' AND next_at <= :now ORDER BY next_at, id LIMIT :limit

-- name: next_notice
SELECT min(next_at) FROM notice WHERE state = 'waiting'

-- name: add_notice_attempt
INSERT INTO notice_attempt (notice, at, ok, says) VALUES (?, ?, ?, ?)

-- name: settle_notice
UPDATE notice SET state = :state, tries = tries + 1, next_at = :next_at WHERE id = :id

-- name: notices
SELECT id, run, routine, kinds, cause, target, created, body, state, tries, next_at, merged FROM notice
WHERE (:before IS NULL OR id < :before) ORDER BY id DESC LIMIT :limit

-- name: notice_attempts
SELECT at, ok, says FROM notice_attempt WHERE notice = ? ORDER BY id
