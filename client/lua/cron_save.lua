-- cron_save.lua: write the definition of a cron entry.
--
-- KEYS[1]  the set of entries   KEYS[2]  the entry   KEYS[3]  its claimed ticks
-- ARGV[1]  name of the last tick   ARGV[2]  the time   ARGV[3]  its status; "" leaves it as it is, and enables a new one
-- ARGV[4]  its expression   ARGV[5…]  field, value
-- returns  1 for a new entry, else 0. Of a new one, and of one with another expression, no tick up to now is due, and none is skipped.
-- atomic   so that of several processes that write the same entry only the first says from when on it ticks
--- include _types
--- include _cron_write
if not fits(KEYS[1], "set") or not fits(KEYS[2], "hash") or not fits(KEYS[3], "zset") then
  return redis.error_reply("WRONGTYPE " .. KEYS[1] .. ", " .. KEYS[2] .. " or " .. KEYS[3] .. " is another's; nothing was changed")
end
return write_entry(1)
