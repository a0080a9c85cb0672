#!lua flags=allow-oom
-- What was sealed is in the broadcast's own sums by now: it goes. KEYS: bcast:{p}:id. ARGV: its name. Answers 1, or 0 where
-- that is not what lies here.
local sealed = redis.call('HGET', KEYS[1], 'sealed')
if not sealed or cmsgpack.unpack(sealed)[1] ~= ARGV[1] then return 0 end
return redis.call('HDEL', KEYS[1], 'sealed')
