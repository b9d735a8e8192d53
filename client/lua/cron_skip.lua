-- cron_skip.lua: have one tick of a cron entry, which is still to come, skipped.
--
-- KEYS[1]  the entry   KEYS[2]  its claimed ticks
-- ARGV[1]  name of the tick   ARGV[2]  its time   ARGV[3]  the expression that it is of
-- returns  1; 0 when there is no such entry, it is disabled or has another expression, or somebody has the tick
-- atomic   so that nobody is told that a tick is skipped which runs
--- include _types
if not fits(KEYS[1], "hash") or not fits(KEYS[2], "zset") then
  return redis.error_reply("WRONGTYPE " .. KEYS[1] .. " is no cron entry; nothing was changed")
end
local entry = redis.call("HMGET", KEYS[1], "cron", "status")
if entry[1] ~= ARGV[3] or entry[2] ~= "enabled" or redis.call("ZSCORE", KEYS[2], ARGV[1]) then return 0 end
redis.call("HDEL", KEYS[1], "skip")
redis.call("HSET", KEYS[1], "skip", ARGV[2])
return 1
