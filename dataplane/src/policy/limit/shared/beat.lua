-- This replica is there. KEYS: the set of replicas. ARGV: its name, seconds after which one that is silent is gone.
-- Answer: the clock in microseconds, and how many there are.
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', time[1] - ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[2] * 2)
return { time[1] * 1000000 + time[2], redis.call('ZCARD', KEYS[1]) }
