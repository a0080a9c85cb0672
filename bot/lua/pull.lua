#!lua flags=allow-oom
-- Claims messages for sending: one in flight per address. The claim is durable before the provider is called.
-- KEYS: lease:{p} … ARGV: real now, virtual now, number of wishes, per key: tag, fence; per wish: key index, account, lane, at most.
-- Answers {id, attempt, body, key index, attempts not throttled, doubts before} per message.
--@shared tally
local now, vnow, wishes = ARGV[1], ARGV[2], tonumber(ARGV[3])
local a = 3
local tags, owned = {}, {}
for k = 1, #KEYS do
  tags[k] = ARGV[a + 1]
  owned[k] = redis.call('HGET', KEYS[k], 'f') == ARGV[a + 2]
  a = a + 2
end
local out = {}
for _ = 1, wishes do
  local k, account, lane, most = tonumber(ARGV[a + 1]), ARGV[a + 2], ARGV[a + 3], tonumber(ARGV[a + 4])
  a = a + 4
  local tag = tags[k]
  while owned[k] and most > 0 do
    local to = redis.call('LPOP', 'ready:' .. tag .. ':' .. account .. ':' .. lane)
    if not to then break end
    local field = account .. '\0' .. to
    if redis.call('HEXISTS', 'busy:' .. tag, field) == 0 then
      local queue = 'q:' .. tag .. ':' .. account .. ':' .. lane .. ':' .. to
      local id = redis.call('LPOP', queue)
      while id do
        local key = 'msg:' .. tag .. ':' .. id
        local v = redis.call('HMGET', key, 's', 't', 'h', 'b', 'free', 'doubts', 'bc', 'r')
        local halt = v[1] == 'queued' and v[7] and stopped(tag, v[7])
        if halt == 'paused' then
          redis.call('RPUSH', 'parked:' .. tag .. ':' .. broadcast_of(v[7]), id)
        elseif halt == 'cancelled' then
          local state = v[6] and 'in_doubt' or 'skipped' -- an earlier call may have been taken
          tally(tag, v[7], v[1], account, v[8], state, account, halt)
          redis.call('HSET', key, 's', state, 'r', halt, 'u', vnow, 'h', (v[3] or '') .. state .. ' ' .. vnow .. ' ' .. halt .. '\n')
          tell(tag, id, state, vnow, halt)
        elseif v[1] == 'queued' then
          local attempt = (tonumber(v[2]) or 0) + 1
          redis.call('HSET', key, 's', 'sending', 't', attempt, 'u', vnow, 'c', vnow, 'h', (v[3] or '') .. 'sending ' .. vnow .. ' \n')
          redis.call('HSET', 'busy:' .. tag, field, id)
          redis.call('ZADD', 'sending:' .. tag, now, id)
          out[#out + 1] = {id, attempt, v[4], k, attempt - (tonumber(v[5]) or 0), tonumber(v[6]) or 0}
          most = most - 1
          break
        end
        id = redis.call('LPOP', queue)
      end
    end
  end
end
return out
