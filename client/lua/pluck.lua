-- pluck.lua: move one job out of a queue into the dead set as it is.
--
-- KEYS[1]  queue list   KEYS[2]  dead
-- ARGV[1]  the time   ARGV[2]  dead_cutoff   ARGV[3]  dead_max   ARGV[4]  its bytes
-- returns  {moved, gone, dropped from the dead set}
-- atomic   so that a job is in one of the two places, and one that a worker has taken is not doubled
local dead_key, dead_cutoff, dead_max = KEYS[2], ARGV[2], ARGV[3]
--- include _types
--- include _bury
if not fits(dead_key, "zset") then return redis.error_reply("WRONGTYPE " .. dead_key .. " is no sorted set; nothing was changed") end
if redis.call("LREM", KEYS[1], -1, ARGV[4]) == 0 then return {0, 1, 0} end
bury(ARGV[1], ARGV[4])
return {1, 0, dropped}
