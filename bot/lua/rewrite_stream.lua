#!lua flags=allow-oom
-- Writes a stream anew, entry by entry: what was deleted beside entries that stay lies on in its blocks, in memory and in every
-- file that is written of it. KEYS: stream. ARGV: at most so many entries, else it is left alone. Answers 1 if it did.
local most, length = tonumber(ARGV[1]), redis.call('XLEN', KEYS[1])
if length == 0 or length > most then return 0 end
local about, known = redis.call('XINFO', 'STREAM', KEYS[1]), {}
for i = 1, #about, 2 do known[about[i]] = about[i + 1] end
if known['max-deleted-entry-id'] == '0-0' then return 0 end
local entries = redis.call('XRANGE', KEYS[1], '-', '+')
redis.call('DEL', KEYS[1])
for _, entry in ipairs(entries) do redis.call('XADD', KEYS[1], entry[1], unpack(entry[2])) end
redis.call('XSETID', KEYS[1], known['last-generated-id'])
return 1
