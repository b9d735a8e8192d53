-- cron_note.lua: note at a run of a cron entry how its job has ended.
--
-- KEYS[1]  the entry's runs
-- ARGV[1]  the run as it was read   ARGV[2]  the same with its end   ARGV[3]  runs that are kept
-- returns  1; 0 when the run is not there any more, or not as it was read
-- atomic   so that it takes the place of its own run, whatever runs have come before it meanwhile
--- include _types
if not fits(KEYS[1], "list") then return redis.error_reply("WRONGTYPE " .. KEYS[1] .. " is no list; nothing was changed") end
redis.call("LTRIM", KEYS[1], 0, ARGV[3] - 1)
for place, run in ipairs(redis.call("LRANGE", KEYS[1], 0, ARGV[3] - 1)) do
  if run == ARGV[1] then
    redis.call("LSET", KEYS[1], place - 1, ARGV[2])
    return 1
  end
end
return 0
