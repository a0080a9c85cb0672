#!lua flags=allow-oom
-- After a cancel: some of the messages of a partition, from an offset by creation; what is queued is skipped. What waits for
-- its hour is the buyer's record's business, and so is what a merge took along to another record.
-- KEYS: msgs:{p}. ARGV: tag, broadcast, created at or after, offset, at most, now (virtual).
-- Answers {next offset (-1: the end), ids of messages that wait for their hour…}.
--@shared tally
local tag, offset, most = ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5])
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[3], '+inf', 'LIMIT', offset, most)
local out = {#ids < most and -1 or offset + #ids}
for _, id in ipairs(ids) do
  local key = 'msg:' .. tag .. ':' .. id
  local v = redis.call('HMGET', key, 's', 'bc', 'a', 'r', 'h', 'doubts')
  if v[2] and broadcast_of(v[2]) == ARGV[2] then
    if (v[1] == 'queued' and v[3] == '') or (v[1] == 'skipped' and v[4] == 'merged') then
      out[#out + 1] = id
    elseif v[1] == 'queued' then
      local state = v[6] and 'in_doubt' or 'skipped' -- an earlier call may have been taken
      tally(tag, v[2], v[1], v[3], v[4], state, v[3], 'cancelled')
      redis.call('HSET', key, 's', state, 'r', 'cancelled', 'u', ARGV[6], 'h', (v[5] or '') .. state .. ' ' .. ARGV[6] .. ' cancelled\n')
      tell(tag, id, state, ARGV[6], 'cancelled')
    end
  end
end
return out
