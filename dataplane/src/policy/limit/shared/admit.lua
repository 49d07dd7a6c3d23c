-- Decides for limits of requests: of each group all admit, or nothing is taken from any of the group. What is read is read
-- before anything is written, so that a value that is not ours is an error that takes nothing.
--
-- KEYS: of each limit the key of its count, and for a quota the beginning of the keys of its index.
-- ARGV: of each limit 12: group, kind, cost, want (requests to lease besides), back (of an earlier lease, unused), mark (of that
-- lease), a, b, c, d, patience (microseconds that the request may wait; kinds b and w), text.
-- Answer: the clock in microseconds, then of each limit 6: whether its group passes, requests that pass now, microseconds
-- until one more does, until the cost would, or until it does (-1: never), requests leased, the lease's mark.
--
-- A lease is of requests that may begin later, for as long as the lease lasts (kinds b and w: d microseconds). They are counted so
-- that no window of time has more than the limit allows, whenever in the lease's life they begin: docs/src/run/shared.md.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local judge, keep, limits, groups = {}, {}, {}, {}

-- A token bucket: a units come in a microsecond, a request takes b, c requests fit in.
-- Kept: units that are missing, when, units of a request, since when the bucket has not been full.
function judge.b(l, old)
  l.missing, l.since = 0, now
  if old then
    l.missing, l.since = old[1], old[4]
    if old[3] ~= l.b then l.missing = math.ceil(l.missing / old[3] * l.b) end
    -- What those who wait have taken in advance is missing, too.
    local most = l.c * l.b + l.a * l.patience
    l.missing = math.min(most, math.max(0, l.missing - l.a * math.max(0, now - old[2])))
    if l.missing == 0 then l.since = now end
    l.stepped = old[2] > now -- the clock has stepped back, and from here time goes on
  end
  -- What was filled up since is not given back.
  if l.back > 0 and l.mark >= l.since then l.missing = math.max(0, l.missing - l.back * l.b) end
  local over = l.missing + l.cost * l.b - l.c * l.b
  l.retry = l.cost > l.c and -1 or math.max(0, math.ceil(over / l.a))
  l.passes = l.cost == 0 or (l.retry >= 0 and l.retry <= l.patience)
end

function keep.b(l, taken)
  if taken then
    l.missing = l.missing + l.cost * l.b
    -- As if it were taken when the lease ends.
    local held = math.max(l.missing, l.a * l.d + l.cost * l.b)
    l.lease = math.max(0, math.min(l.want, math.floor((l.c * l.b - held) / l.b / 2)))
    if l.lease > 0 then
      if held > l.missing then l.since = now end
      l.missing = held + l.lease * l.b
    end
    l.noted = now
  end
  l.remaining = math.max(0, math.floor((l.c * l.b - l.missing) / l.b))
  l.more = l.missing == 0 and 0 or math.ceil((l.missing + (l.remaining + 1) * l.b - l.c * l.b) / l.a)
  return { l.missing, now, l.b, l.since }, math.ceil(l.missing / l.a / 1000) + 1000
end

-- A sliding window: a requests in any b microseconds, with times rounded up to c.
-- Kept: times in order, each with how many.
local function passes_in(l, cost)
  if cost > l.a then return -1 end
  local used, at = l.used, now
  for i = 1, #l.marks, 2 do
    if used + cost <= l.a then break end
    used, at = used - l.marks[i + 1], math.max(at, l.marks[i] + l.b)
  end
  return at - now
end

