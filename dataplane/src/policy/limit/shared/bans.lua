-- Refusals of one limit that replicas have counted, and who is banned for them.
--
-- KEYS: the list of bans, then of each key its refusals. ARGV: after, within, for (microseconds, both), since; then of each key
-- how many, and its text.
-- Answer: the clock in microseconds, then of each ban that has begun since: text, microseconds that are left of it.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local after, within, length = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local grain = math.max(1, math.floor(within / 128))

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - length))
for i = 2, #KEYS do
  local count, text = tonumber(ARGV[2 * i + 1]), ARGV[2 * i + 2]
  if not redis.call('ZSCORE', KEYS[1], text) then
    local kept = redis.call('GET', KEYS[i])
    local old, marks, sum = kept and cmsgpack.unpack(kept) or {}, {}, count
    if type(old) ~= 'table' then error('a key is not as it was left') end
    for j = 1, #old, 2 do
      -- What lies ahead is of a clock that has stepped back since.
      if old[j] + within > now and old[j] <= now + grain then
        marks[#marks + 1], marks[#marks + 2], sum = old[j], old[j + 1], sum + old[j + 1]
      end
    end
    if sum >= after then
      redis.call('DEL', KEYS[i])
      redis.call('ZADD', KEYS[1], string.format('%.0f', now), text)
      redis.call('PEXPIRE', KEYS[1], math.ceil(length / 1000) + 1000)
    else
      local at = math.ceil(now / grain) * grain
      if marks[#marks - 1] == at then marks[#marks] = marks[#marks] + count
      else marks[#marks + 1], marks[#marks + 2] = at, count end
      redis.call('SET', KEYS[i], cmsgpack.pack(marks), 'PX', math.ceil(within / 1000) + 1000)
    end
  end
end

local answer = { now }
local begun = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[4], '+inf', 'WITHSCORES', 'LIMIT', 0, 10000)
for i = 1, #begun, 2 do
  answer[#answer + 1], answer[#answer + 2] = begun[i], begun[i + 1] + length - now
end
return answer
