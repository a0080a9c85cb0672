#!lua flags=allow-oom
-- May a phone code be sent now? Counts it if so. Windows slide: what was let out in the span before now counts, wherever the
-- hour began.
-- KEYS: otp:{codes}. ARGV: what, now ms, then by what:
--   ask:   number, prefix, asker ('' unknown), country, limits: per number in 10 min and a day, per prefix an hour, per asker
--          an hour and a day, per country an hour, all a day; codes of an hour from which on too few proved ones stop the country.
--   prove: country. A code was typed back.
-- Few are counted by their times (n: number, p: prefix, w: asker), many by the sums of this span and the one before (c: country,
-- k: its proved ones, a: all): "span this before".
-- Answers {1, 0, ''} or {0, retry at ms, the counter that is full: n, p, w, c, k, a}.
local key, now = KEYS[1], tonumber(ARGV[2])
local HOUR, DAY = 3600000, 86400000
local function number(n) return string.format('%.0f', n) end

local function times(field)
  local found = {}
  for at in string.gmatch(redis.call('HGET', key, field) or '', '%d+') do
    if tonumber(at) > now - DAY then found[#found + 1] = tonumber(at) end
  end
  return found
end

local function free_at(found, window, limit) -- 0: now; else when the limit-th newest leaves the window
  local nth = found[#found - limit + 1]
  return nth and nth > now - window and nth + window or 0
end

local function sums(field, window)
  local slot, this, before = string.match(redis.call('HGET', key, field) or '', '^(%d+) (%d+) (%d+)$')
  local current = math.floor(now / window)
  slot, this, before = tonumber(slot or '0'), tonumber(this or '0'), tonumber(before or '0')
  if slot == current - 1 then this, before = 0, this elseif slot < current then this, before = 0, 0 end
  return {slot = current, this = this, before = before, now = this + before * (1 - now % window / window)}
end

local function add(field, s)
  redis.call('HSET', key, field, number(s.slot) .. ' ' .. number(s.this + 1) .. ' ' .. number(s.before))
end

if ARGV[1] == 'prove' then
  add('k:' .. ARGV[3], sums('k:' .. ARGV[3], HOUR))
  return {1, '0', ''}
end
local n, p, w, c = 'n:' .. ARGV[3], 'p:' .. ARGV[4], 'w:' .. ARGV[5], 'c:' .. ARGV[6]
local limit = {}
for i = 7, 14 do limit[i - 6] = tonumber(ARGV[i]) end
local by_number, by_prefix, by_asker = times(n), times(p), times(w)
local country, proved, all = sums(c, HOUR), sums('k:' .. ARGV[6], HOUR), sums('a', DAY)
local full = {
  {'n', math.max(free_at(by_number, 600000, limit[1]), free_at(by_number, DAY, limit[2]))},
  {'p', free_at(by_prefix, HOUR, limit[3])},
  {'w', ARGV[5] == '' and 0 or math.max(free_at(by_asker, HOUR, limit[4]), free_at(by_asker, DAY, limit[5]))},
  {'c', country.now + 1 > limit[6] and (country.slot + 1) * HOUR or 0},
  {'k', country.now >= limit[8] and proved.now * 10 < country.now and (country.slot + 1) * HOUR or 0},
  {'a', all.now + 1 > limit[7] and (all.slot + 1) * DAY or 0},
}
for _, one in ipairs(full) do
  if one[2] > 0 then return {0, number(one[2]), one[1]} end
end
for field, found in pairs({[n] = by_number, [p] = by_prefix, [w] = by_asker}) do
  if field ~= 'w:' then
    found[#found + 1] = now
    local kept = {}
    for i = math.max(1, #found - 19), #found do kept[#kept + 1] = number(found[i]) end
    redis.call('HSET', key, field, table.concat(kept, ' '))
  end
end
add(c, country)
add('a', all)
return {1, '0', ''}
