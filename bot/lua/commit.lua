#!lua flags=allow-oom
-- Commits the turns of a batch: each writes its record, timers, messages, mail, index, tasks, statuses and journal, and
-- deletes its inbox entry, all or nothing. Lua has no rollback, so every argument is walked and checked first.
-- KEYS: lease:{p} … ARGV: today, number of turns, then per key: tag, fence; then per turn a count of its arguments and
--   key index, lane, entry, digest, subject, record ('' unchanged), journal ('' none),
--   n timers   {op, name, due}
--   n messages {id, account, to, lane, state, reason, created, purpose, body, real now to claim it at once or '', bc (of a broadcast) or ''}
--   n mails    {destination tag, subject, digest, body, lane}
--   n index    {field, value ('' removes)}  n tasks    {id, body ('' removes)}
--   n statuses {how, what, state, at, reason, digest of the provider's id, parts ('' unknown)}; how `tally`: moves the counter
--     `state` of the broadcast `what` by `at`
--   n rows     {key of this partition, field, value ('' removes, '+' counts up)}
-- Answers {turns, ids of claimed messages}; per turn {result, mail id, mail sequence, …}: 1 done, 0 refused (run it again),
-- 2 entry gone, 3 repeated, 4 not owner.
--@shared tally
local RANK = {queued = 0, sending = 1, in_doubt = 2, sent = 3, failed = 4, delivered = 5, read = 6, skipped = 7}
local WIDTH = {3, 11, 5, 2, 2, 7, 3}
local today, n = ARGV[1], tonumber(ARGV[2])
local a = 2
local tags, owned = {}, {}
for k = 1, #KEYS do
  tags[k] = ARGV[a + 1]
  owned[k] = redis.call('HGET', KEYS[k], 'f') == ARGV[a + 2]
  a = a + 2
end
local turns = {}
for i = 1, n do
  local size = tonumber(ARGV[a + 1])
  local at = a + 2
  local k = tonumber(ARGV[at])
  if not size or not k or not tags[k] then return redis.error_reply('commit: bad arguments of turn ' .. i) end
  local p = at + 7
  local lists = {}
  for l = 1, #WIDTH do
    local count = tonumber(ARGV[p])
    if not count then return redis.error_reply('commit: bad list ' .. l .. ' of turn ' .. i) end
    lists[l] = {p + 1, count}
    p = p + 1 + count * WIDTH[l]
  end
  if p ~= at + size or p > #ARGV + 1 then return redis.error_reply('commit: arguments of turn ' .. i .. ' do not add up') end
  turns[i] = {k, at, lists}
  a = p - 1
end

local claimed = {}

local function enqueue(tag, m)
  local id, account, to, lane, state = ARGV[m], ARGV[m + 1], ARGV[m + 2], ARGV[m + 3], ARGV[m + 4]
  local key = 'msg:' .. tag .. ':' .. id
  local reason, created, claim, bc = ARGV[m + 5], ARGV[m + 6], ARGV[m + 9], ARGV[m + 10]
  if bc ~= '' then
    if state == 'queued' and account ~= '' and stopped(tag, bc) == 'cancelled' then
      state, reason = 'skipped', 'cancelled'
      tell(tag, id, state, created, reason)
    end
    local was = redis.call('HMGET', key, 's', 'a', 'r')
    tally(tag, bc, was[1], was[2], was[3], state, account, reason)
    redis.call('HSET', key, 'bc', bc)
  end
  local history = state .. ' ' .. created .. ' ' .. reason .. '\n'
  local queue = 'q:' .. tag .. ':' .. account .. ':' .. lane .. ':' .. to
  redis.call('ZADD', 'msgs:' .. tag, created, id)
  -- Where nobody waits before it and its sender has room, the message is claimed here: no queue, no second round trip.
  if claim ~= '' and state == 'queued' and redis.call('EXISTS', queue, 'q:' .. tag .. ':' .. account .. ':hi:' .. to) == 0
    and redis.call('HSETNX', 'busy:' .. tag, account .. '\0' .. to, id) == 1 then
    redis.call('HSET', key, 'b', ARGV[m + 8], 's', 'sending', 't', '1', 'r', reason, 'u', created, 'a', account, 'to', to,
      'l', lane, 'pu', ARGV[m + 7], 'c', created, 'h', history .. 'sending ' .. created .. ' \n')
    redis.call('ZADD', 'sending:' .. tag, claim, id)
    claimed[#claimed + 1] = id
    return
  end
  redis.call('HSET', key, 'b', ARGV[m + 8], 's', state, 't', '0', 'r', reason, 'u', created, 'a', account, 'to', to,
    'l', lane, 'pu', ARGV[m + 7], 'h', history)
  if state == 'queued' and account ~= '' then
    local length = redis.call('RPUSH', queue, id)
    if length == 1 and redis.call('HEXISTS', 'busy:' .. tag, account .. '\0' .. to) == 0 then
      redis.call('RPUSH', 'ready:' .. tag .. ':' .. account .. ':' .. lane, to)
    end
  end
end

-- A message whose row has gone by now still moves in the ledger, and so does a count of parts that comes with no news.
local function advance(tag, id, state, at, reason, parts)
  local key = 'msg:' .. tag .. ':' .. id
  local v = redis.call('HMGET', key, 's', 'h', 'bc', 'a', 'r')
  local moves = v[1] and (RANK[state] or -1) > RANK[v[1]]
  if moves then
    if v[3] then tally(tag, v[3], v[1], v[4], v[5], state, v[4], reason) end
    redis.call('HSET', key, 's', state, 'r', reason, 'u', at, 'h', (v[2] or '') .. state .. ' ' .. at .. ' ' .. reason .. '\n')
  end
  local billed = parts and parts ~= ''
  if billed and v[1] then redis.call('HSET', key, 'p', parts) end
  if moves or billed or (parts and not v[1]) then tell(tag, id, state, at, reason, parts) end
end

-- An echo tells the provider's id of a message whose answer was lost: later receipts name it, or a time after its claim.
local function remember(tag, id, provider, state)
  if provider == '' then return end
  redis.call('HSET', 'pid:' .. tag .. ':' .. today, provider, id)
  local v = redis.call('HMGET', 'msg:' .. tag .. ':' .. id, 'a', 'to', 'c')
  if state == 'sent' and v[3] then
    local wm = 'unread:' .. tag .. ':' .. v[1] .. ':' .. v[2]
    redis.call('ZADD', wm, v[3], id)
    redis.call('PEXPIRE', wm, 777600000) -- see settle.lua
  end
end

local function status(tag, s)
  local how, what, state, at, reason = ARGV[s], ARGV[s + 1], ARGV[s + 2], ARGV[s + 3], ARGV[s + 4]
  if how == 'ref' then
    advance(tag, what, state, at, reason, ARGV[s + 6])
    remember(tag, what, ARGV[s + 5], state)
  elseif how == 'tally' then
    redis.call('HINCRBY', 'bcast:' .. tag .. ':' .. what, state, at)
  elseif how == 'provider' then
    for back = 0, 8 do
      local id = redis.call('HGET', 'pid:' .. tag .. ':' .. (today - back), what)
      if id then advance(tag, id, state, at, reason, ARGV[s + 6]) break end
    end
  else
    local key = 'unread:' .. tag .. ':' .. how
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', what)) do
      -- A report of "delivered" names all up to a time again and again; "read" takes them off the list.
      advance(tag, id, state, at, reason, state == 'read' and '' or nil)
    end
    if state == 'read' then redis.call('ZREMRANGEBYSCORE', key, '-inf', what) end
  end
end

local out, refused = {}, {}
for i = 1, n do
  local k, at, lists = turns[i][1], turns[i][2], turns[i][3]
  local tag = tags[k]
  local stream = (ARGV[at + 1] == 'i' and 'inbox:' or 'bulk:') .. tag
  local entry, digest, subject = ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local record, journal = ARGV[at + 5], ARGV[at + 6]
  local mark = tag .. subject
  if not owned[k] then
    out[i] = {4}
  elseif refused[mark] then
    out[i] = {0}
  elseif entry ~= '' and redis.call('XDEL', stream, entry) == 0 then
    out[i] = {2}
    refused[mark] = true
  elseif digest ~= '' and redis.call('SADD', 'seen:' .. tag .. ':' .. today, digest) == 0 then
    out[i] = {3}
    refused[mark] = true
  else
    local done = {1}
    if record ~= '' then redis.call('SET', 'rec:' .. tag .. ':' .. subject, record) end
    local p = lists[1][1]
    for _ = 1, lists[1][2] do
      if ARGV[p] == '+' then
        redis.call('ZADD', 'timers:' .. tag, ARGV[p + 2], subject .. '\0' .. ARGV[p + 1])
      else
        redis.call('ZREM', 'timers:' .. tag, subject .. '\0' .. ARGV[p + 1])
      end
      p = p + 3
    end
    p = lists[2][1]
    for _ = 1, lists[2][2] do enqueue(tag, p) p = p + 11 end
    p = lists[3][1]
    for _ = 1, lists[3][2] do
      local seq = redis.call('INCR', 'mailn:' .. tag)
      done[#done + 1] = redis.call('XADD', 'mail:' .. tag, '*', 't', ARGV[p], 's', ARGV[p + 1], 'd', ARGV[p + 2], 'b', ARGV[p + 3],
        'l', ARGV[p + 4], 'q', seq)
      done[#done + 1] = seq
      p = p + 5
    end
    p = lists[4][1]
    for _ = 1, lists[4][2] do
      if ARGV[p + 1] == '' then redis.call('HDEL', 'idx:' .. tag, ARGV[p]) else redis.call('HSET', 'idx:' .. tag, ARGV[p], ARGV[p + 1]) end
      p = p + 2
    end
    p = lists[5][1]
    for _ = 1, lists[5][2] do
      if ARGV[p + 1] == '' then redis.call('HDEL', 'tasks:' .. tag, ARGV[p]) else redis.call('HSET', 'tasks:' .. tag, ARGV[p], ARGV[p + 1]) end
      p = p + 2
    end
    p = lists[6][1]
    for _ = 1, lists[6][2] do status(tag, p) p = p + 7 end
    p = lists[7][1]
    for _ = 1, lists[7][2] do
      if ARGV[p + 2] == '' then redis.call('HDEL', ARGV[p], ARGV[p + 1])
      elseif ARGV[p + 2] == '+' then redis.call('HINCRBY', ARGV[p], ARGV[p + 1], 1)
      else redis.call('HSET', ARGV[p], ARGV[p + 1], ARGV[p + 2]) end
      p = p + 3
    end
    if journal ~= '' then redis.call('XADD', 'journal:' .. tag, '*', 'k', 'turn', 'b', journal) end
    out[i] = done
  end
end
return {out, claimed}
