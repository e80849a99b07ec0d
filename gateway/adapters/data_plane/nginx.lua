-- nginx's side, for nginx with its Lua module: the whole check in the access phase, the limits and
-- the usage in the filters, and what was seen in a variable of the log line. `answer` is answer.lua.
-- The check is asked over a socket of its own: `ngx.location.capture` refuses HTTP/2.
-- Law: what cannot be decided is a 500, which `error_page` turns into what the operator chose.

local hydragate = {}

local CHECK = "/.hydragate/ext_authz"
local CONNECT_MS, ANSWER_MS = 500, 5000
local KEPT_OPEN, KEPT_OPEN_MS = 64, 60000
local PIECE = 1048576         -- of a body that nginx keeps in a file
local MAX_ANSWER = 1048576
local MAX_REPORT = 32768      -- of what was seen; a datagram carries it

local function set_of(names)
  local found = {}
  for _, name in ipairs(names) do found[name] = true end
  return found
end

-- What belongs to a connection, and what we say of the body ourselves.
local NOT_ASKED = set_of {
  "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
  "http2-settings", "expect", "content-length",
}
-- Of a passing answer's head: the check's, not for the model API.
local NOT_UP = set_of { "content-length", "connection", "date", "server", "keep-alive" }
local NOT_DOWN = set_of { "connection", "transfer-encoding", "keep-alive", "date", "server" }

-- ── asking ──────────────────────────────────────────────────────────────────────────────────

local function is_ours(name)
  return name:sub(1, 12) == "x-hydragate-" or name:sub(1, 8) == "x-envoy-"
end

-- The caller's body: a string, or the path of a file and its size.
local function body_of_caller()
  ngx.req.read_body()
  local text = ngx.req.get_body_data()
  if text then return text, nil, #text end
  local path = ngx.req.get_body_file()
  if not path then return "", nil, 0 end
  local file = assert(io.open(path, "rb"))
  local size = file:seek("end")
  file:close()
  return nil, path, size
end

