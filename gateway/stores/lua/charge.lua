-- Validate subjects and charge limits, for up to 64 requests in one call.
--
-- Laws: the enforced steps of a request are charged all or not at all; shadow steps each alone,
-- in keys of their own; looks change nothing; a stale subject charges nothing; a request that
-- meets a broken key fails alone. All instants are integer microseconds, exact in a double.
--
-- ARGV: now_us (0: this server's clock), has_mode (1: KEYS[1] is the kill switch), entries,
--   then per entry: version ('' skips validation), lease id, steps,
--   then per step: kind (g|c), effect (e|s|l|k), field, amount, ceiling, ttl_us.
-- KEYS: [mode], then per entry: [subject], then one counter key a step (all of one slot).
-- Reply: now_us, mode, then per entry one of
--   {0, applied, allowed, level, allowed, level, …} · {1, subject or false} · {2, message}.

local MAX_FIELDS = 256
local SLACK_MS = 60000
local SECOND_US = 1000000

local now = tonumber(ARGV[1])
if now == 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end

local k, a = 1, 4
local mode = ''
if ARGV[2] == '1' then
  mode = redis.call('GET', KEYS[1]) or ''
  k = 2
end

local function number(text)
  local value = tonumber(text)
  if not value then error('a counter is not a number') end
  return value
end

local function keep(key, wanted_us)
  local wanted_ms = math.ceil(wanted_us / 1000) + SLACK_MS
  if redis.call('PTTL', key) < wanted_ms then
    redis.call('PEXPIRE', key, wanted_ms)
  end
end

-- Forget the fields that have drained: they count for nothing. Where none has, that is noted in
-- the field '~', so that a full hash is looked through once a second at most.
local function make_room(key)
  local tried = tonumber(redis.call('HGET', key, '~') or 0) or 0
  if now >= tried and now - tried < SECOND_US then return false end
  local all, drained = redis.call('HGETALL', key), {}
  for i = 1, #all, 2 do
    if all[i] ~= '~' and (tonumber(all[i + 1]) or 0) <= now then drained[#drained + 1] = all[i] end
  end
  if #drained == 0 then
    redis.call('HSET', key, '~', string.format('%.0f', now))
    return false
  end
  redis.call('HDEL', key, unpack(drained))
  return true
end

-- What callers name beyond MAX_FIELDS live ones shares one field per limit.
local function field_of(key, field)
  local value = redis.call('HGET', key, field)
  if value then return field, number(value) end
  local colon = string.find(field, ':', 1, true)
  if colon and redis.call('HLEN', key) >= MAX_FIELDS and not make_room(key) then
    field = string.sub(field, 1, colon) .. '~'
    value = redis.call('HGET', key, field)
    if value then return field, number(value) end
  end
  return field, 0
end

local function look(step)
  if step.kind == 'c' then
    redis.call('ZREMRANGEBYSCORE', step.key, '-inf', string.format('%.0f', now))
    step.level = redis.call('ZCARD', step.key)
    step.allowed = step.level + step.amount <= step.ceiling
    return
  end
  step.field, step.level = field_of(step.key, step.field)
  local from = step.level > now and step.level or now
  step.advanced = from + step.amount
  step.allowed = step.amount == 0 or step.advanced - now <= step.ceiling
end

local function apply(step, lease)
  if step.amount == 0 then return end
  if step.kind == 'c' then
    local expiry = string.format('%.0f', now + step.ttl)
    for i = 1, step.amount do
      redis.call('ZADD', step.key, expiry, i == 1 and lease or (lease .. ':' .. i))
    end
    step.level = step.level + step.amount
    keep(step.key, step.ttl)
    return
  end
  step.level = step.advanced
  redis.call('HSET', step.key, step.field, string.format('%.0f', step.level))
  keep(step.key, step.level - now > step.ttl and step.level - now or step.ttl)
end

local function charge(entry)
  if entry.version ~= '' then
    local subject = redis.call('GET', entry.subject)
    if not subject then return {1, false} end
    if string.sub(subject, 1, #entry.version + 1) ~= entry.version .. '\n' then
      return {1, subject}
    end
  end
  local passes = true
  for _, step in ipairs(entry.steps) do
    look(step)
    if step.effect == 'e' and not step.allowed then passes = false end
  end
  local reply = {0, passes and 1 or 0}
  for _, step in ipairs(entry.steps) do
    if (step.effect == 'e' and passes) or (step.effect == 's' and step.allowed) then
      apply(step, entry.lease)
    end
    reply[#reply + 1] = step.allowed and 1 or 0
    reply[#reply + 1] = step.level
  end
  return reply
end

local reply = {now, mode}
for _ = 1, tonumber(ARGV[3]) do
  local entry = {version = ARGV[a], lease = ARGV[a + 1], steps = {}}
  local count = tonumber(ARGV[a + 2])
  a = a + 3
  if entry.version ~= '' then
    entry.subject = KEYS[k]
    k = k + 1
  end
  for i = 1, count do
    entry.steps[i] = {
      key = KEYS[k], kind = ARGV[a], effect = ARGV[a + 1], field = ARGV[a + 2],
      amount = tonumber(ARGV[a + 3]), ceiling = tonumber(ARGV[a + 4]), ttl = tonumber(ARGV[a + 5]),
    }
    k, a = k + 1, a + 6
  end
  local ok, result = pcall(charge, entry)
  if ok then
    reply[#reply + 1] = result
  else
    reply[#reply + 1] = {2, type(result) == 'table' and result.err or tostring(result)}
  end
end
return reply
