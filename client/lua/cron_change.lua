-- cron_change.lua: set fields of a cron entry that exists.
--
-- KEYS[1]  the entry   KEYS[2]  its claimed ticks
-- ARGV[1]  name of the last tick, "" to leave the ticks alone; else ticks begin anew: those up to now are not missed
-- ARGV[2]  the time   ARGV[3…]  field, value
-- returns  1; 0 when there is no such entry
-- atomic   so that no part of an entry comes back that somebody is destroying
--- include _types
if not fits(KEYS[1], "hash") or not fits(KEYS[2], "zset") then
  return redis.error_reply("WRONGTYPE " .. KEYS[1] .. " is no cron entry; nothing was changed")
end
if redis.call("EXISTS", KEYS[1]) == 0 then return 0 end
redis.call("HDEL", KEYS[1], "")
if ARGV[1] ~= "" then
  redis.call("ZADD", KEYS[2], ARGV[2], ARGV[1])
  redis.call("HSET", KEYS[1], "since", ARGV[2])
end
redis.call("HSET", KEYS[1], unpack(ARGV, 3))
return 1
