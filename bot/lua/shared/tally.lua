-- Counters of a broadcast, moved in the step that moves one of its messages: hash bcast:{p}:id. A message's field `bc` is the
-- broadcast, NUL, the variant. `open`: queued or sending. What has ended also counts by reason (skipped, failed), by
-- account (`@`) and by variant (`=`); a failure whose provider told a code, by that as well (`code:`). A deferred message that a merge takes elsewhere is on its way there, not ended.
local function broadcast_of(bc) return string.sub(bc, 1, string.find(bc, '\0', 1, true) - 1) end

local function tally(tag, bc, was, account_was, reason_was, now, account, reason)
  local broadcast = broadcast_of(bc)
  local key, variant = 'bcast:' .. tag .. ':' .. broadcast, string.sub(bc, #broadcast + 2)
  local function add(state, who, why, by)
    if state == 'queued' or state == 'sending' then return redis.call('HINCRBY', key, 'open', by) end
    if state == 'skipped' and why == 'merged' then return redis.call('HINCRBY', key, 'forwarded', by) end
    redis.call('HINCRBY', key, state, by)
    redis.call('HINCRBY', key, '@' .. (who or '') .. '|' .. state, by)
    if variant ~= '' then redis.call('HINCRBY', key, '=' .. variant .. '|' .. state, by) end
    if (state == 'skipped' or state == 'failed') and why and why ~= '' then
      redis.call('HINCRBY', key, state .. ':' .. string.match(why, '^[^:]*'), by)
      if state == 'failed' and string.find(why, ':', 1, true) then redis.call('HINCRBY', key, 'code:' .. why, by) end
    end
  end
  if was == now and reason_was == reason then return end
  if was then add(was, account_was, reason_was, -1) end
  add(now, account, reason, 1)
end

-- Whether a broadcast was stopped here: 'paused', 'cancelled', or anything else that is none of these.
local function stopped(tag, bc) return redis.call('HGET', 'bcast:' .. tag .. ':' .. broadcast_of(bc), 'st') end

local function tell(tag, id, state, at, reason, parts)
  redis.call('XADD', 'journal:' .. tag, '*', 'k', 'status', 'b', cmsgpack.pack({id, state, at, reason, parts}))
end
