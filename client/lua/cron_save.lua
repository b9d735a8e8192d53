-- cron_save.lua: write the definition of a cron entry.
--
-- KEYS[1]  the set of entries   KEYS[2]  the entry   KEYS[3]  its claimed ticks
-- ARGV[1]  name of the last tick   ARGV[2]  the time   ARGV[3]  its status; "" leaves it as it is, and enables a new one
-- ARGV[4]  its expression   ARGV[5…]  field, value
-- returns  1 for a new entry, else 0. Of a new one, and of one with another expression, no tick up to now is due, and none is skipped.
-- atomic   so that of several processes that write the same entry only the first says from when on it ticks
--- include _types
if not fits(KEYS[1], "set") or not fits(KEYS[2], "hash") or not fits(KEYS[3], "zset") then
  return redis.error_reply("WRONGTYPE " .. KEYS[1] .. ", " .. KEYS[2] .. " or " .. KEYS[3] .. " is another's; nothing was changed")
end
local before = redis.call("HGET", KEYS[2], "cron")
redis.call("SADD", KEYS[1], KEYS[2])
if before ~= ARGV[4] then redis.call("HDEL", KEYS[2], "skip") end
redis.call("HSET", KEYS[2], "cron", ARGV[4], unpack(ARGV, 5))
if ARGV[3] ~= "" then
  redis.call("HSET", KEYS[2], "status", ARGV[3])
else
  redis.call("HSETNX", KEYS[2], "status", "enabled")
end
redis.call("HSETNX", KEYS[2], "last_enqueue_time", "")
if before ~= ARGV[4] or redis.call("EXISTS", KEYS[3]) == 0 then
  redis.call("ZADD", KEYS[3], ARGV[2], ARGV[1])
  redis.call("HSET", KEYS[2], "since", ARGV[2])
end
return before and 0 or 1
