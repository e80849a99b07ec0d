-- Take a place for an account at a destination, card or identity that serves at most so many.
--
-- KEYS: the proof's holders (sorted set, account by the instant its place lapses).
-- ARGV: account, most, now_ms, until_ms. Reply: 1 when the account has a place (an earlier one is
-- prolonged, never shortened), 0 when all are taken.

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
local held = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not held and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
if not held or tonumber(held) < tonumber(ARGV[4]) then
  redis.call('ZADD', KEYS[1], ARGV[4], ARGV[1])
end
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(last[2])))
return 1
