#!lua flags=allow-oom
-- Counts one up, also while memory is full: what a turn needs to be finished. KEYS: counter or hash. ARGV: field of the
-- hash, or ''. Answers the count.
if ARGV[1] == '' then return redis.call('INCR', KEYS[1]) end
return redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
