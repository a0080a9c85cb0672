#!lua flags=allow-oom
-- GCRA over all processes: how many of the wanted units may go now, and if none, when the next one may.
-- KEYS: rate:<account>. ARGV: wanted, interval per unit in µs, burst in µs, units taken beyond what was given (a text takes
-- its parts). Time is the server's own.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local interval, burst = tonumber(ARGV[2]), tonumber(ARGV[3])
local owed = tonumber(ARGV[4])
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
-- Nobody owes as much: the clock was put back since, and nothing would go until it is there again.
if tat > now + burst + 1000 * interval + 1000000 then tat = now end
tat = tat + owed * interval
local room = math.floor((now + burst - tat) / interval)
local given = math.min(tonumber(ARGV[1]), math.max(room, 0))
if given + owed > 0 then
  redis.call('SET', KEYS[1], string.format('%.0f', tat + given * interval), 'PX', math.ceil((tat + given * interval - now) / 1000) + 1000)
end
if given > 0 then return {given, 0} end
return {0, math.ceil((tat + interval - burst - now) / 1000)}
