-- clear.lua: remove a queue with all its jobs.
--
-- KEYS[1]  queue list   KEYS[2]  queues   ARGV[1]  name of the queue
-- returns  how many jobs it held
-- atomic   so that the number is that of the jobs removed, and a queue with jobs is always known
--- include _types
if not fits(KEYS[1], "list") then return redis.error_reply("WRONGTYPE " .. KEYS[1] .. " is no list; nothing was changed") end
local length = redis.call("LLEN", KEYS[1])
redis.call("UNLINK", KEYS[1])
redis.pcall("SREM", KEYS[2], ARGV[1])
return length
