#!lua
-- Puts a buried event back into its lane, once. What a broadcast had counted as failed by it is pending again.
-- KEYS: dead:{p}, its lane, bcast:{p}:id of its broadcast (any key of the partition where there is none). ARGV: entry, '1' for a
-- broadcast's, then fields and values. Answers 1, or 0 when the letter is gone.
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
if ARGV[2] == '1' then
  for _, name in ipairs({'failed', 'failed:bug', '@|failed'}) do redis.call('HINCRBY', KEYS[3], name, -1) end
  redis.call('HINCRBY', KEYS[3], 'events', 1)
end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 3))
return 1
