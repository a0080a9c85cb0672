#!lua
-- Passes over the next page of the recipients whom a cancelled broadcast had not come to: counted as skipped, told in the journal,
-- and its cursor moves, in one step, so that each is told of once. They cost no turn and no message of their own. Refused whole
-- by the server when memory is full (no allow-oom flag): it is tried again; the counts say `skipped` meanwhile all the same.
-- KEYS: lease:{p}, bcast:{p}:id, journal:{p}. ARGV: fence, cursor as it was read, cursor after this page, '1' when it is the last,
-- number of recipients, number of journal entries, these, then per variant: its name ('' none), how many of the page.
-- Answers 1 done, 0 not the owner, 2 the cursor is elsewhere, 3 not cancelled here.
local v = redis.call('HMGET', KEYS[2], 'cur', 'st', 'end')
if redis.call('HGET', KEYS[1], 'f') ~= ARGV[1] then return 0 end
if v[2] ~= 'cancelled' then return 3 end
if (v[1] or '') ~= ARGV[2] or v[3] then return 2 end
local n, entries = tonumber(ARGV[5]), tonumber(ARGV[6])
for i = 1, entries do redis.call('XADD', KEYS[3], '*', 'k', 'unplanned', 'b', ARGV[6 + i]) end
redis.call('HSET', KEYS[2], 'cur', ARGV[3])
if n > 0 then
  for _, name in ipairs({'planned', 'skipped', 'skipped:cancelled', '@|skipped'}) do redis.call('HINCRBY', KEYS[2], name, n) end
  for i = 7 + entries, #ARGV, 2 do
    if ARGV[i] ~= '' then redis.call('HINCRBY', KEYS[2], '=' .. ARGV[i] .. '|skipped', ARGV[i + 1]) end
  end
end
if ARGV[4] == '1' then redis.call('HSET', KEYS[2], 'end', '1') end
return 1
