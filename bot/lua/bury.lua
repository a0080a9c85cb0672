#!lua flags=allow-oom
-- Takes a poisoned entry out of its lane into the dead letters, where staff can read and replay it.
-- KEYS: stream, dead:{p}, tries:{p}. ARGV: entry, error, attempts, now.
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
if #found == 0 then return '' end
local e = found[1][2]
local id = redis.call('XADD', KEYS[2], '*', 'k', 'event', 'e', ARGV[2], 'n', ARGV[3], 'at', ARGV[4], unpack(e))
redis.call('XDEL', KEYS[1], ARGV[1])
return id
