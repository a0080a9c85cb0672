#!lua flags=allow-oom
-- Moves what has come due: timers into the bulk lane, waiting messages and addresses back to their queues.
-- KEYS: timers:{p} … ARGV: virtual now, real now, claimed before (sends older than that were left behind), at most per
-- partition, then one tag per key. Answers {timers moved, {index, account, lane …}, {left-behind ids with index}, next due}.
--@shared tally
local vnow, now, left, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local moved, ready, behind = 0, {}, {}
for k = 1, #KEYS do
  local tag = ARGV[4 + k]
  local due = redis.call('ZRANGEBYSCORE', KEYS[k], '-inf', vnow, 'WITHSCORES', 'LIMIT', 0, most)
  for j = 1, #due, 2 do
    local cut = string.find(due[j], '\0', 1, true)
    redis.call('XADD', 'bulk:' .. tag, '*', 's', string.sub(due[j], 1, cut - 1), 't', string.sub(due[j], cut + 1), 'u', due[j + 1])
    redis.call('ZREM', KEYS[k], due[j])
    moved = moved + 1
  end
  local waiting = redis.call('ZRANGEBYSCORE', 'later:' .. tag, '-inf', now, 'LIMIT', 0, most)
  for _, member in ipairs(waiting) do
    redis.call('ZREM', 'later:' .. tag, member)
    local kind, rest = string.sub(member, 1, 1), string.sub(member, 3)
    if kind == 'A' then
      if redis.call('HGET', 'busy:' .. tag, rest) == '~' then
        redis.call('HDEL', 'busy:' .. tag, rest)
        local cut = string.find(rest, '\0', 1, true)
        local account, to = string.sub(rest, 1, cut - 1), string.sub(rest, cut + 1)
        for _, l in ipairs({'hi', 'lo'}) do
          if redis.call('EXISTS', 'q:' .. tag .. ':' .. account .. ':' .. l .. ':' .. to) == 1 then
            redis.call('RPUSH', 'ready:' .. tag .. ':' .. account .. ':' .. l, to)
            ready[#ready + 1] = {k, account, l}
          end
        end
      end
    else
      local key = 'msg:' .. tag .. ':' .. rest
      local v = redis.call('HMGET', key, 's', 'again', 'a', 'to', 'l', 'h', 'bc', 'r')
      if v[2] == '1' and (v[1] == 'queued' or v[1] == 'in_doubt') then
        if v[7] then tally(tag, v[7], v[1], v[3], v[8], 'queued', v[3], '') end
        redis.call('HSET', key, 's', 'queued', 'again', '0', 'u', vnow, 'h', (v[6] or '') .. 'queued ' .. vnow .. ' again\n')
        redis.call('LPUSH', 'q:' .. tag .. ':' .. v[3] .. ':' .. v[5] .. ':' .. v[4], rest)
        if redis.call('HEXISTS', 'busy:' .. tag, v[3] .. '\0' .. v[4]) == 0 then
          redis.call('RPUSH', 'ready:' .. tag .. ':' .. v[3] .. ':' .. v[5], v[4])
          ready[#ready + 1] = {k, v[3], v[5]}
        end
      end
    end
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'sending:' .. tag, '-inf', left, 'LIMIT', 0, most)) do
    behind[#behind + 1] = {k, id}
  end
end
return {moved, ready, behind}
