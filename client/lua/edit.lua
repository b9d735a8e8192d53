-- edit.lua: push a job that somebody has made of another one, which is removed or keeps its place with other bytes.
--
-- KEYS[1]  where the other one is: a queue list, schedule, retry or dead   KEYS[2]  queues   KEYS[3]  queue list
-- ARGV[1]  its bytes   ARGV[2]  its bytes from now on, or "" to remove it   ARGV[3]  name of the queue
-- ARGV[4]  job JSON to push
-- returns  1; 0 when the other one is gone: nothing is pushed then
-- atomic   so that one that a worker or somebody else has taken is not run twice, and none is lost on the way
--- include _types
--- include _may_push
if not fits(KEYS[3], "list") then return redis.error_reply("WRONGTYPE " .. KEYS[3] .. " is no list; nothing was changed") end
if not may_push(KEYS[3]) then return redis.error_reply("NOPERM no LPUSH to " .. KEYS[3] .. "; nothing was changed") end
local listed = fits(KEYS[1], "list")
local function push()
  redis.call("LPUSH", KEYS[3], ARGV[4])
  redis.pcall("SADD", KEYS[2], ARGV[3])
  return 1
end
if ARGV[2] == "" then
  local removed
  if listed then removed = redis.call("LREM", KEYS[1], -1, ARGV[1]) else removed = redis.call("ZREM", KEYS[1], ARGV[1]) end
  if removed == 0 then return 0 end
  return push()
end
-- Nothing is removed here, so that a push is refused at full memory, as all are.
if listed then
  local place = redis.call("LPOS", KEYS[1], ARGV[1], "RANK", -1)
  if not place then return 0 end
  redis.call("LSET", KEYS[1], place, ARGV[2])
  return push()
end
local score = redis.call("ZSCORE", KEYS[1], ARGV[1])
if not score then return 0 end
push()
redis.call("ZREM", KEYS[1], ARGV[1])
redis.call("ZADD", KEYS[1], score, ARGV[2])
return 1
