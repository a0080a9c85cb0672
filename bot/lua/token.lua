#!lua flags=allow-oom
-- Shared access tokens. KEYS: token:<key>. ARGV: what, now, then by what:
-- look: failed token. Answers {token, expires} or {'', 0}.
-- lock: owner, lease ms. Answers 1 for the one refresher, else 0.
-- put: owner, token, expires ms. Answers 1, or 0 when the lock is another's by now.
local what, now = ARGV[1], tonumber(ARGV[2])
if what == 'look' then
  local v = redis.call('HMGET', KEYS[1], 'v', 'x')
  if v[1] and v[1] ~= ARGV[3] and tonumber(v[2]) > now then return {v[1], v[2]} end
  return {'', '0'}
elseif what == 'lock' then
  local until_ms = tonumber(redis.call('HGET', KEYS[1], 'lu') or '0')
  if until_ms > now then return 0 end
  redis.call('HSET', KEYS[1], 'lo', ARGV[3], 'lu', string.format('%.0f', now + ARGV[4]))
  return 1
else
  if redis.call('HGET', KEYS[1], 'lo') ~= ARGV[3] then return 0 end
  if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'v', ARGV[4], 'x', ARGV[5]) end
  redis.call('HSET', KEYS[1], 'lu', '0')
  return 1
end
