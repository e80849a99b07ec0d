-- Write an account's subject under a new version, unless it changed in between.
--
-- The version is the larger of the old one plus one and this server's clock in microseconds, so
-- that it stays unique even after the store has lost data.
-- KEYS: subject. ARGV: expected version ('' writes in any case), ttl_ms (0: for ever, -1: as it is), packed
-- subject ('' keeps the stored one and only renews its version).
-- Reply: the new version as text; '' when the stored version is another, or there is nothing
-- to renew.

local stored = redis.call('GET', KEYS[1])
local old = 0
if stored then
  old = tonumber(string.match(stored, '^(%d+)\n')) or 0
end
if ARGV[1] ~= '' and string.format('%.0f', old) ~= ARGV[1] then return '' end
local packed = ARGV[3]
if packed == '' then
  if not stored then return '' end
  packed = string.sub(stored, string.find(stored, '\n', 1, true) + 1)
end
local t = redis.call('TIME')
local version = t[1] * 1000000 + t[2]
if version <= old then version = old + 1 end
local text = string.format('%.0f', version)
local ttl = tonumber(ARGV[2])
if ttl > 0 then
  redis.call('SET', KEYS[1], text .. '\n' .. packed, 'PX', ttl)
elseif ARGV[3] == '' or ttl < 0 then
  redis.call('SET', KEYS[1], text .. '\n' .. packed, 'KEEPTTL')
else
  redis.call('SET', KEYS[1], text .. '\n' .. packed)
end
return text
