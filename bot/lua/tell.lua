#!lua flags=allow-oom
-- Sets one field of a hash that stays small, also while memory is full. KEYS: hash. ARGV: field, value.
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
