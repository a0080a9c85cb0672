#!lua flags=allow-oom
-- Renews, takes or gives back partitions. Time is the server's own, so that processes need not agree on theirs.
-- KEYS: lease:{p} … ARGV: owner, ttl in ms, most to take, then one letter per key: k keep or take if free, x give back.
-- Answers per key: fence (0: somebody else's), '' or the ids up to which a former owner had taken work.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local out = {}
local room = tonumber(ARGV[3])
for i = 1, #KEYS do
  local v = redis.call('HMGET', KEYS[i], 'o', 'u', 'f', 'i', 'b')
  local until_ms = tonumber(v[2] or '0')
  local mine = v[1] == ARGV[1]
  if ARGV[3 + i] == 'x' then
    if mine then redis.call('HSET', KEYS[i], 'u', '0', 'o', '', 'i', '0', 'b', '0') end
    out[i] = {0, '0', '0'}
  elseif mine and until_ms > now then
    redis.call('HSET', KEYS[i], 'u', string.format('%.0f', now + ARGV[2]))
    out[i] = {tonumber(v[3]), '', ''}
  elseif until_ms > now or room <= 0 then
    -- Beyond any lease: the clock was put back since. Its owner renews it by the new time, or lives no more.
    if until_ms > now + 120000 then redis.call('HSET', KEYS[i], 'u', string.format('%.0f', now + ARGV[2])) end
    out[i] = {0, '', ''}
  else
    room = room - 1
    -- The time is in it, so that it is new even where a fail-over forgot the one before.
    local fence = math.max(tonumber(v[3] or '0') + 1, now)
    redis.call('HSET', KEYS[i], 'o', ARGV[1], 'u', string.format('%.0f', now + ARGV[2]), 'f', string.format('%.0f', fence))
    -- Where it ran out under a living owner (a slow store), nobody died of what it had taken.
    out[i] = mine and {fence, '', ''} or {fence, v[4] or '0', v[5] or '0'}
  end
end
return out
