-- recover.lua: give back the jobs of an owner that take.lua has marked, a limited number a call.
--
-- KEYS[1]  jobs hash   KEYS[2]  batch list   KEYS[3]  directory of owners   KEYS[4]  queues   KEYS[5]  dead
-- KEYS[6], [7]  stat:processed, stat:failed   KEYS[8], [9]  the same of this UTC day   KEYS[10]  suspects of crashes
-- KEYS[11…] lists of the source queues; then for each blamed job the count that it raises, and its other count
-- ARGV[1]  owner   ARGV[2]  jobs this call may move   ARGV[3]  the time   ARGV[4]  dead_cutoff   ARGV[5]  dead_max
-- ARGV[6]  seconds that a day's counters are kept   ARGV[7]  seconds that crashes are remembered
-- ARGV[8]  number of source queues, each: name
-- then     for each single job to blame: its field, its jid, bytes for the dead set, or "" to count a crash and give it back
-- returns  {"MORE" or "DONE", jobs given back, note, dropped, {field of a job that was blamed, …}};
--          {"GONE"} when nothing is left to recover
-- atomic   so that several processes can share the work, none gives a job back twice, and no crash counts twice
--
-- The batch goes first and last member first, then single jobs from the newest: the oldest job is next to be taken again.
local dead_key, dead_cutoff, dead_max = KEYS[5], ARGV[4], ARGV[5]
--- include _types
--- include _bury
if redis.call("EXISTS", KEYS[1], KEYS[2]) == 0 then return {"GONE"} end
if redis.call("HEXISTS", KEYS[1], "taken") == 0 then return redis.error_reply("ERR " .. ARGV[1] .. " is not taken") end
local place, blame, blamed, queues = {}, {}, {}, tonumber(ARGV[8])
for i = 1, queues do place[ARGV[8 + i]] = KEYS[10 + i] end
local next_key = 11 + queues
for i = 9 + queues, #ARGV, 3 do
  blame[ARGV[i]] = {jid = ARGV[i + 1], bytes = ARGV[i + 2], count = KEYS[next_key], other = KEYS[next_key + 1]}
  next_key = next_key + 2
end
local limit, moved, died, note, stat_ttl, crash_ttl = tonumber(ARGV[2]), 0, 0, "", ARGV[6], ARGV[7]
--- include _count

local function home(queue)
  local key = place[queue]
  if fits(key, "list") then return key end
  if fits(dead_key, "zset") then return nil end
  return redis.error_reply("WRONGTYPE " .. key .. " is no list and " .. dead_key .. " is no sorted set")
end
-- Jobs without a source can only come from a damaged record; they are kept where somebody sees them.
local function keep_strays(payloads)
  for _, payload in ipairs(payloads) do bury(ARGV[3], payload) end
  note = note .. #payloads .. " jobs of unknown source are in the dead set; "
end
local function no_dead_set()
  if not fits(dead_key, "zset") then return redis.error_reply("WRONGTYPE " .. dead_key .. " is no sorted set") end
end
local function give_back(key, queue, payloads)
  for _, payload in ipairs(payloads) do
    if key then redis.call("RPUSH", key, payload) else bury(ARGV[3], payload) end
  end
  if key then
    redis.pcall("SADD", KEYS[4], queue)
  else
    note = note .. place[queue] .. " is no list: its jobs are in the dead set; "
  end
  moved = moved + #payloads
end

-- Neither a count nor a set that somebody overwrote may keep a job from going back.
local function remember(command, key, ...)
  local answer = redis.pcall(command, key, ...)
  if type(answer) == "table" and answer.err then
    note = note .. key .. ": " .. answer.err .. "; "
  else
    redis.call("EXPIRE", key, crash_ttl)
  end
end
local function condemn(entry)
  bury(ARGV[3], entry.bytes)
  redis.call("DEL", entry.count, entry.other)
  remember("SREM", KEYS[10], entry.jid)
  count(KEYS[6], KEYS[8], 1)
  count(KEYS[7], KEYS[9], 1)
  moved, died = moved + 1, died + 1
end
local function suspect(entry)
  remember("INCR", entry.count)
  remember("SADD", KEYS[10], entry.jid)
end

local words = {}
for word in string.gmatch(redis.call("HGET", KEYS[1], "batch") or "", "[^\n]+") do words[#words + 1] = word end
while #words > 2 and moved < limit do
  local queue, left = words[#words - 1], tonumber(words[#words])
  if not left or left < 0 then
    words = {}
    break
  end
  local key = home(queue)
  if type(key) == "table" then return key end
  local payloads = redis.call("RPOP", KEYS[2], math.min(left, limit - moved)) or {}
  give_back(key, queue, payloads)
  left = left - #payloads
  if left == 0 or #payloads == 0 then
    words[#words] = nil
    words[#words] = nil
  else
    words[#words] = tostring(left)
  end
  redis.call("HSET", KEYS[1], "batch", table.concat(words, "\n"))
end

local fields = {}
for _, field in ipairs(redis.call("HKEYS", KEYS[1])) do
  local call, index = string.match(field, "^(%d+)%.(%d+)$")
  if call then fields[#fields + 1] = {field, tonumber(call), tonumber(index)} end
end
table.sort(fields, function(a, b) return a[2] > b[2] or (a[2] == b[2] and a[3] > b[3]) end)
local left_over = #fields
for _, entry in ipairs(fields) do
  if moved >= limit then break end
  local value = redis.call("HGET", KEYS[1], entry[1])
  local cut = string.find(value, "\n", 1, true)
  local queue = cut and string.sub(value, 1, cut - 1)
  local guilt, key = blame[entry[1]], nil
  local dies = guilt and guilt.bytes ~= ""
  if cut and not dies then key = home(queue) else key = no_dead_set() end
  if type(key) == "table" then return key end
  redis.call("HDEL", KEYS[1], entry[1])
  if guilt then blamed[#blamed + 1] = entry[1] end
  if guilt and not dies then suspect(guilt) end
  if dies then
    condemn(guilt)
  elseif cut then
    give_back(key, queue, {string.sub(value, cut + 1)})
  else
    keep_strays({value})
  end
  left_over = left_over - 1
end

if #words > 2 or left_over > 0 then return {"MORE", moved - died, note, dropped, blamed} end
if redis.call("EXISTS", KEYS[2]) == 1 then
  local refusal = no_dead_set()
  if refusal then return refusal end
  keep_strays(redis.call("RPOP", KEYS[2], math.max(limit - moved, 1)))
  return {"MORE", moved - died, note, dropped, blamed}
end
redis.call("DEL", KEYS[1], KEYS[2])
redis.call("ZREM", KEYS[3], ARGV[1])
return {"DONE", moved - died, note, dropped, blamed}
