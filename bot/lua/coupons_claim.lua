#!lua flags=allow-oom
-- One coupon for one buyer, exactly within stock and per-buyer limit; a second claim shows the code that still works again.
-- KEYS: camp:{c:KEY}, codes:{c:KEY}, claims:{c:KEY}, open:{c:KEY}, code:{c:KEY}.
-- ARGV: buyer, now, starts, ends, expires, per buyer, a fresh code ('' when the campaign brings its own codes), then ids
-- of buyers that were merged into this one: what they hold counts as the buyer's from here on.
-- Answers {outcome, code, expires}.
local stock = redis.call('HGET', KEYS[1], 'stock')
if not stock then return {'unknown', '', '0'} end
local now = tonumber(ARGV[2])
local codes = cjson.decode(redis.call('HGET', KEYS[3], ARGV[1]) or '[]')
for i = 8, #ARGV do
  local theirs = redis.call('HGET', KEYS[3], ARGV[i])
  if theirs then
    for _, code in ipairs(cjson.decode(theirs)) do
      local state = cjson.decode(redis.call('HGET', KEYS[5], code))
      state.b = ARGV[1]
      redis.call('HSET', KEYS[5], code, cjson.encode(state))
      codes[#codes + 1] = code
    end
    redis.call('HDEL', KEYS[3], ARGV[i])
    redis.call('HSET', KEYS[3], ARGV[1], cjson.encode(codes))
  end
end
local last, expires
for i = #codes, 1, -1 do
  local state = cjson.decode(redis.call('HGET', KEYS[5], codes[i]))
  local until_at = tonumber(state.x)
  if not state.r and (until_at == 0 or until_at > now) then return {'again', codes[i], state.x} end
  if not last then last, expires = codes[i], state.x end
end
-- Used and expired ones count against the limit too.
if #codes >= tonumber(ARGV[6]) then return {'limit', last, expires} end
if now < tonumber(ARGV[3]) then return {'not_started', '', '0'} end
if tonumber(ARGV[4]) > 0 and now >= tonumber(ARGV[4]) then return {'ended', '', '0'} end
local claimed = tonumber(redis.call('HGET', KEYS[1], 'claimed'))
if claimed >= tonumber(stock) then return {'sold_out', '', '0'} end
local code = ARGV[7]
if code == '' then
  code = redis.call('LPOP', KEYS[2])
  if not code then return {'sold_out', '', '0'} end
elseif redis.call('HEXISTS', KEYS[5], code) == 1 then
  return {'retry', '', '0'}
end
codes[#codes + 1] = code
redis.call('HSET', KEYS[3], ARGV[1], cjson.encode(codes))
redis.call('HSET', KEYS[5], code, cjson.encode({b = ARGV[1], x = ARGV[5]}))
redis.call('HINCRBY', KEYS[1], 'claimed', 1)
redis.call('ZADD', KEYS[4], ARGV[2], code)
return {'won', code, ARGV[5]}
