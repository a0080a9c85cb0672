#!lua flags=allow-oom
-- May a phone code be sent now? Counts it if so. One key per country keeps the counters of a number together.
-- KEYS: otp:{country}. ARGV: now ms, number, prefix, limits: per number in 10 min, per number a day, per prefix an hour,
-- per country an hour, all a day. Answers {ok 1|0, retry at ms}.
local now = tonumber(ARGV[1])
local windows = {
  {'n:' .. ARGV[2], 600000, tonumber(ARGV[4])},
  {'d:' .. ARGV[2], 86400000, tonumber(ARGV[5])},
  {'p:' .. ARGV[3], 3600000, tonumber(ARGV[6])},
  {'c', 3600000, tonumber(ARGV[7])},
  {'a', 86400000, tonumber(ARGV[8])},
}
local counts = {}
for i, w in ipairs(windows) do
  local slot = math.floor(now / w[2])
  local v = redis.call('HGET', KEYS[1], w[1])
  local s, n = 0, 0
  if v then
    local cut = string.find(v, ' ', 1, true)
    s, n = tonumber(string.sub(v, 1, cut - 1)), tonumber(string.sub(v, cut + 1))
  end
  if s ~= slot then n = 0 end
  if n >= w[3] then return {0, string.format('%.0f', (slot + 1) * w[2])} end
  counts[i] = string.format('%.0f', slot) .. ' ' .. (n + 1)
end
for i, w in ipairs(windows) do redis.call('HSET', KEYS[1], w[1], counts[i]) end
return {1, '0'}
