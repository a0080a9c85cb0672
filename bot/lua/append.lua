#!lua
-- Takes events in. Refused whole by the server when memory is full (no allow-oom flag): intake answers 503.
-- KEYS: one stream per event. ARGV per event: subject, digest, body.
local a = 1
for i = 1, #KEYS do
  redis.call('XADD', KEYS[i], '*', 's', ARGV[a], 'd', ARGV[a + 1], 'b', ARGV[a + 2])
  a = a + 3
end
return #KEYS
