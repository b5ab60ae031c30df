-- Every statement of the server's tables. `-- name: NAME` begins one, as in queries.sql.

-- name: put_routine
INSERT INTO routine (name, version, pushed_at, pushed_by) VALUES (:name, :version, :at, :by)
ON CONFLICT (name) DO UPDATE SET version = excluded.version, pushed_at = excluded.pushed_at, pushed_by = excluded.pushed_by

-- name: put_version
INSERT INTO routine_version (name, version, at, by) VALUES (:name, :version, :at, :by)
ON CONFLICT (name, version) DO UPDATE SET at = excluded.at, by = excluded.by

-- name: get_routine
SELECT name, version, pushed_at, pushed_by, paused_at, paused_by, paused_reason, resumed_at FROM routine WHERE name = ?

-- name: list_routines
SELECT name, version, pushed_at, pushed_by, paused_at, paused_by, paused_reason, resumed_at FROM routine ORDER BY name

-- name: list_versions
SELECT version, at, by FROM routine_version WHERE name = ? ORDER BY at DESC, version

-- name: pause_routine
UPDATE routine SET paused_at = :at, paused_by = :by, paused_reason = :reason WHERE name = :name AND paused_at IS NULL

-- name: resume_routine
UPDATE routine SET paused_at = NULL, paused_by = '', paused_reason = '', resumed_at = :at
WHERE name = :name AND paused_at IS NOT NULL

-- name: queue_key
SELECT run FROM queue WHERE routine = ? AND wish_key = ?

-- name: put_queue
INSERT INTO queue (run, routine, wish_key, priority, places, queued_at, stage, start_at, wake_at)
VALUES (:run, :routine, :key, :priority, :places, :at, :stage, :wake_at, :wake_at)

-- name: active_runs
SELECT run FROM queue INDEXED BY queue_active
WHERE routine = :routine AND stage <> 'done' AND stage IN ('waiting', 'working') LIMIT :limit

-- name: recent_runs
SELECT count(*), min(created_at) FROM run INDEXED BY run_routine
WHERE routine = :routine AND created_at > :since AND execution NOT IN ('refused', 'skipped', 'missed')
  AND json_extract(row, '$.replay_of') IS NULL

-- name: recent_costs
SELECT min(created_at), sum(json_extract(row, '$.usage.cost_usd')), sum(json_extract(row, '$.usage.cost_usd') IS NULL)
FROM run INDEXED BY run_routine
WHERE routine = :routine AND created_at > :since AND execution NOT IN ('refused', 'skipped', 'missed')

-- name: recent_runs_of_all
SELECT count(*), min(created_at) FROM run INDEXED BY run_newest
WHERE created_at > :since AND execution NOT IN ('refused', 'skipped', 'missed')

-- name: last_due
SELECT coalesce(json_extract(row, '$.due'), created_at) FROM run INDEXED BY run_routine
WHERE routine = :routine AND execution NOT IN ('refused', 'skipped', 'missed')
  AND json_extract(row, '$.replay_of') IS NULL ORDER BY created_at DESC, run DESC LIMIT 1

-- name: take
SELECT run, routine, stage, wake_at FROM queue INDEXED BY queue_ready
WHERE wake_at IS NOT NULL AND wake_at <= :now ORDER BY priority DESC, wake_at LIMIT :limit

-- name: look_again
UPDATE queue SET wake_at = ? WHERE run = ?

-- name: next_wake
SELECT min(wake_at) FROM queue INDEXED BY queue_wake WHERE wake_at IS NOT NULL

-- name: wake
UPDATE queue SET wake_at = min(coalesce(wake_at, :at), :at) WHERE run = :run AND stage <> 'done'

-- name: queue_row
SELECT run, routine, stage, wake_at, places, priority, queued_at FROM queue WHERE run = ?

-- name: ahead
SELECT run FROM queue AS other INDEXED BY queue_waiting
WHERE stage = 'waiting' AND start_at <= :now
  AND (priority > :priority OR (priority = :priority AND (queued_at, run) < (:queued_at, :run)))
  AND (SELECT count(*) FROM queue WHERE stage = 'working' AND routine = other.routine) < other.places
ORDER BY priority DESC, queued_at, run LIMIT 1

-- name: working
SELECT coalesce(sum(routine = :routine), 0), count(*) FROM queue INDEXED BY queue_working WHERE stage = 'working'

-- name: set_stage
UPDATE queue SET stage = :stage, wake_at = :wake_at,
  start_at = CASE WHEN :stage = 'waiting' THEN coalesce(:wake_at, start_at) ELSE start_at END
WHERE run = :run AND stage <> 'done'

-- name: held_with_a_place
SELECT run FROM queue AS held INDEXED BY queue_held
WHERE stage = 'waiting' AND wake_at IS NULL
  AND (SELECT count(*) FROM queue WHERE stage = 'working' AND routine = held.routine) < held.places
ORDER BY priority DESC, queued_at LIMIT :limit

-- name: recover_queue
UPDATE queue SET wake_at = :now, stage = CASE stage WHEN 'working' THEN 'waiting' ELSE stage END
WHERE stage = 'working' OR (stage <> 'done' AND wake_at > :now AND stage <> 'settling')
   OR (stage = 'settling' AND wake_at IS NULL)

-- name: put_schedule
INSERT INTO schedule (id, routine, spec, slot, fire_at, after, enabled)
VALUES (:id, :routine, :spec, :slot, :fire_at, :after, :enabled)
ON CONFLICT (id) DO NOTHING

-- name: schedules_of
SELECT id, routine, spec, slot, fire_at, after, enabled FROM schedule WHERE routine = ? ORDER BY id

-- name: drop_schedule
DELETE FROM schedule WHERE id = ?

-- name: due_schedules
SELECT id, routine, spec, slot, fire_at, after, enabled FROM schedule
WHERE enabled = 1 AND fire_at IS NOT NULL AND fire_at <= ? ORDER BY fire_at LIMIT ?

-- name: next_fire
SELECT min(fire_at) FROM schedule WHERE enabled = 1 AND fire_at IS NOT NULL

-- name: advance_schedule
UPDATE schedule SET slot = :slot, fire_at = :fire_at, after = :after WHERE id = :id AND slot IS :before

-- name: put_slot
INSERT INTO slot (schedule, slot, last, slots, routine, kind, reason) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (schedule, slot) DO NOTHING

-- name: open_slots
SELECT schedule, slot, last, slots, routine, kind, reason, run FROM slot WHERE run IS NULL ORDER BY slot LIMIT ?

-- name: close_slot
UPDATE slot SET run = ? WHERE schedule = ? AND slot = ?

-- name: slots_of
SELECT schedule, slot, last, slots, routine, kind, reason, run FROM slot WHERE schedule = ? ORDER BY slot DESC LIMIT ?

-- name: enable_schedules
UPDATE schedule SET enabled = :enabled WHERE routine = :routine

-- name: all_schedules
SELECT id, routine, spec, slot, fire_at, after, enabled FROM schedule WHERE id > ? ORDER BY id LIMIT ?

-- name: get_note
SELECT value FROM server_note WHERE name = ?

-- name: put_note
INSERT INTO server_note (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value
