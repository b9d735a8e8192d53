-- cron_edit.lua: write a cron entry, unless somebody else has made, changed or destroyed it meanwhile.
--
-- KEYS[1]  the set of entries   KEYS[2]  the entry   KEYS[3]  its claimed ticks
-- ARGV[1]  how many fields it must have as they are given; 0 for one that must not be there
-- ARGV[2…] that many times field, value; then, as in cron_save: name of the last tick, time, status, expression, field, value…
-- returns  1; 0 when it is not what the caller has read
-- atomic   so that no change that somebody else has made in between is lost
--- include _types
--- include _cron_write
if not fits(KEYS[1], "set") or not fits(KEYS[2], "hash") or not fits(KEYS[3], "zset") then
  return redis.error_reply("WRONGTYPE " .. KEYS[1] .. ", " .. KEYS[2] .. " or " .. KEYS[3] .. " is another's; nothing was changed")
end
local expected = tonumber(ARGV[1])
if (redis.call("EXISTS", KEYS[2]) == 1) ~= (expected > 0) then return 0 end
for i = 2, 2 * expected, 2 do
  if (redis.call("HGET", KEYS[2], ARGV[i]) or "") ~= ARGV[i + 1] then return 0 end
end
write_entry(2 * expected + 2)
return 1
