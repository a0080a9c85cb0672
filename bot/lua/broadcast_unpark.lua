#!lua flags=allow-oom
-- A broadcast goes on: its messages that had come to the head of their queues while it was paused stand there again.
-- KEYS: bcast:{p}:id, parked:{p}:id. ARGV: tag, at most. Answers {how many are left, account, lane …} of what became ready.
if redis.call('HGET', KEYS[1], 'st') == 'paused' then return {0} end
local tag, out = ARGV[1], {0}
for _ = 1, tonumber(ARGV[2]) do
  local id = redis.call('LPOP', KEYS[2])
  if not id then break end
  local v = redis.call('HMGET', 'msg:' .. tag .. ':' .. id, 's', 'a', 'to', 'l')
  if v[1] == 'queued' then
    redis.call('LPUSH', 'q:' .. tag .. ':' .. v[2] .. ':' .. v[4] .. ':' .. v[3], id)
    if redis.call('HEXISTS', 'busy:' .. tag, v[2] .. '\0' .. v[3]) == 0 then
      redis.call('RPUSH', 'ready:' .. tag .. ':' .. v[2] .. ':' .. v[4], v[3])
      out[#out + 1] = v[2]
      out[#out + 1] = v[4]
    end
  end
end
out[1] = redis.call('LLEN', KEYS[2])
return out
