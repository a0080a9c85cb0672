#!lua
-- A new campaign. KEYS: camp:{c:KEY}, codes:{c:KEY}. ARGV: body, stock, own codes… Answers 0 when the key is taken.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'body', ARGV[1], 'stock', ARGV[2], 'claimed', '0', 'redeemed', '0')
for i = 3, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[i]) end
return 1
