-- Take, prolong or give back the one lease of a role.
--
-- KEYS: lease, epoch. ARGV: the holder's token, ttl_ms (0 gives it back).
-- Reply: the epoch while the token holds the lease (it grows with every new holder), else 0.

local holder = redis.call('GET', KEYS[1])
if tonumber(ARGV[2]) == 0 then
  if holder == ARGV[1] then redis.call('DEL', KEYS[1]) end
  return 0
end
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return tonumber(redis.call('GET', KEYS[2]) or 0)
end
if holder then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('INCR', KEYS[2])
