-- Write an account's verification record, and its subject with it, or neither.
--
-- KEYS: subject, record. ARGV: expected record version (0: none is stored), new record ('' deletes
-- it), its ttl_ms, expected subject version ('' leaves the subject as it is), packed subject.
-- Reply: 1 when written; 0 when either has changed in between, or the account is gone.

local record = redis.call('GET', KEYS[2])
local held = '0'
if record then held = string.match(record, '^(%d+)\n') or '0' end
if held ~= ARGV[1] then return 0 end
local subject = redis.call('GET', KEYS[1])
if not subject then
  if ARGV[2] ~= '' then return 0 end
elseif ARGV[4] ~= '' then
  local old = string.match(subject, '^(%d+)\n') or '0'
  if old ~= ARGV[4] then return 0 end
  local t = redis.call('TIME')
  local version = t[1] * 1000000 + t[2]
  if version <= tonumber(old) then version = tonumber(old) + 1 end
  redis.call('SET', KEYS[1], string.format('%.0f', version) .. '\n' .. ARGV[5], 'KEEPTTL')
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[2])
else
  redis.call('SET', KEYS[2], string.format('%.0f', tonumber(held) + 1) .. '\n' .. ARGV[2], 'PX', ARGV[3])
end
return 1
