#!lua flags=allow-oom
-- Takes a poisoned entry out of its lane into the dead letters, where staff can read and replay it. What a broadcast had planned
-- by it has failed: the entry itself (`c`), one that a link had passed on, or the message that it was the hour of.
-- KEYS: stream, dead:{p}, tries:{p}. ARGV: entry, error, attempts, now, tag, broadcast of an event passed on or '', held message or ''.
--@shared tally
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
if #found == 0 then return '' end
local e, tag, id = found[1][2], ARGV[5], ARGV[7]
for i = 1, #e, 2 do
  if e[i] == 'c' then
    redis.call('HINCRBY', 'bcast:' .. tag .. ':' .. e[i + 1], 'events', -1)
    tally(tag, e[i + 1] .. '\0', nil, nil, nil, 'failed', '', 'bug')
  end
end
if ARGV[6] ~= '' then
  redis.call('HINCRBY', 'bcast:' .. tag .. ':' .. ARGV[6], 'arrived', 1)
  tally(tag, ARGV[6] .. '\0', nil, nil, nil, 'failed', '', 'bug')
end
if id ~= '' then
  local key = 'msg:' .. tag .. ':' .. id
  local v = redis.call('HMGET', key, 's', 'h', 'bc', 'a', 'r')
  if v[1] == 'queued' and v[3] then
    tally(tag, v[3], v[1], v[4], v[5], 'failed', v[4], 'bug')
    redis.call('HSET', key, 's', 'failed', 'r', 'bug', 'u', ARGV[4], 'h', (v[2] or '') .. 'failed ' .. ARGV[4] .. ' bug\n')
    tell(tag, id, 'failed', ARGV[4], 'bug')
  end
end
local letter = redis.call('XADD', KEYS[2], '*', 'k', 'event', 'e', ARGV[2], 'n', ARGV[3], 'at', ARGV[4], unpack(e))
redis.call('XDEL', KEYS[1], ARGV[1])
return letter
