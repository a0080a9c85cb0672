#!lua flags=allow-oom
-- Deletes a value that is still what was read: nothing newer is lost. KEYS: key. ARGV: the value. Answers 1 if it did.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
