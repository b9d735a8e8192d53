-- fetch.lua: acknowledge finished jobs and take new ones.
--
-- KEYS     as _token and _finish say, then [9] paused, [10] suspects of crashes, [11…] queue lists in the order in which to try them
-- ARGV     as _token and _finish say, then number of this call, jobs wanted (at most 1,000), "batch" or "single",
--          number of queues, each: name, quota
-- returns  {"OK", note, dropped, {queue, count, …}, {payload, …}, 1 when jobs were taken and there are suspects, else 0}:
--          run lengths of source queues, and the original bytes; or what _token returns early
-- atomic   so that every job is either in a queue or in the owner's record
--- include _token
--- include _types
--- include _finish
local call, want, mode = argument(), tonumber(argument()), argument()
local names, quotas = {}, {}
for i = 1, tonumber(argument()) do names[i], quotas[i] = argument(), tonumber(argument()) end

local runs, payloads = {}, {}
local function add_run(queue, count)
  if #runs > 0 and runs[#runs - 1] == queue then
    runs[#runs] = runs[#runs] + count
  else
    runs[#runs + 1] = queue
    runs[#runs + 1] = count
  end
end

local function answer()
  local suspects = #payloads > 0 and redis.call("EXISTS", KEYS[10]) or 0
  return {"OK", note, dropped, runs, payloads, suspects}
end

if resent then
  -- Nothing was changed since: what this call took is still there under its number.
  if held[3] and string.match(held[3], "^[^\n]*") == call then
    local words = {}
    for word in string.gmatch(held[3], "[^\n]+") do words[#words + 1] = word end
    for i = 2, #words, 2 do add_run(words[i], tonumber(words[i + 1])) end
    payloads = redis.call("LRANGE", KEYS[2], 0, -1)
  else
    for i = 1, want do
      local value = redis.call("HGET", KEYS[1], call .. "." .. i)
      if not value then break end
      local cut = string.find(value, "\n", 1, true)
      add_run(string.sub(value, 1, cut - 1), 1)
      payloads[#payloads + 1] = string.sub(value, cut + 1)
    end
  end
  return answer()
end

if want == 0 or #names == 0 then return answer() end
local paused = redis.pcall("SMISMEMBER", KEYS[9], unpack(names))
if paused.err then
  note = note .. KEYS[9] .. ": " .. paused.err .. "; "
  paused = {}
end
if mode == "batch" and redis.call("EXISTS", KEYS[2]) == 1 then mode = "single" end
local spent = {}
for i in ipairs(names) do spent[i] = paused[i] == 1 end

local function keep(name, taken)
  add_run(name, #taken)
  local before = #payloads
  if mode == "batch" then
    redis.call("RPUSH", KEYS[2], unpack(taken))
  else
    for i, payload in ipairs(taken) do
      redis.call("HSET", KEYS[1], call .. "." .. before + i, name .. "\n" .. payload)
    end
  end
  if before == 0 then
    payloads = taken
    return
  end
  for i, payload in ipairs(taken) do payloads[before + i] = payload end
end

-- Asks a queue for so many jobs, or for what is still wanted if that is less.
local function take(i, count)
  count = math.min(count, want - #payloads)
  if spent[i] or count <= 0 then return end
  local taken = redis.pcall("RPOP", KEYS[10 + i], count) or {}
  if taken.err then
    note = note .. KEYS[10 + i] .. ": " .. taken.err .. "; "
    spent[i] = true
    return
  end
  spent[i] = #taken < count
  if #taken > 0 then keep(names[i], taken) end
end

for i, quota in ipairs(quotas) do take(i, quota) end
for i in ipairs(names) do take(i, want) end
if mode == "batch" and #payloads > 0 then
  redis.call("HSET", KEYS[1], "batch", call .. "\n" .. table.concat(runs, "\n"))
end
return answer()
