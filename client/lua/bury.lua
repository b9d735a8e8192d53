-- bury.lua: move members of a sorted set into the dead set as they are.
--
-- KEYS[1]  schedule or retry   KEYS[2]  dead
-- ARGV[1]  the time   ARGV[2]  dead_cutoff   ARGV[3]  dead_max   ARGV[4…]  the members' bytes
-- returns  {moved, gone, dropped from the dead set}
-- atomic   so that a job is in one of the two sets, and the dead set never over its limits
local dead_key, dead_cutoff, dead_max = KEYS[2], ARGV[2], ARGV[3]
--- include _types
--- include _may_push
--- include _bury
for _, command in ipairs({"ZADD", "ZREMRANGEBYSCORE", "ZREMRANGEBYRANK"}) do
  if not may_push(dead_key, command) then return redis.error_reply("NOPERM no " .. command .. " to " .. dead_key .. "; nothing was changed") end
end
if not fits(dead_key, "zset") then return redis.error_reply("WRONGTYPE " .. dead_key .. " is no sorted set; nothing was changed") end
local moved, gone = 0, 0
for i = 4, #ARGV do
  if redis.call("ZREM", KEYS[1], ARGV[i]) == 1 then
    bury(ARGV[1], ARGV[i])
    moved = moved + 1
  else
    gone = gone + 1
  end
end
return {moved, gone, dropped}
