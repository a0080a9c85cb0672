#!lua flags=allow-oom
-- Takes a field of a hash for a value, once: answers whose it is. KEYS: hash. ARGV: field, value.
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
return redis.call('HGET', KEYS[1], ARGV[1])
