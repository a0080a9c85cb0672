#!lua flags=allow-oom
-- Writes what became of provider calls, frees their addresses, and plans another attempt where one is due.
-- KEYS: sending:{p} per item. ARGV: today, then per item: tag, id, attempt, state, reason, provider digest ('' none),
--   again at ('' never; real ms), hold until ('' free now; real ms), watermark ('1': remember as unread), at (virtual ms),
--   journal, parts ('' unknown).
-- state queued with `again` puts a reply back at the head of its queue; a bulk message waits outside it.
-- Answers per item: 1 done, 0 stale attempt; then account, lane where something became ready.
--@shared tally
local RANK = {queued = 0, sending = 1, in_doubt = 2, sent = 3, failed = 4, delivered = 5, read = 6, skipped = 7}
local today = ARGV[1]
local a = 1
local out = {}
for i = 1, #KEYS do
  local tag, id, attempt, state, reason = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5]
  local provider, again, hold = ARGV[a + 6], ARGV[a + 7], ARGV[a + 8]
  local unread, at, journal, parts = ARGV[a + 9], ARGV[a + 10], ARGV[a + 11], ARGV[a + 12]
  a = a + 12
  local key = 'msg:' .. tag .. ':' .. id
  local v = redis.call('HMGET', key, 's', 't', 'h', 'a', 'to', 'l', 'c', 'd', 'bc', 'r', 'doubts')
  local outcome = attempt .. state
  if not v[1] or v[2] ~= attempt then
    out[i] = {0}
  elseif v[8] == outcome then
    out[i] = {1} -- the answer was lost on its way, and the same outcome is told again
  else
    local done = {1}
    local account, to, lane = v[4], v[5], v[6]
    local before = RANK[v[1]]
    redis.call('ZREM', 'sending:' .. tag, id)
    -- A callback may have arrived before our own settlement: it is never taken back.
    local bc = v[9]
    if bc and state == 'queued' then
      if string.sub(reason, 1, 7) == 'account' then redis.call('HINCRBY', 'bcast:' .. tag .. ':' .. broadcast_of(bc), 'refused', 1) end
      if stopped(tag, bc) == 'cancelled' then
        state, reason, again = v[11] and 'in_doubt' or 'skipped', 'cancelled', ''
        tell(tag, id, state, at, reason)
      end
    end
    local backward = (state == 'queued' or state == 'in_doubt') and before <= RANK.in_doubt
    if backward or RANK[state] > before then
      if bc then tally(tag, bc, v[1], account, v[10], state, account, reason) end
      redis.call('HSET', key, 's', state, 'r', reason, 'u', at, 'd', outcome,
        'h', (v[3] or '') .. state .. ' ' .. at .. ' ' .. reason .. '\n')
    else
      redis.call('HSET', key, 'd', outcome)
    end
    if state == 'queued' and reason == 'throttled' then redis.call('HINCRBY', key, 'free', 1) end
    if state == 'in_doubt' then redis.call('HINCRBY', key, 'doubts', 1) end
    if parts ~= '' then redis.call('HSETNX', key, 'p', parts) end -- a receipt's count may have come first
    if provider ~= '' then redis.call('HSET', 'pid:' .. tag .. ':' .. today, provider, id) end
    if unread == '1' then
      local wm = 'unread:' .. tag .. ':' .. account .. ':' .. to
      redis.call('ZADD', wm, v[7] or at, id) -- the claim's time: the provider's own is never before it
      redis.call('ZREMRANGEBYRANK', wm, 0, -51)
      redis.call('PEXPIRE', wm, 777600000) -- 9 days, as provider ids: no receipt comes later
    end
    local settled = before > RANK.in_doubt
    if again ~= '' and not settled then
      if state == 'queued' and lane == 'hi' then
        redis.call('LPUSH', 'q:' .. tag .. ':' .. account .. ':' .. lane .. ':' .. to, id)
        hold = again
      else
        redis.call('HSET', key, 'again', '1')
        redis.call('ZADD', 'later:' .. tag, again, 'M\0' .. id)
      end
    end
    local field = account .. '\0' .. to
    if redis.call('HGET', 'busy:' .. tag, field) == id then
      if hold ~= '' and not settled then
        redis.call('HSET', 'busy:' .. tag, field, '~')
        redis.call('ZADD', 'later:' .. tag, hold, 'A\0' .. field)
      else
        redis.call('HDEL', 'busy:' .. tag, field)
        local queues = 'q:' .. tag .. ':' .. account .. ':'
        if redis.call('EXISTS', queues .. 'hi:' .. to, queues .. 'lo:' .. to) > 0 then
          for _, l in ipairs({'hi', 'lo'}) do
            if redis.call('EXISTS', queues .. l .. ':' .. to) == 1 then
              redis.call('RPUSH', 'ready:' .. tag .. ':' .. account .. ':' .. l, to)
              done[#done + 1] = account
              done[#done + 1] = l
            end
          end
        end
      end
    end
    if journal ~= '' then redis.call('XADD', 'journal:' .. tag, '*', 'k', 'send', 'b', journal) end
    out[i] = done
  end
end
return out
