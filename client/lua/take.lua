-- take.lua: begin the recovery of an owner; from here on its own calls are refused.
--
-- KEYS[1]  jobs hash   KEYS[2]  batch list   KEYS[3]  directory of owners
-- ARGV[1]  owner   ARGV[2]  who recovers   ARGV[3]  score that the directory must still show, or "" for any
-- returns  {"ALIVE"} when the score has changed, {"GONE"} when there is no record (its entry is removed),
--          {"TAKEN", {source queue, …}} else
-- atomic   so that a beat in the last moment wins, or comes too late
if ARGV[3] ~= "" then
  local score = redis.call("ZSCORE", KEYS[3], ARGV[1])
  if not score or tonumber(score) ~= tonumber(ARGV[3]) then return {"ALIVE"} end
end
if redis.call("EXISTS", KEYS[1], KEYS[2]) == 0 then
  redis.call("ZREM", KEYS[3], ARGV[1])
  return {"GONE"}
end
redis.call("HDEL", KEYS[1], "")
redis.call("HSETNX", KEYS[1], "taken", ARGV[2])
local seen, queues = {}, {}
local function add(queue)
  if not seen[queue] then
    seen[queue] = true
    queues[#queues + 1] = queue
  end
end
local record = redis.call("HGETALL", KEYS[1])
for i = 1, #record, 2 do
  local single = string.match(record[i], "^%d+%.%d+$") and string.match(record[i + 1], "^([^\n]*)\n")
  if single then add(single) end
  if record[i] == "batch" then
    for queue in string.gmatch(record[i + 1], "\n([^\n]+)\n%d+") do add(queue) end
  end
end
return {"TAKEN", queues}
