#!lua flags=allow-oom
-- A claim's turn was committed (confirm), or was not (release: the code returns to the stock, unless it was used already).
-- KEYS: camp:{c:KEY}, codes:{c:KEY}, claims:{c:KEY}, open:{c:KEY}, code:{c:KEY}. ARGV: confirm|release|rekey, code, own codes, buyer.
redis.call('ZREM', KEYS[4], ARGV[2])
if ARGV[1] == 'confirm' then return 1 end
local v = redis.call('HGET', KEYS[5], ARGV[2])
if not v then return 0 end
local state = cjson.decode(v)
if ARGV[1] == 'release' and state.r then return 0 end
local held = cjson.decode(redis.call('HGET', KEYS[3], state.b) or '[]')
local rest = {}
for _, code in ipairs(held) do if code ~= ARGV[2] then rest[#rest + 1] = code end end
if #rest == 0 then redis.call('HDEL', KEYS[3], state.b) else redis.call('HSET', KEYS[3], state.b, cjson.encode(rest)) end
if ARGV[1] == 'rekey' then
  local others = cjson.decode(redis.call('HGET', KEYS[3], ARGV[4]) or '[]')
  others[#others + 1] = ARGV[2]
  redis.call('HSET', KEYS[3], ARGV[4], cjson.encode(others))
  state.b = ARGV[4]
  redis.call('HSET', KEYS[5], ARGV[2], cjson.encode(state))
  return 1
end
redis.call('HDEL', KEYS[5], ARGV[2])
redis.call('HINCRBY', KEYS[1], 'claimed', -1)
if ARGV[3] == '1' then redis.call('RPUSH', KEYS[2], ARGV[2]) end
return 1
