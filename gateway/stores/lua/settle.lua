-- Replace reservations by the truth and free leases, for up to 64 requests in one call.
--
-- Laws: a debit has no limit; a credit is cut to what of its reservation has not drained, and
-- never moves a TAT before now; freeing a lease twice frees it once. A credit given twice would
-- count twice: callers settle at most once and never repeat a settlement that may have arrived.
--
-- ARGV: now_us (0: this server's clock), corrections,
--   then per correction: kind (g|c), field (of a lease: its id), delta_us (of a lease: how many),
--   level_us, ttl_us, then one packed sighting for each exchange that an account's window counts,
--   then 1 where the windows are asked for.
-- KEYS: one counter key a correction, one window key a sighting (all of one slot).
-- Reply: how many could not be applied; where windows are asked for a list that begins with it,
-- and goes on with the new window of each sighting (false where it could not be counted).

local MAX_FIELDS = 256
local SLACK_MS = 60000

local now = tonumber(ARGV[1])
if now == 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end

local function field_of(key, field)
  local value = redis.call('HGET', key, field)
  if value then return field, tonumber(value) end
  local colon = string.find(field, ':', 1, true)
  if colon then
    local shared = string.sub(field, 1, colon) .. '~'
    value = redis.call('HGET', key, shared)
    if value then return shared, tonumber(value) end
    if redis.call('HLEN', key) >= MAX_FIELDS then return shared, 0 end
  end
  return field, 0
end

local function correct(key, field, delta, level, ttl)
  local tat
  field, tat = field_of(key, field)
  local corrected
  if delta >= 0 then
    corrected = (tat > now and tat or now) + delta
  else
    local left = level - now
    if left <= 0 then return end
    local credit = -delta < left and -delta or left
    local floor = tat < now and tat or now
    corrected = tat - credit > floor and tat - credit or floor
  end
  if corrected <= 0 then return end
  redis.call('HSET', key, field, string.format('%.0f', corrected))
  local wanted = corrected - now > ttl and corrected - now or ttl
  local wanted_ms = math.ceil(wanted / 1000) + SLACK_MS
  if redis.call('PTTL', key) < wanted_ms then
    redis.call('PEXPIRE', key, wanted_ms)
  end
end

local function free(key, lease, count)
  for i = 1, count do
    redis.call('ZREM', key, i == 1 and lease or (lease .. ':' .. i))
  end
end

local corrections = tonumber(ARGV[2])
local failed = 0
for i = 1, corrections do
  local a = 3 + (i - 1) * 5
  local ok
  if ARGV[a] == 'c' then
    ok = pcall(free, KEYS[i], ARGV[a + 1], tonumber(ARGV[a + 2]))
  else
    ok = pcall(correct, KEYS[i], ARGV[a + 1], tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3]),
      tonumber(ARGV[a + 4]))
  end
  if not ok then failed = failed + 1 end
end
local windows, behind = {0}, 2 + 4 * corrections
for i = corrections + 1, #KEYS do
  local ok, window = pcall(see, KEYS[i], ARGV[behind + i], floor(now / 1000000))
  if not ok then failed = failed + 1 end
  windows[#windows + 1] = ok and window
end
if #ARGV == behind + #KEYS then return failed end
windows[1] = failed
return windows
