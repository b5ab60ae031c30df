-- Statements of tokens, the audit log and sums over runs.

-- name: add_token
INSERT INTO token (id, sha256, name, owner, scopes, created, made_by, expires)
VALUES (:id, :sha256, :name, :owner, :scopes, :created, :made_by, :expires)

-- name: tokens
SELECT id, sha256, name, owner, scopes, created, made_by, expires, last_used, revoked FROM token ORDER BY created, id

-- name: token
SELECT id, sha256, name, owner, scopes, created, made_by, expires, last_used, revoked FROM token WHERE id = ?

-- name: revoke_token
UPDATE token SET revoked = :now WHERE id = :id AND revoked IS NULL

-- name: touch_token
UPDATE token SET last_used = :now WHERE id = :id AND (last_used IS NULL OR last_used < :now - 60)

-- name: add_audit
INSERT INTO audit (at, who, what, target, origin, allowed, detail) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: audit
SELECT id, at, who, what, target, origin, allowed, detail FROM audit
WHERE (:before IS NULL OR id < :before) ORDER BY id DESC LIMIT :limit

-- name: usage
SELECT coalesce(routine, ''), coalesce(execution, ''), outcome, count(*),
  coalesce(sum(json_extract(row, '$.usage.input_tokens')), 0),
  coalesce(sum(json_extract(row, '$.usage.output_tokens')), 0),
  coalesce(sum(json_extract(row, '$.usage.cost_usd')), 0.0),
  sum(json_extract(row, '$.usage') IS NOT NULL AND json_extract(row, '$.usage.cost_usd') IS NULL)
FROM run WHERE created_at >= ? GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
