#!lua flags=allow-oom
-- A process says that it lives, also while memory is full. KEYS: procs. ARGV: process, ttl in ms. Answers how many live.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
-- Beyond any lease: the clock was put back since. Whoever lives says so again within a third of a lease.
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%.0f', now + 120000), '+inf')
return redis.call('ZCARD', KEYS[1])
