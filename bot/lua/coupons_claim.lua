#!lua
-- One coupon for one buyer, exactly within stock and per-buyer limit; a second claim shows the first code again.
-- KEYS: camp:{c:KEY}, codes:{c:KEY}, claims:{c:KEY}, open:{c:KEY}, code:{c:KEY}.
-- ARGV: buyer, now, starts, ends, expires, per buyer, a fresh code ('' when the campaign brings its own codes).
-- Answers {outcome, code, expires}.
local stock = redis.call('HGET', KEYS[1], 'stock')
if not stock then return {'unknown', '', '0'} end
local held = redis.call('HGET', KEYS[3], ARGV[1])
local now = tonumber(ARGV[2])
if held then
  local codes = cjson.decode(held)
  local last = codes[#codes]
  local v = redis.call('HGET', KEYS[5], last)
  local state = v and cjson.decode(v) or {}
  -- Every code handed out counts against the limit; below it an unused one is shown again rather than another given.
  if #codes >= tonumber(ARGV[6]) or not state.r then return {'again', last, state.x or '0'} end
end
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
local codes = held and cjson.decode(held) or {}
codes[#codes + 1] = code
redis.call('HSET', KEYS[3], ARGV[1], cjson.encode(codes))
redis.call('HSET', KEYS[5], code, cjson.encode({b = ARGV[1], x = ARGV[5]}))
redis.call('HINCRBY', KEYS[1], 'claimed', 1)
redis.call('ZADD', KEYS[4], ARGV[2], code)
return {'won', code, ARGV[5]}
