#!lua flags=allow-oom
-- Shared access tokens. KEYS: token:<key>. ARGV: what, now, then by what:
-- get: failed token, owner, lease ms. Answers {token, expires}; {'', 1} makes the caller the one refresher, {'', 0} means
--   that another one is. Looking and locking are one step: between two, a token could come and be fetched again.
-- force: owner, pause ms, most a day. Answers 0 when a forced refresh is allowed (and counted), else ms until it is; -1
--   when the lock is another's by now.
-- put: owner, token, expires ms. Answers 1, or 0 when the lock is another's by now.
local what, now = ARGV[1], tonumber(ARGV[2])
if what == 'get' then
  local v = redis.call('HMGET', KEYS[1], 'v', 'x')
  if v[1] and v[1] ~= ARGV[3] and tonumber(v[2]) > now then return {v[1], v[2]} end
  if tonumber(redis.call('HGET', KEYS[1], 'lu') or '0') > now then return {'', '0'} end
  redis.call('HSET', KEYS[1], 'lo', ARGV[4], 'lu', string.format('%.0f', now + ARGV[5]))
  return {'', '1'}
elseif what == 'force' then
  if redis.call('HGET', KEYS[1], 'lo') ~= ARGV[3] then return -1 end
  local f = redis.call('HMGET', KEYS[1], 'fa', 'fd', 'fn')
  local day = math.floor(now / 86400000)
  local count = tonumber(f[2] or '-1') == day and tonumber(f[3]) or 0
  local wait = (tonumber(f[1] or '0') + tonumber(ARGV[4])) - now
  if wait <= 0 and count >= tonumber(ARGV[5]) then wait = (day + 1) * 86400000 - now end
  if wait > 0 then return string.format('%.0f', wait) end
  redis.call('HSET', KEYS[1], 'fa', string.format('%.0f', now), 'fd', day, 'fn', count + 1)
  return 0
else
  if redis.call('HGET', KEYS[1], 'lo') ~= ARGV[3] then return 0 end
  if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'v', ARGV[4], 'x', ARGV[5]) end
  redis.call('HSET', KEYS[1], 'lu', '0')
  return 1
end
