-- Make written chunks the snapshot, unless the lease has gone to somebody else.
--
-- KEYS: lease, head, the new chunks, the chunks that they replace. ARGV: the holder's token, the
-- new head, how many new chunks. Reply: 1, or 0 when the token does not hold the lease.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
local last_new = 2 + tonumber(ARGV[3])
for i = 3, last_new do redis.call('PERSIST', KEYS[i]) end
for i = last_new + 1, #KEYS do redis.call('UNLINK', KEYS[i]) end
return 1
