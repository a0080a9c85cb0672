#!lua flags=allow-oom
-- Tells one partition that a broadcast was paused, goes on or was cancelled: from then on nothing of it is claimed there, or
-- is again. KEYS: bcast:{p}:id. ARGV: state, version. An older version than the one known changes nothing.
if (tonumber(redis.call('HGET', KEYS[1], 'sv')) or 0) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'st', ARGV[1], 'sv', ARGV[2])
return 1
