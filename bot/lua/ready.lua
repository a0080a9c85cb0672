#!lua flags=allow-oom
-- Which sending lanes of owned partitions hold something: catches what became ready while another process settled it.
-- KEYS: lease:{p} … ARGV: number of accounts, accounts…, one tag per key. Answers {key index, account, lane} each.
local n = tonumber(ARGV[1])
local out = {}
for k = 1, #KEYS do
  for i = 1, n do
    for _, lane in ipairs({'hi', 'lo'}) do
      if redis.call('EXISTS', 'ready:' .. ARGV[1 + n + k] .. ':' .. ARGV[1 + i] .. ':' .. lane) == 1 then
        out[#out + 1] = {k, ARGV[1 + i], lane}
      end
    end
  end
end
return out
