-- Prolong a key that expires and has less than half of its time left; one that was made to stay
-- in the meantime (an operator's word on an adopted account) stays.
--
-- KEYS: one key. ARGV: ttl_ms. Reply: 1 when prolonged.

local left = redis.call('PTTL', KEYS[1])
if left >= 0 and left < tonumber(ARGV[1]) / 2 then
  return redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 0
