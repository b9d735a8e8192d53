-- spread.lua: give members of a sorted set each a time at which they run.
--
-- KEYS[1]  schedule, retry or dead   KEYS[2]  schedule or retry
-- ARGV     for each member: its bytes, its bytes from now on, its time
-- returns  {moved, gone}
-- atomic   so that a job is in one of the two sets, and one that somebody else has moved is not doubled
--- include _types
--- include _may_push
if not may_push(KEYS[2], "ZADD") then return redis.error_reply("NOPERM no ZADD to " .. KEYS[2] .. "; nothing was changed") end
if not fits(KEYS[2], "zset") then return redis.error_reply("WRONGTYPE " .. KEYS[2] .. " is no sorted set; nothing was changed") end
for i = 3, #ARGV, 3 do
  local time = tonumber(ARGV[i])
  -- NaN is not equal to itself.
  if not time or time ~= time or math.abs(time) == math.huge then
    return redis.error_reply("ERR " .. ARGV[i] .. " is no time; nothing was changed")
  end
end
local moved, gone = 0, 0
for i = 1, #ARGV, 3 do
  if redis.call("ZREM", KEYS[1], ARGV[i]) == 1 then
    redis.call("ZADD", KEYS[2], ARGV[i + 2], ARGV[i + 1])
    moved = moved + 1
  else
    gone = gone + 1
  end
end
return {moved, gone}
