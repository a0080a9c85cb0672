#!lua flags=allow-oom
-- Appends relayed mail at its destination, exactly once and in order: `mailseq:{dst}` holds the last number per source.
-- KEYS: one destination stream per mail. ARGV per mail: destination tag, source tag, sequence, subject, digest, body.
local a = 1
local n = 0
for i = 1, #KEYS do
  local tag, src, seq = ARGV[a], ARGV[a + 1], tonumber(ARGV[a + 2])
  if seq > tonumber(redis.call('HGET', 'mailseq:' .. tag, src) or '0') then
    redis.call('XADD', KEYS[i], '*', 's', ARGV[a + 3], 'd', ARGV[a + 4], 'b', ARGV[a + 5])
    redis.call('HSET', 'mailseq:' .. tag, src, seq)
    n = n + 1
  end
  a = a + 6
end
return n
