-- Envoy's side of settlement. On the way up it puts in what asks a stream for its usage; on the
-- way down it tells the caller its limits, reads the usage off the answer, and leaves it in the
-- stream's metadata, from where the access log takes it whatever becomes of the stream.
-- `answer` is answer.lua.

local AUTHZ = "envoy.filters.http.ext_authz"

local function told_by_checks(handle)
  return handle:streamInfo():dynamicMetadata():get(AUTHZ)
end

function envoy_on_request(handle)
  local splice = handle:headers():get("x-hydragate-splice")
  if not splice then return end
  handle:headers():remove("x-hydragate-splice")
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

local function drop_unreturned(headers, is_own_key)
  local gone
  for name, _ in pairs(headers) do
    if answer.is_unreturned(name, is_own_key) then
      gone = gone or {}
      gone[#gone + 1] = name
    end
  end
  if gone then
    for _, name in ipairs(gone) do headers:remove(name) end
  end
end

-- What belongs to the stream is fetched anew each time: between two chunks it goes stale.
-- `head` grows at a stream's beginning only, so it is not written with every chunk.
local function leave(handle, seen)
  local metadata = handle:streamInfo():dynamicMetadata()
  metadata:set("hydragate", "seen", answer.as_json(seen))
  if seen.left ~= seen.head then
    seen.left = seen.head
    metadata:set("hydragate", "head", seen.head)
  end
end

function envoy_on_response(handle)
  local told = told_by_checks(handle)
  if not told or not told["x-hydragate-ticket"] then return end
  local headers = handle:headers()
  drop_unreturned(headers, told["x-hydragate-own-key"] ~= nil)
  answer.tell(headers, told["x-hydragate-tell"] or "")
  if not told["x-hydragate-shape"] then return end
  local seen = answer.seen(
    tonumber(headers:get(":status")), headers:get("content-type"),
    headers:get("content-encoding"), told["x-hydragate-splice"] ~= nil)
  if not seen then return end
  if seen.is_stream and seen.hides then headers:remove("content-length") end
  for chunk in handle:bodyChunks() do
    local size = chunk:length()
    local text = size > 0 and chunk:getBytes(0, size) or ""
    local passed = answer.feed(seen, text)
    if seen.is_stream then
      if passed ~= text then chunk:setBytes(passed) end
      leave(handle, seen)
    end
  end
  if not seen.is_stream then
    answer.finish(seen)
    leave(handle, seen)
  end
end
