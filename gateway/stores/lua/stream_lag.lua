-- How long the oldest entry behind a position has waited, in milliseconds; 0 when there is none.
--
-- KEYS: stream. ARGV: position (an entry's id).

local first = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', 1)
if #first == 0 then return 0 end
local now = redis.call('TIME')
local at_ms = tonumber(string.match(first[1][1], '^(%d+)'))
return math.max(0, now[1] * 1000 + math.floor(now[2] / 1000) - at_ms)
