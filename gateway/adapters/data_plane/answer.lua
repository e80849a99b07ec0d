-- What both data planes' Lua does with an answer: tells the caller its limits and reads the usage
-- off it. Nothing here knows whose Lua it is. Of strings and of `headers`, an object with get,
-- replace, add and remove by lower-case name.
-- Law: no chunk is held back, but with a hidden usage event an incomplete event of a stream.

local answer = {}

local MAX_TAIL = 65536      -- of a JSON answer: usage is at its end
local MAX_EVENT = 1048576   -- a larger event passes unread
local MAX_HEAD = 4096       -- of the first events, for whoever counts text; and how many of them
local MAX_HEAD_EVENTS = 12
local MAX_USAGE = 4096

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

-- `told`: the check's word for the caller, "name=value" with a tab between two.
function answer.tell(headers, told)
  local ours, dropped = {}, nil
  for name, value in told:gmatch("([^=\t]+)=([^\t]*)") do
    ours[#ours + 1] = name
    ours[name] = value
    if name:find("remaining", 1, true) then
      local limit, reset = triple_of(name)
      if limit and is_theirs_stricter(headers, name, value) then
        dropped = dropped or {}
        dropped[name], dropped[limit], dropped[reset] = true, true, true
      end
    end
  end
  for _, name in ipairs(ours) do
    if dropped and dropped[name] then
      -- the model API's own is the one that the caller runs into first
    elseif name == "x-request-id" then
      if not headers:get(name) then headers:add(name, ours[name]) end
    elseif name == "ratelimit" or name == "ratelimit-policy" then
      headers:add(name, ours[name])
    else
      headers:replace(name, ours[name])
    end
  end
end

local function is_limit(name)
  return name:find("^x%-ratelimit%-") or name:find("^anthropic%-ratelimit%-")
    or name:find("^ratelimit")
end

-- Whether a header of the model API's answer is not for the caller. `is_own_key`: the operator's
-- key was sent, so the limits that the model API tells are the operator's.
function answer.is_unreturned(name, is_own_key)
  return name:sub(1, 12) == "x-hydragate-" or name:sub(1, 6) == "proxy-"
    or (is_own_key and is_limit(name) and true or false)
end

-- ── usage ───────────────────────────────────────────────────────────────────────────────────

-- Of an answer that may tell usage, else nil. `hides`: the stream's usage event was asked for in
-- the caller's stead, and is taken out.
function answer.seen(status, content_type, coding, hides)
  if status >= 400 or (coding and coding ~= "" and coding ~= "identity") then return nil end
  return {
    is_stream = (content_type or ""):lower():find("^text/event%-stream") ~= nil,
    hides = hides, is_final = false, head = "", is_headed = false, events = 0, size = 0, held = "",
  }
end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r" }

local function escape(text)
  return (text:gsub('[%z\1-\31\\"]', function(c)
    return ESCAPES[c] or string.format("\\u%04x", string.byte(c))
  end))
end

-- What was seen as the JSON object that `reports.Seen` is, but for `head`.
function answer.as_json(seen)
  local usages = {}
  if seen.first then usages[#usages + 1] = '"' .. escape(seen.first) .. '"' end
  if seen.last then usages[#usages + 1] = '"' .. escape(seen.last) .. '"' end
  return string.format(
    '{"usages":[%s],"is_final":%s,"is_stream":%s,"is_read":true,"events":%d,"size":%d}',
    table.concat(usages, ","), tostring(seen.is_final), tostring(seen.is_stream),
    seen.events, seen.size)
end

-- The same with `head` in it.
function answer.whole_as_json(seen)
  return answer.as_json(seen):sub(1, -2) .. ',"head":"' .. escape(seen.head) .. '"}'
end

local function usage_in(text)
  local found
  for usage in text:gmatch('"usage"[ \t\r\n]*:[ \t\r\n]*(%b{})') do found = usage end
  if found and #found <= MAX_USAGE then return found end
end

-- Events that say what they are tell usage in these only. Others repeat the request, and a member
-- `usage` in the schema of one of its tools is the caller's.
local TELLS_USAGE = {
  ["message_start"] = true, ["message_delta"] = true, ["response.completed"] = true,
  ["response.incomplete"] = true, ["response.failed"] = true,
}

local function may_tell_usage(event)
  local kind = event:match("^event:[ ]?([%w_.]+)")
    or event:match('"type"[ \t]*:[ \t]*"([%w_.]+)"') or ""
  return TELLS_USAGE[kind] or not (kind:find("^response%.") or kind:find("^content_block"))
end

local function note_usage(seen, event)
  if not event:find('_tokens"', 1, true) or not may_tell_usage(event) then return false end
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
    if not seen.is_headed then
      seen.is_headed = #seen.head + #event > MAX_HEAD or seen.events >= MAX_HEAD_EVENTS
      if #seen.head + #event <= MAX_HEAD then seen.head = seen.head .. event end
    end
  end
  return true
end

local ENDS = { "\n\n", "\r\n\r\n", "\n\r\n", "\r\r" }

local function end_of_event(text, from)
  local best, stop
  for _, pattern in ipairs(ENDS) do
    local a, b = text:find(pattern, from, true)
    if a and (not best or a < best) then best, stop = a, b end
  end
  return stop
end

local function count_of(text, part)
  local count, from = 0, 1
  while true do
    local at, last = text:find(part, from, true)
    if not at then return count end
    count, from = count + 1, last + 1
  end
end

-- Whole events that tell nothing but text, as nearly all of a stream's are: counted, not taken apart.
local function is_usual(seen, chunk)
  return seen.is_headed and seen.held == "" and chunk:sub(-2) == "\n\n"
    and (chunk:sub(1, 5) == "data:" or chunk:sub(1, 6) == "event:")
    and not chunk:find('_tokens"', 1, true) and not chunk:find('.done"', 1, true)
    and not chunk:find("\n\n:", 1, true) and not chunk:find("\r", 1, true)
end

local function read_events(seen, chunk)
  if is_usual(seen, chunk) then
    seen.events = seen.events + count_of(chunk, "\n\n")
    seen.size = seen.size + #chunk
    return chunk
  end
  local text = seen.held .. chunk
  local kept, from = {}, 1
  while true do
    local stop = end_of_event(text, from)
    if not stop then break end
    local event = text:sub(from, stop)
    if note_event(seen, event) then kept[#kept + 1] = event end
    from = stop + 1
  end
  seen.held = text:sub(from)
  if #seen.held > MAX_EVENT then
    kept[#kept + 1] = seen.held
    seen.held = ""
  end
  return seen.hides and table.concat(kept) or chunk
end

-- Reads a chunk; returns what of it goes on to the caller.
function answer.feed(seen, chunk)
  if seen.is_stream then return read_events(seen, chunk) end
  local tail = (seen.tail or "") .. chunk
  if #tail > 2 * MAX_TAIL then tail = tail:sub(-MAX_TAIL) end
  seen.tail, seen.size = tail, seen.size + #chunk
  return chunk
end

-- At the end of the answer, or where it broke off; returns what is left to go on.
function answer.finish(seen)
  if seen.tail then
    seen.last, seen.tail = usage_in(seen.tail), nil
    return ""
  end
  local rest = seen.held
  seen.held = ""
  if rest == "" or not note_event(seen, rest) or not seen.hides then return "" end
  return rest
end

return answer
