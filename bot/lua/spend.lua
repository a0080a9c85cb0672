#!lua flags=allow-oom
-- What an account spends on texts in a day and in its month, over all processes. Amounts are whole millionths of the currency.
-- A day's hash holds `t` its total, `w` the highest share warned of (80, 100), and per message `m:<id>`: attempt, amount of
-- that attempt, amount kept for earlier attempts whose outcome is unknown, price of a part. A month's holds `t` and `w`.
-- KEYS: day, month, and for `correct` further days with their months. ARGV: what, limit of the day, limit of the month
-- ('' none), price of the cheapest part, then by what:
--   reserve: {id, attempt, amount, price of a part} …  Refuses what would go beyond a limit.
--   settle:  {id, attempt, amount} …                    Amount 0: nothing was accepted.
--   correct: id, parts                                  The provider's count came with a receipt.
-- Answers {day's total, month's total, share newly warned of by day, by month (0 none), refused ids …}.
local what, least = ARGV[1], tonumber(ARGV[4])
local limits = {tonumber(ARGV[2]), tonumber(ARGV[3])}
local function number(n) return string.format('%.0f', n) end
local function total(key) return tonumber(redis.call('HGET', key, 't') or '0') end

local function read(key, id)
  local v = redis.call('HGET', key, 'm:' .. id)
  if not v then return nil end
  local attempt, amount, kept, price = string.match(v, '^(%d+) (%d+) (%d+) (%d+)$')
  return {attempt = attempt, amount = tonumber(amount), kept = tonumber(kept), price = price}
end

local function write(day, month, id, e, change)
  if e.amount + e.kept == 0 then
    redis.call('HDEL', day, 'm:' .. id)
  else
    redis.call('HSET', day, 'm:' .. id, table.concat({e.attempt, number(e.amount), number(e.kept), e.price}, ' '))
  end
  redis.call('HINCRBY', day, 't', number(change))
  redis.call('HINCRBY', month, 't', number(change))
end

local refused, hit = {}, {false, false}
local day, month = KEYS[1], KEYS[2]
if what == 'reserve' then
  for a = 5, #ARGV, 4 do
    local id, attempt, amount = ARGV[a], ARGV[a + 1], tonumber(ARGV[a + 2])
    local e = read(day, id)
    if not e or e.attempt ~= attempt then
      local fits = true
      for i = 1, 2 do
        if limits[i] and total(KEYS[i]) + amount > limits[i] then fits, hit[i] = false, true end
      end
      if fits then
        write(day, month, id, {attempt = attempt, amount = amount, kept = e and e.kept + e.amount or 0, price = ARGV[a + 3]}, amount)
      else
        refused[#refused + 1] = id
      end
    end
  end
elseif what == 'settle' then
  for a = 5, #ARGV, 3 do
    local e = read(day, ARGV[a])
    if e and e.attempt == ARGV[a + 1] then
      local change = tonumber(ARGV[a + 2]) - e.amount
      e.amount = e.amount + change
      write(day, month, ARGV[a], e, change)
    end
  end
else
  for k = 1, #KEYS, 2 do
    local e = read(KEYS[k], ARGV[5])
    if e then
      local change = tonumber(ARGV[6]) * tonumber(e.price) - e.amount
      e.amount = e.amount + change
      write(KEYS[k], KEYS[k + 1], ARGV[5], e, change)
      break
    end
  end
end
local out = {number(total(day)), number(total(month))}
for i = 1, 2 do
  local share = 0
  if limits[i] then
    local spent = total(KEYS[i])
    if hit[i] or limits[i] - spent < least then share = 100 elseif spent * 10 >= limits[i] * 8 then share = 80 end
    if share > tonumber(redis.call('HGET', KEYS[i], 'w') or '0') then
      redis.call('HSET', KEYS[i], 'w', share)
    else
      share = 0
    end
  end
  out[#out + 1] = share
end
for _, id in ipairs(refused) do out[#out + 1] = id end
return out
