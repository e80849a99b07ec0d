-- Envoy's side of settlement. On the way up it puts in what asks a stream for its usage; on the
-- way down it tells the caller its limits, reads the usage off the answer's tail, and leaves it in
-- the stream's metadata, from where the access log takes it whatever becomes of the stream.
-- No chunk is held back, but with a hidden usage event an incomplete event of a stream.

local AUTHZ = "envoy.filters.http.ext_authz"
local TELL = "x-hydragate-tell-"
local MAX_TAIL = 65536      -- of a JSON answer: usage is at its end
local MAX_EVENT = 1048576   -- a larger event passes unread
local MAX_HEAD = 4096       -- of the first events, for whoever counts text
local MAX_USAGE = 4096

local function told_by_checks(handle)
  return handle:streamInfo():dynamicMetadata():get(AUTHZ)
end

function envoy_on_request(handle)
  local told = told_by_checks(handle)
  local splice = told and told["x-hydragate-splice"]
  if not splice then return end
  local first, last, text = splice:match("^(%d+):(%d+):(.*)$")
  local body = handle:body()
  if not first or not body then return end
  local length = body:length()
  first, last = tonumber(first), tonumber(last)
  if last > length then return end
  local head = first > 0 and body:getBytes(0, first) or ""
  local rest = last < length and body:getBytes(last, length - last) or ""
  body:setBytes(head .. text .. rest)
  handle:headers():replace("content-length", tostring(#head + #text + #rest))
end

-- ── limits ──────────────────────────────────────────────────────────────────────────────────

local function triple_of(name)
  local kind = name:match("^x%-ratelimit%-remaining%-(.+)$")
  if kind then
    return "x-ratelimit-limit-" .. kind, "x-ratelimit-reset-" .. kind
  end
  local stem = name:match("^(anthropic%-ratelimit%-.+%-)remaining$")
  if stem then return stem .. "limit", stem .. "reset" end
end

local function is_theirs_stricter(headers, name, ours)
  local theirs = headers:get(name)
  return theirs and tonumber(theirs) and tonumber(ours) and tonumber(theirs) < tonumber(ours)
end

local function tell_limits(headers, told)
  local ours, dropped = {}, nil
  for key, value in pairs(told) do
    if key:sub(1, #TELL) == TELL then
      local name = key:sub(#TELL + 1)
      ours[name] = value
      if name:find("remaining", 1, true) then
        local limit, reset = triple_of(name)
        if limit and is_theirs_stricter(headers, name, value) then
          dropped = dropped or {}
          dropped[name], dropped[limit], dropped[reset] = true, true, true
        end
      end
    end
  end
  for name, value in pairs(ours) do
    if dropped and dropped[name] then
      -- the model API's own is the one that the caller runs into first
    elseif name == "x-request-id" then
      if not headers:get(name) then headers:add(name, value) end
    elseif name == "ratelimit" or name == "ratelimit-policy" then
      headers:add(name, value)
    else
      headers:replace(name, value)
    end
  end
end

local function is_limit(name)
  return name:find("^x%-ratelimit%-") or name:find("^anthropic%-ratelimit%-")
    or name:find("^ratelimit")
end

local function drop_unreturned(headers, is_own_key)
  local gone
  for name, _ in pairs(headers) do
    if name:sub(1, 12) == "x-hydragate-" or name:sub(1, 6) == "proxy-"
      or (is_own_key and is_limit(name)) then
      gone = gone or {}
      gone[#gone + 1] = name
    end
  end
  if gone then
    for _, name in ipairs(gone) do headers:remove(name) end
  end
end

-- ── usage ───────────────────────────────────────────────────────────────────────────────────

local function escape(text)
  return (text:gsub('[%z\1-\31\\"]', function(c)
    return string.format("\\u%04x", string.byte(c))
  end))
end

local function put(handle, seen)
  local usages = {}
  if seen.first then usages[#usages + 1] = '"' .. escape(seen.first) .. '"' end
  if seen.last then usages[#usages + 1] = '"' .. escape(seen.last) .. '"' end
  handle:streamInfo():dynamicMetadata():set("hydragate", "seen", string.format(
    '{"usages":[%s],"is_final":%s,"is_stream":%s,"is_read":true,"head":"%s","events":%d,"size":%d}',
    table.concat(usages, ","), tostring(seen.is_final), tostring(seen.is_stream),
    table.concat(seen.head), seen.events, seen.size))
end

local function usage_in(text)
  local found
  for usage in text:gmatch('"usage"[ \t\r\n]*:[ \t\r\n]*(%b{})') do found = usage end
  if found and #found <= MAX_USAGE then return found end
end

local function note_usage(seen, event)
  if not event:find('_tokens"', 1, true) then return false end
  local usage = usage_in(event)
  if not usage then return false end
  local is_opening = event:find('"message_start"', 1, true) ~= nil
  if is_opening and not seen.first then seen.first = usage else seen.last = usage end
  seen.is_final = not is_opening
  return event:find('"choices"[ \t]*:[ \t]*%[[ \t]*%]') ~= nil
end

-- True for an event that is to pass.
local function note_event(seen, event)
  local is_bare_usage = note_usage(seen, event)
  if is_bare_usage and seen.hides then return false end
  -- Events of the Responses dialect that repeat what has been streamed do not count twice.
  if not event:find('%.done"') then
    if event:find("^data:") or event:find("\ndata:") then seen.events = seen.events + 1 end
    seen.size = seen.size + #event
    if seen.headed + #event <= MAX_HEAD then
      seen.headed = seen.headed + #event
      seen.head[#seen.head + 1] = escape(event)
    else
      seen.headed = MAX_HEAD
    end
  end
  return true
end

local function end_of_event(text, from)
  local best, stop
  for _, pattern in ipairs({ "\n\n", "\r\n\r\n", "\n\r\n", "\r\r" }) do
    local a, b = text:find(pattern, from, true)
    if a and (not best or a < best) then best, stop = a, b end
  end
  return stop
end

local function read_stream(handle, seen)
  local held = ""
  for chunk in handle:bodyChunks() do
    local size = chunk:length()
    local text = held .. (size > 0 and chunk:getBytes(0, size) or "")
    local kept, from = {}, 1
    while true do
      local stop = end_of_event(text, from)
      if not stop then break end
      local event = text:sub(from, stop)
      if note_event(seen, event) then kept[#kept + 1] = event end
      from = stop + 1
    end
    held = text:sub(from)
    if #held > MAX_EVENT then
      kept[#kept + 1] = held
      held = ""
    end
    if seen.hides then chunk:setBytes(table.concat(kept)) end
    put(handle, seen)
  end
end

local function read_whole(handle, seen)
  local tail = ""
  for chunk in handle:bodyChunks() do
    local size = chunk:length()
    if size > 0 then
      tail = tail .. chunk:getBytes(0, size)
      if #tail > 2 * MAX_TAIL then tail = tail:sub(-MAX_TAIL) end
      seen.size = seen.size + size
    end
  end
  seen.last = usage_in(tail)
  put(handle, seen)
end

function envoy_on_response(handle)
  local told = told_by_checks(handle)
  if not told or not told["x-hydragate-ticket"] then return end
  local headers = handle:headers()
  local status = tonumber(headers:get(":status"))
  drop_unreturned(headers, told["x-hydragate-own-key"] ~= nil)
  tell_limits(headers, told)
  if not told["x-hydragate-shape"] or status >= 400 then return end
  local coding = headers:get("content-encoding")
  if coding and coding ~= "identity" then return end
  local kind = (headers:get("content-type") or ""):lower()
  local seen = {
    is_stream = kind:find("^text/event%-stream") ~= nil,
    hides = told["x-hydragate-splice"] ~= nil,
    is_final = false, head = {}, headed = 0, events = 0, size = 0,
  }
  if seen.is_stream then
    if seen.hides then headers:remove("content-length") end
    read_stream(handle, seen)
  else
    read_whole(handle, seen)
  end
end
