#!lua flags=allow-oom
-- Reads work of owned partitions together with the records that it is about.
-- KEYS: lease:{p} … ARGV: inbox limit, bulk limit, then per key: tag, fence, inbox id, bulk id, number of days with
-- digests, days….
-- The ids taken are marked in the lease: if this owner dies, the next one runs exactly these one at a time (poison).
-- Answers {entries, records}: entry {key index, lane, id, subject, digest, seen, body, timer, due}; record {index, subject, body}.
local limit = {i = tonumber(ARGV[1]), b = tonumber(ARGV[2])}
local a = 2
local entries, records, have = {}, {}, {}
local stream = {i = 'inbox:', b = 'bulk:'}
for k = 1, #KEYS do
  local tag, fence = ARGV[a + 1], ARGV[a + 2]
  local cursor = {i = ARGV[a + 3], b = ARGV[a + 4]}
  local ndays = tonumber(ARGV[a + 5])
  local first = a + 5
  a = a + 5 + ndays
  if redis.call('HGET', KEYS[k], 'f') == fence then
    for _, lane in ipairs({'i', 'b'}) do
      if limit[lane] > 0 then
        local found = redis.call('XRANGE', stream[lane] .. tag, '(' .. cursor[lane], '+', 'COUNT', limit[lane])
        for _, e in ipairs(found) do
          local f = {}
          for j = 1, #e[2], 2 do f[e[2][j]] = e[2][j + 1] end
          local seen = 0
          if f.d and f.d ~= '' then
            for d = 1, ndays do
              if redis.call('SISMEMBER', 'seen:' .. tag .. ':' .. ARGV[first + d], f.d) == 1 then seen = 1 break end
            end
          end
          entries[#entries + 1] = {k, lane, e[1], f.s or '', f.d or '', seen, f.b or '', f.t or '', f.u or ''}
          local rec = 'rec:' .. tag .. ':' .. (f.s or '')
          if not have[rec] then
            have[rec] = true
            records[#records + 1] = {k, f.s or '', redis.call('GET', rec) or ''}
          end
        end
        if #found > 0 then
          limit[lane] = limit[lane] - #found
          redis.call('HSET', KEYS[k], lane, found[#found][1])
        end
      end
    end
  end
end
return {entries, records}
