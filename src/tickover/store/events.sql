-- Statements of sqlite_events.py.

-- name: put_events
INSERT INTO event (source, provider, delivery, name, received_at, headers, size, body, digest, replay_of)
VALUES /* rows */ ON CONFLICT (source, delivery) DO NOTHING

-- name: last_event
SELECT coalesce(max(n), 0) FROM event

-- name: event_of_delivery
SELECT n FROM event WHERE source = ? AND delivery = ?

-- name: get_event
SELECT n, source, provider, delivery, name, received_at, headers, size, body, digest, replay_of, state
FROM event WHERE n = ?

-- name: list_events
SELECT n, source, provider, delivery, name, received_at, headers, size, NULL, digest, replay_of, state
FROM event WHERE /* filters */ ORDER BY n DESC LIMIT :limit

-- name: pending_events
SELECT n, source, provider, delivery, name, received_at, headers, size, body, digest, replay_of, state
FROM event WHERE state = 'received' ORDER BY n LIMIT ?

-- name: mark_routed
UPDATE event SET state = 'routed', name = coalesce(?, name) WHERE n = ?

-- name: put_routing
INSERT INTO routing (event, target, at, verdict, reason, says, clauses, run, starts_at, subject, depth)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (event, target) DO UPDATE SET at = excluded.at, verdict = excluded.verdict, reason = excluded.reason,
  says = excluded.says, clauses = excluded.clauses, run = excluded.run, starts_at = excluded.starts_at,
  subject = excluded.subject, depth = excluded.depth

-- name: supersede
UPDATE routing SET verdict = 'superseded', reason = ?, says = ?, at = ?
WHERE event = ? AND target = ? AND verdict = 'held'

-- name: routings
SELECT event, target, at, verdict, reason, says, clauses, run, starts_at, subject, depth
FROM routing WHERE event = ? ORDER BY target

-- name: fired_since
SELECT starts_at FROM routing WHERE target = ? AND verdict = 'fired' AND starts_at > ? AND event <> ?
ORDER BY starts_at DESC LIMIT ?

-- name: deepest
SELECT coalesce(max(depth), 0) FROM routing WHERE subject = ? AND at > ? AND depth > 0 AND event <> ?

-- name: hold
INSERT INTO held (target, kind, grp, event, first_at, due_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (target, kind, grp) DO UPDATE SET event = excluded.event, first_at = excluded.first_at,
  due_at = excluded.due_at

-- name: held
SELECT target, kind, grp, event, first_at, due_at FROM held WHERE target = ? AND kind = ? AND grp = ?

-- name: held_of_event
SELECT target, kind, grp, event, first_at, due_at FROM held WHERE event = ? AND target = ?

-- name: due
SELECT target, kind, grp, event, first_at, due_at FROM held WHERE due_at <= ? ORDER BY due_at LIMIT ?

-- name: next_due
SELECT min(due_at) FROM held

-- name: let_go
DELETE FROM held WHERE event = ? AND target = ?

-- name: saw
INSERT INTO seen (target, key, event, at) VALUES (?, ?, ?, ?)
ON CONFLICT (target, key) DO UPDATE SET event = excluded.event, at = excluded.at

-- name: seen
SELECT at FROM seen WHERE target = ? AND key = ? AND event <> ?

-- name: reject
INSERT INTO rejected (source, reason, minute, count, sample) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (source, reason, minute) DO UPDATE SET count = count + excluded.count

-- name: rejections
SELECT source, reason, minute, count, sample FROM rejected ORDER BY minute DESC, source, reason LIMIT ?

-- name: last_received
SELECT max(received_at) FROM event WHERE source = ?

-- name: watch_silence
INSERT INTO silence (target, since) VALUES (?, ?) ON CONFLICT (target) DO NOTHING

-- name: silence
SELECT since, alarmed_at FROM silence WHERE target = ?

-- name: alarm
UPDATE silence SET alarmed_at = ? WHERE target = ?

-- name: purge_bodies
UPDATE event SET body = NULL, digest = NULL WHERE state = 'routed' AND received_at < ?
  AND (body IS NOT NULL OR digest IS NOT NULL) AND n NOT IN (SELECT event FROM held)

-- name: purge_events
DELETE FROM event WHERE state = 'routed' AND received_at < ? AND n NOT IN (SELECT event FROM held)

-- name: purge_routings
DELETE FROM routing WHERE event NOT IN (SELECT n FROM event)

-- name: purge_seen
DELETE FROM seen WHERE at < ?

-- name: purge_rejected
DELETE FROM rejected WHERE minute < ?