local function add(lines, name, value)
  if not value:find("[%z\r\n]") then lines[#lines + 1] = name .. ": " .. value end
end

local function head_of(size)
  local var = ngx.var
  local lines = { ngx.req.get_method() .. " " .. CHECK .. var.request_uri .. " HTTP/1.1" }
  for name, value in pairs(ngx.req.get_headers(0, true)) do
    local plain = name:lower()
    if is_ours(plain) then
      ngx.req.clear_header(name)  -- a caller's claim to be us
    elseif not NOT_ASKED[plain] then
      if type(value) == "table" then
        for _, one in ipairs(value) do add(lines, name, tostring(one)) end
      else
        add(lines, name, tostring(value))
      end
    end
  end
  lines[#lines + 1] = "x-hydragate-peer: " .. var.remote_addr
  lines[#lines + 1] = "content-length: " .. string.format("%d", size)
  lines[#lines + 1] = "\r\n"
  return table.concat(lines, "\r\n")
end

local function send_file(sock, path)
  local file = assert(io.open(path, "rb"))
  repeat
    local piece = file:read(PIECE)
    local sent, err = not piece or sock:send(piece)
    if not sent then
      file:close()
      return nil, err
    end
  until not piece
  file:close()
  return true
end

local function read_answer(sock)
  local head, err = sock:receiveuntil("\r\n\r\n")()
  if not head then return nil, err end
  local found = { status = tonumber(head:match("^HTTP/1%.1 (%d%d%d)")), headers = {}, body = "" }
  if not found.status then return nil, "it is no answer" end
  for name, value in head:gmatch("\r\n([^:\r\n]+):[ \t]*([^\r\n]*)") do
    found.headers[#found.headers + 1] = { name:lower(), value }
    found.headers[name:lower()] = value
  end
  local size = tonumber(found.headers["content-length"] or "0")
  if not size or size > MAX_ANSWER then return nil, "its length cannot be" end
  if size > 0 and ngx.req.get_method() ~= "HEAD" then
    found.body, err = sock:receive(size)
    if not found.body then return nil, err end
  end
  return found
end

local function ask_once(host, port, head, text, path)
  local sock = ngx.socket.tcp()
  sock:settimeouts(CONNECT_MS, ANSWER_MS, ANSWER_MS)
  local ok, err = sock:connect(host, port, { pool_size = KEPT_OPEN })
  if not ok then return nil, err end
  local was_idle = (sock:getreusedtimes() or 0) > 0
  ok, err = sock:send(text and head .. text or head)
  if ok and path then ok, err = send_file(sock, path) end
  local found
  if ok then found, err = read_answer(sock) end
  if not found then
    sock:close()
    return nil, err, was_idle and err == "closed"
  end
  if found.headers["connection"] == "close" then
    sock:close()
  else
    sock:setkeepalive(KEPT_OPEN_MS, KEPT_OPEN)
  end
  return found
end

-- A connection that the gateway closed while it lay idle has decided nothing: asked again.
local function ask(host, port, head, text, path)
  while true do
    local found, err, is_stale = ask_once(host, port, head, text, path)
    if found or not is_stale then return found, err end
  end
end

-- ── what the check said ─────────────────────────────────────────────────────────────────────

local function refuse(found)
  ngx.status = found.status
  for _, pair in ipairs(found.headers) do
    if not NOT_DOWN[pair[1]] then ngx.header[pair[1]] = pair[2] end
  end
  if found.body ~= "" then ngx.print(found.body) end
  return ngx.exit(ngx.HTTP_OK)
end

local function whole(text, path)
  if text then return text end
  local file = assert(io.open(path, "rb"))
  text = file:read("*a")
  file:close()
  return text
end

local function splice_in(splice, text, path)
  local first, last, put = splice:match("^(%d+):(%d+):(.*)$")
  if not first then return end
  text = whole(text, path)
  if tonumber(last) > #text then return end
  ngx.req.set_body_data(text:sub(1, tonumber(first)) .. put .. text:sub(tonumber(last) + 1))
end

local function pass(found, text, path)
  local told, var = found.headers, ngx.var
  var.hydragate_ticket = told["x-hydragate-ticket"]
  for name in (told["x-envoy-auth-headers-to-remove"] or ""):gmatch("[^,]+") do
    ngx.req.clear_header(name)
  end
  for _, pair in ipairs(told) do
    if not NOT_UP[pair[1]] and not is_ours(pair[1]) then ngx.req.set_header(pair[1], pair[2]) end
  end
  ngx.ctx.hydragate_told = told
  if told["x-hydragate-splice"] then splice_in(told["x-hydragate-splice"], text, path) end
  local upstream = told["x-hydragate-upstream"]
  if not upstream or upstream == "none" then return ngx.exit(ngx.HTTP_BAD_GATEWAY) end
  var.hydragate_upstream = upstream
end

-- In `access_by_lua`: the gateway's `checks.host`, an address, and `checks.port`.
function hydragate.check(host, port)
  local text, path, size = body_of_caller()
  local found, err = ask(host, port, head_of(size), text, path)
  if not found then
    ngx.log(ngx.ERR, "hydragate: no decision from ", host, ":", port, ": ", err)
    return ngx.exit(ngx.HTTP_INTERNAL_SERVER_ERROR)
  end
  if found.headers["x-hydragate-ticket"] then return pass(found, text, path) end
  return refuse(found)
end

-- ── the answer ──────────────────────────────────────────────────────────────────────────────

local headers = {}
function headers:get(name)
  local value = ngx.header[name]
  return type(value) == "table" and value[1] or value
end
function headers:replace(name, value) ngx.header[name] = value end
function headers:remove(name) ngx.header[name] = nil end
function headers:add(name, value)
  local known = ngx.header[name]
  if known == nil then
    ngx.header[name] = value
  elseif type(known) == "table" then
    known[#known + 1] = value
    ngx.header[name] = known
  else
    ngx.header[name] = { known, value }
  end
end

-- In `header_filter_by_lua`.
function hydragate.tell()
  local told = ngx.ctx.hydragate_told
  if not told then return end
  local is_own_key = told["x-hydragate-own-key"] ~= nil
  for name, _ in pairs(ngx.resp.get_headers(0)) do
    if answer.is_unreturned(name, is_own_key) then headers:remove(name) end
  end
  answer.tell(headers, told["x-hydragate-tell"] or "")
  if not told["x-hydragate-shape"] or ngx.req.get_method() == "HEAD" then return end
  local seen = answer.seen(
    ngx.status, headers:get("content-type"), headers:get("content-encoding"),
    told["x-hydragate-splice"] ~= nil)
  if seen and seen.is_stream and seen.hides then headers:remove("content-length") end
  ngx.ctx.hydragate_seen = seen
end

-- In `body_filter_by_lua`.
function hydragate.read()
  local seen = ngx.ctx.hydragate_seen
  if not seen then return end
  local text = ngx.arg[1] or ""
  local passed = answer.feed(seen, text)
  if ngx.arg[2] then passed = passed .. answer.finish(seen) end
  if passed ~= text then ngx.arg[1] = passed end
end

-- In `log_by_lua`, which runs before the line is written, whatever became of the exchange.
function hydragate.report()
  local seen = ngx.ctx.hydragate_seen
  if not seen then return end
  if seen.tail then answer.finish(seen) end
  local text = answer.whole_as_json(seen)
  ngx.var.hydragate_seen = #text <= MAX_REPORT and text or answer.as_json(seen)
end

return hydragate
