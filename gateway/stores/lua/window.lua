-- What one account did of late: the twin of `core/window.py`, number by number, which says what
-- each of them means. Comes before the script that calls `see`; positions count from one here.

local HOUR, DAY, PERIOD = 3600, 86400, 43200
local VOLUMES = {3600, 86400, 604800}
local KEPT_S, KEPT_MS = 691200, '691200000'
local RETRY_WITHIN_S = 5
local LAST, NEW_MODEL, REFUSED_AT, COUNTRY_AT, USUAL_DAY = 1, 2, 3, 4, 5
local VOLUME, NETWORKS, USERS, MODELS = 6, 24, 26, 28
local PARAMETERS, CLIENTS, WORKSPACES = 29, 31, 33  -- of 16 bits; the others of 32
local SKETCHES = {PARAMETERS, NETWORKS, USERS, CLIENTS, WORKSPACES}
local FIRST_DAY, NEWEST_MODEL, COUNTRY = 35, 36, 37
local SEEN, HOSTING, STREAMED, REFUSED, FAILED, RETRIED = 38, 39, 40, 41, 42, 43
local WORDS, BYTES = 43, 42
local HOURS, GAPS, TASKS, USUAL_HOURS = 1, 25, 33, 42  -- in the table of bytes behind the words
local U32, U16, U8 = 4294967295, 65535, 255
local LAYOUT = '<' .. string.rep('I4', 28) .. string.rep('I2', 15)
local SIGHTING = '<I4I4I4I4BBBBBBBBI2I2'
local POWERS = {}
for bit = 0, 31 do POWERS[bit] = 2 ^ bit end

local floor = math.floor

local function opened(packed, at)
  if not packed or #packed ~= 184 then return nil end
  local w = {struct.unpack(LAYOUT, packed)}
  if at - w[LAST] < KEPT_S then return w, {string.byte(packed, 143, 184)} end
  return nil
end

local function halve(w, from, to, times)
  local by = 2 ^ (times < 16 and times or 16)
  for i = from, to do w[i] = floor(w[i] / by) end
end

local function count_class(b, first, count, which)
  if b[first + which] >= U8 then halve(b, first, first + count - 1, 1) end
  b[first + which] = b[first + which] + 1
end

local function learn_usual(w, b, last, days)
  local requests = w[VOLUME + 6] * 16
  if requests > U32 then requests = U32 end
  local usual = w[USUAL_DAY]
  if usual == 0 then usual = requests else usual = usual + floor((requests - usual) / 8) end
  for _ = 1, (days - 1 < 8 and days - 1 or 8) do usual = usual - floor(usual / 8) end
  w[USUAL_DAY] = usual
  local active = 0
  for i = HOURS, HOURS + floor(last / HOUR) % 24 do
    if b[i] > 0 then active = active + 8 end
  end
  local before = b[USUAL_HOURS]
  b[USUAL_HOURS] = before == 0 and active or before + floor((active - before) / 8)
end

local function roll(w, b, at)
  local last = w[LAST]
  w[LAST] = at
  local from = floor(last / HOUR)
  local hours = floor(at / HOUR) - from
  if hours == 0 then return end
  local days = floor(at / DAY) - floor(last / DAY)
  if days > 0 then learn_usual(w, b, last, days) end
  for number = 1, 3 do
    local length, first = VOLUMES[number], VOLUME + 6 * (number - 1)
    local passed = floor(at / length) - floor(last / length)
    if passed > 0 then
      for i = first, first + 2 do
        w[i + 3] = passed == 1 and w[i] or 0
        w[i] = 0
      end
    end
  end
  for hour = from + 1, from + (hours < 24 and hours or 24) do b[HOURS + hour % 24] = 0 end
  local periods = floor(at / PERIOD) - floor(last / PERIOD)
  if periods > 0 then
    for _, i in ipairs(SKETCHES) do
      w[i + 1] = periods == 1 and w[i] or 0
      w[i] = 0
    end
    halve(w, SEEN, RETRIED, periods)
  end
end

local function has(flags, flag) return floor(flags / flag) % 2 == 1 end

local function count_kind(w, at, flags)
  if w[SEEN] >= U16 then halve(w, SEEN, RETRIED, 1) end
  w[SEEN] = w[SEEN] + 1
  if w[REFUSED_AT] > 0 and at - w[REFUSED_AT] <= RETRY_WITHIN_S then w[RETRIED] = w[RETRIED] + 1 end
  if has(flags, 1) then
    w[REFUSED] = w[REFUSED] + 1
    w[REFUSED_AT] = at
    return
  end
  if has(flags, 2) then w[HOSTING] = w[HOSTING] + 1 end
  if has(flags, 4) then w[STREAMED] = w[STREAMED] + 1 end
  if has(flags, 8) then w[FAILED] = w[FAILED] + 1 end
end

local function add(w, place, amount)
  local sum = w[place] + amount
  w[place] = sum < U32 and sum or U32
end

local function mark(w, place, bit)
  if bit > (place <= MODELS and 31 or 15) or floor(w[place] / POWERS[bit]) % 2 == 1 then return false end
  w[place] = w[place] + POWERS[bit]
  return true
end

local function gap_class(gap)
  local bound, found = 1, 0
  while found < 7 and gap >= bound do bound, found = bound * 4, found + 1 end
  return found
end

-- Count one exchange into the window at `key`; the new window.
local function see(key, sighting, now_s)
  local at, requests, input, output, flags, params, network, user, client, workspace, model_bit, task, model, country =
    struct.unpack(SIGHTING, sighting)
  if at > now_s then at = now_s end
  local w, b = opened(redis.call('GET', key), at)
  local is_known = w ~= nil
  if not w then
    w, b = {}, {}
    for i = 1, WORDS do w[i] = 0 end
    for i = 1, BYTES do b[i] = 0 end
    w[LAST], w[FIRST_DAY] = at, floor(at / DAY)
  end
  if at < w[LAST] then at = w[LAST] end
  local gap = at - w[LAST]
  roll(w, b, at)
  count_kind(w, at, flags)
  if not has(flags, 1) then
    for first = VOLUME, VOLUME + 12, 6 do
      add(w, first, requests)
      add(w, first + 1, input)
      add(w, first + 2, output)
    end
    local hour = HOURS + floor(at / HOUR) % 24
    local counted = b[hour] + requests
    b[hour] = counted < U8 and counted or U8
    if is_known then count_class(b, GAPS, 8, gap_class(gap)) end
    mark(w, PARAMETERS, params)
    mark(w, NETWORKS, network)
    mark(w, USERS, user)
    mark(w, CLIENTS, client)
    mark(w, WORKSPACES, workspace)
    local had_models = w[MODELS] > 0
    if mark(w, MODELS, model_bit) then
      w[NEWEST_MODEL] = model
      if had_models then w[NEW_MODEL] = at end
    end
    if task < 9 then count_class(b, TASKS, 9, task) end
    if country > 0 then w[COUNTRY], w[COUNTRY_AT] = country, at end
  end
  local packed = struct.pack(LAYOUT, unpack(w, 1, WORDS)) .. string.char(unpack(b))
  redis.call('SET', key, packed, 'PX', KEPT_MS)
  return packed
end