function judge.w(l, old)
  local marks, step = old or {}, 0
  -- The clock has stepped back: nobody notes what is a whole window ahead of who waits longest.
  if #marks > 0 and marks[#marks - 1] > now + l.b + l.patience + l.c then step = marks[#marks - 1] - now end
  l.marks, l.used, l.stepped = {}, 0, step > 0
  for i = 1, #marks, 2 do
    local at, count = marks[i] - step, marks[i + 1]
    if l.back > 0 and marks[i] == l.mark then count = count - math.min(count, l.back) end
    if at + l.b > now and count > 0 then
      l.marks[#l.marks + 1], l.marks[#l.marks + 2], l.used = at, count, l.used + count
    end
  end
  l.retry = passes_in(l, l.cost)
  l.passes = l.cost == 0 or (l.retry >= 0 and l.retry <= l.patience)
end

function keep.w(l, taken)
  if taken then
    l.lease = math.max(0, math.min(l.want, math.floor((l.a - l.used - l.cost) / 2)))
    l.noted = math.ceil((now + (l.lease > 0 and l.d or math.max(0, l.retry))) / l.c) * l.c
    local count, at = l.cost + l.lease, #l.marks + 1
    while at > 1 and l.marks[at - 2] > l.noted do at = at - 2 end
    if at > 1 and l.marks[at - 2] == l.noted then
      l.marks[at - 1] = l.marks[at - 1] + count
    elseif count > 0 then
      table.insert(l.marks, at, count)
      table.insert(l.marks, at, l.noted)
    end
    l.used = l.used + count
  end
  l.remaining = math.max(0, l.a - l.used)
  l.more = l.used == 0 and 0 or math.max(0, passes_in(l, l.remaining + 1))
  local last = l.marks[#l.marks - 1] or now
  return l.marks, math.ceil((last + l.b - now) / 1000) + 1
end

-- A quota: a requests from b to c, and then from c to d, in seconds. What was counted in a later term goes on counting there.
-- Kept: used, granted, begins, ends, the quota, the key's text.
function judge.q(l, old)
  local seconds = math.floor(now / 1000000)
  if old and old[4] > seconds then
    l.account = old
  else
    if seconds >= l.d then error('the clocks of the replica and of the store are more than a term apart') end
    local later = seconds >= l.c
    l.account, l.fresh = { 0, 0, later and l.c or l.b, later and l.d or l.c, l.a, l.text }, true
  end
  l.account[5] = l.a
  if l.back > 0 and l.mark == l.account[3] then l.account[1] = math.max(0, l.account[1] - l.back) end
  l.passes = l.account[1] + l.cost <= l.a + l.account[2]
  l.retry = l.cost > l.a and -1 or l.passes and 0 or l.account[4] * 1000000 - now
end

function keep.q(l, taken)
  local account = l.account
  local room = math.max(0, l.a + account[2] - account[1])
  if taken then
    l.lease = math.max(0, math.min(l.want, math.floor((room - l.cost) / 2)))
    l.noted = account[3]
    account[1] = account[1] + l.cost + l.lease
    room = room - l.cost - l.lease
  end
  l.remaining, l.more = room, account[1] == 0 and 0 or account[4] * 1000000 - now
  local left = math.ceil(account[4] * 1000 - now / 1000) + 1000
  if taken and l.fresh then
    local index = string.format('%s%.0f', l.index, account[4])
    redis.pcall('SADD', index, l.key)
    redis.pcall('PEXPIRE', index, left)
  end
  return account, left
end

-- Requests at once: a seats, of replicas that have said within b microseconds that they are there; the text is the replica. What
-- it says besides is by `want`: 0, that `back` seats are free again; 1, that it has `back` seats; 2, that it is there. `mark` counts
-- what it says, so that a sum that comes late is none.
-- Kept: of each replica its name, its seats, until when, and the last count.
function judge.c(l, old)
  local kept, own = old or {}, { 0, 0 }
  l.all, l.used = {}, 0
  for i = 1, #kept, 4 do
    if kept[i] == l.text then
      own = { kept[i + 1], kept[i + 3] }
    elseif kept[i + 2] > now then
      -- Nobody has said that he is there for longer: the clock has stepped back.
      local place, ends = #l.all, math.min(kept[i + 2], now + l.b)
      l.all[place + 1], l.all[place + 2], l.all[place + 3], l.all[place + 4] = kept[i], kept[i + 1], ends, kept[i + 3]
      l.used = l.used + kept[i + 1]
    end
  end
  if l.want == 0 then own[1] = math.max(0, own[1] - l.back) end
  if l.want == 1 and own[2] <= l.mark then own[1] = l.back end
  l.own, l.count, l.stepped = own[1], math.max(own[2], l.mark), l.want > 0
  l.used = l.used + l.own
  l.passes, l.retry = l.used + l.cost <= l.a, -1
end

function keep.c(l, taken)
  if taken then l.own, l.used = l.own + l.cost, l.used + l.cost end
  local place = #l.all
  if l.own > 0 then
    l.all[place + 1], l.all[place + 2], l.all[place + 3], l.all[place + 4] = l.text, l.own, now + l.b, l.count
  end
  l.remaining, l.more = math.max(0, l.a - l.used), 0
  return l.all, math.ceil(l.b / 1000)
end

for i = 1, #KEYS / 2 do
  local at = (i - 1) * 12
  local l = { key = KEYS[2 * i - 1], index = KEYS[2 * i], kind = ARGV[at + 2], text = ARGV[at + 12], lease = 0, noted = 0 }
  for place, name in ipairs({ 'group', 'kind', 'cost', 'want', 'back', 'mark', 'a', 'b', 'c', 'd', 'patience' }) do
    if name ~= 'kind' then l[name] = tonumber(ARGV[at + place]) end
  end
  local kept = redis.call('GET', l.key)
  local old = kept and cmsgpack.unpack(kept)
  if kept and type(old) ~= 'table' then error('a key is not as it was left') end
  judge[l.kind](l, old)
  if groups[l.group] == nil then groups[l.group] = true end
  groups[l.group] = groups[l.group] and l.passes
  limits[i] = l
end

local answer = { now }
for _, l in ipairs(limits) do
  local taken = groups[l.group]
  local value, left = keep[l.kind](l, taken)
  if (taken and l.cost + l.lease > 0) or l.back > 0 or l.stepped then
    redis.call('SET', l.key, cmsgpack.pack(value), 'PX', left)
  end
  local passes = taken and 1 or (l.passes and 2 or 0)
  for _, number in ipairs({ passes, l.remaining, l.more, l.retry, l.lease, l.noted }) do answer[#answer + 1] = number end
end
return answer
