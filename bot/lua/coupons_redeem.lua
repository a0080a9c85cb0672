#!lua flags=allow-oom
-- Redeems a code for one order. KEYS: camp:{c:KEY}, code:{c:KEY}. ARGV: code, order, now.
-- Answers {outcome, buyer, order}: ok, again (same order), other (another order), expired, unknown.
local v = redis.call('HGET', KEYS[2], ARGV[1])
if not v then return {'unknown', '', ''} end
local state = cjson.decode(v)
if state.r then
  if state.r == ARGV[2] then return {'again', state.b, state.r} end
  return {'other', state.b, state.r}
end
if tonumber(state.x) > 0 and tonumber(state.x) <= tonumber(ARGV[3]) then return {'expired', state.b, ''} end
state.r = ARGV[2]
redis.call('HSET', KEYS[2], ARGV[1], cjson.encode(state))
redis.call('HINCRBY', KEYS[1], 'redeemed', 1)
return {'ok', state.b, ARGV[2]}
