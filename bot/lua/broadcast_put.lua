#!lua flags=allow-oom
-- Keeps a broadcast's definition if nobody changed it meanwhile, and tells the journal. A kill switch works while memory is full.
-- KEYS: bcasts:{p00}, bclive:{p00}, journal:{p00}, tasks:{p00}. ARGV: id, version that was read (0: it must not exist), new
-- version, body, state ('' when nothing can happen any more), journal entry ('' none), id of a task for staff ('' none), its body.
-- Answers 1, or 0 when it has another version by now.
local kept = redis.call('HGET', KEYS[1], ARGV[1])
local version = kept and string.match(kept, '^%d+') or '0'
if version ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3] .. ' ' .. ARGV[4])
if ARGV[5] == '' then
  redis.call('HDEL', KEYS[2], ARGV[1])
else
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[5] .. ' ' .. ARGV[3])
end
if ARGV[6] ~= '' then redis.call('XADD', KEYS[3], '*', 'k', 'broadcast', 'b', ARGV[6]) end
if ARGV[7] ~= '' then redis.call('HSET', KEYS[4], ARGV[7], ARGV[8]) end
return 1
