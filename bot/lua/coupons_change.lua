#!lua
-- A campaign's new description, stock and further own codes, unless that is too little for what is claimed already.
-- KEYS: camp:{c:KEY}, codes:{c:KEY}. ARGV: body as it was, new body, new stock, own codes ('1' or '0'), further own codes…
-- Answers {result, number}: 1 done; 0 changed meanwhile; -1 stock below the claims (how many); -2 stock above the codes (how many).
if redis.call('HGET', KEYS[1], 'body') ~= ARGV[1] then return {0, 0} end
local claimed, stock = tonumber(redis.call('HGET', KEYS[1], 'claimed')), tonumber(ARGV[3])
if stock < claimed then return {-1, claimed} end
local codes = claimed + redis.call('LLEN', KEYS[2]) + #ARGV - 4
if ARGV[4] == '1' and stock > codes then return {-2, codes} end
redis.call('HSET', KEYS[1], 'body', ARGV[2], 'stock', ARGV[3])
for i = 5, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[i]) end
return {1, 0}
