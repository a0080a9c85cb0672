#!lua flags=allow-oom
-- A message of an erased buyer keeps its state and loses its words and its address; one still queued is skipped.
-- KEYS: msg:{p}:id. ARGV: tag, id, account, to, body without words, now. Answers 0 while a sender holds it, else 1.
--@shared tally
local key, tag, id, account, to = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local v = redis.call('HMGET', key, 's', 'h', 'bc', 'a', 'r')
if not v[1] then return 1 end
if v[1] == 'sending' then return 0 end
if v[1] == 'queued' then
  if v[3] then tally(tag, v[3], v[1], v[4], v[5], 'skipped', v[4], 'erased') end
  redis.call('HSET', key, 's', 'skipped', 'r', 'erased', 'u', ARGV[6], 'h', (v[2] or '') .. 'skipped ' .. ARGV[6] .. ' erased\n')
  redis.call('XADD', 'journal:' .. tag, '*', 'k', 'status', 'b', cmsgpack.pack({id, 'skipped', tonumber(ARGV[6]), 'erased'}))
end
redis.call('HSET', key, 'b', ARGV[5], 'to', '')
if account ~= '' then
  local address = account .. ':'
  for _, lane in ipairs({'hi', 'lo'}) do
    redis.call('LREM', 'q:' .. tag .. ':' .. address .. lane .. ':' .. to, 0, id)
  end
  redis.call('ZREM', 'unread:' .. tag .. ':' .. address .. to, id)
  redis.call('ZREM', 'later:' .. tag, 'M\0' .. id)
end
return 1
