#!lua flags=allow-oom
-- Deletes mail that was relayed, at its sources. KEYS: mail:{p} per entry. ARGV: one entry per key.
for i = 1, #KEYS do redis.call('XDEL', KEYS[i], ARGV[i]) end
return #KEYS
