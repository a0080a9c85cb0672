#!lua
-- Puts the next page of a broadcast's recipients into the bulk lane of their partition and moves its cursor: one step, so that
-- none is planned twice or missed. Refused whole by the server when memory is full (no allow-oom flag): it is tried again.
-- KEYS: lease:{p}, bcast:{p}:id, bulk:{p}. ARGV: fence, cursor as it was read, cursor after this page, '1' when it is the last,
-- the broadcast, number of recipients, then per recipient: subject, encoded event.
-- Answers {result, cursor, length of the lane, messages open}: 1 done, 0 not the owner, 2 the cursor is elsewhere, 3 stopped.
local v = redis.call('HMGET', KEYS[2], 'cur', 'st', 'open', 'end')
local cursor = v[1] or ''
local function answer(result)
  return {result, cursor, redis.call('XLEN', KEYS[3]), tonumber(v[3]) or 0, v[4] or ''}
end
if redis.call('HGET', KEYS[1], 'f') ~= ARGV[1] then return answer(0) end
if v[2] == 'paused' or v[2] == 'cancelled' then return answer(3) end
if cursor ~= ARGV[2] or v[4] then return answer(2) end
local n = tonumber(ARGV[6])
for i = 1, n do
  redis.call('XADD', KEYS[3], '*', 's', ARGV[5 + 2 * i], 'd', '', 'b', ARGV[6 + 2 * i], 'c', ARGV[5])
end
cursor = ARGV[3]
redis.call('HSET', KEYS[2], 'cur', cursor)
if n > 0 then
  redis.call('HINCRBY', KEYS[2], 'planned', n)
  redis.call('HINCRBY', KEYS[2], 'events', n)
end
if ARGV[4] == '1' then
  redis.call('HSET', KEYS[2], 'end', '1')
  v[4] = '1'
end
return answer(1)
