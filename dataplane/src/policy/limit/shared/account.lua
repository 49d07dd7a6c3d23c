-- What an operator sees and changes of quotas.
--
-- KEYS: an account, or of a list the index of a term. ARGV: reset; or grant, text, requests, quota, begins, ends, index; or one;
-- or list, accounts at most.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local seconds = math.floor(now / 1000000)

local function read(key)
  local kept = redis.call('GET', key)
  local account = kept and cmsgpack.unpack(kept)
  if kept and type(account) ~= 'table' then error('a key is not as it was left') end
  if account and account[4] > seconds then return account end
end

local function write(key, account)
  redis.call('SET', key, cmsgpack.pack(account), 'PX', math.ceil(account[4] * 1000 - now / 1000) + 1000)
end

if ARGV[1] == 'reset' then
  local account = read(KEYS[1])
  if not account then return 0 end
  account[1] = 0
  write(KEYS[1], account)
  return 1
end

if ARGV[1] == 'grant' then
  local ends = tonumber(ARGV[6])
  local account = read(KEYS[1])
  if not account then
    account = { 0, 0, tonumber(ARGV[5]), ends, tonumber(ARGV[4]), ARGV[2] }
    local index = ARGV[7] .. ARGV[6]
    redis.call('SADD', index, KEYS[1])
    redis.call('PEXPIRE', index, math.ceil(ends * 1000 - now / 1000) + 1000)
  end
  account[2] = account[2] + tonumber(ARGV[3])
  write(KEYS[1], account)
  return 1
end

local function row(account)
  return { account[6], account[1], account[2], account[3], account[4], account[5] }
end

if ARGV[1] == 'one' then
  local account = read(KEYS[1])
  return { 0, account and { row(account) } or {} }
end

local rows, max, cursor = {}, tonumber(ARGV[2]), '0'
repeat
  local found = redis.call('SSCAN', KEYS[1], cursor, 'COUNT', 1000)
  cursor = found[1]
  for _, key in ipairs(found[2]) do
    local account = read(key)
    if account then
      if #rows >= max then return { 1, rows } end
      rows[#rows + 1] = row(account)
    end
  end
until cursor == '0'
return { 0, rows }
