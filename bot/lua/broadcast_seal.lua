#!lua flags=allow-oom
-- The counters of a broadcast that has long been over become one value, to be added to the broadcast's own sums: what is told of
-- it later counts in the same hash, from nothing. KEYS: bcast:{p}:id. ARGV: a name for what is sealed here, never used before.
-- Answers 1, or 0 where nothing is to be sealed: there is nothing, or what was sealed before has not gone yet.
local found = redis.call('HGETALL', KEYS[1])
local sums = {ARGV[1]}
for i = 1, #found, 2 do
  local name, value = found[i], found[i + 1]
  if name == 'sealed' then return 0 end
  if name ~= 'cur' and name ~= 'st' and name ~= 'sv' and value ~= '0' then
    sums[#sums + 1] = name
    sums[#sums + 1] = value
  end
end
redis.call('DEL', KEYS[1])
if #sums == 1 then return 0 end
redis.call('HSET', KEYS[1], 'sealed', cmsgpack.pack(sums))
return 1
