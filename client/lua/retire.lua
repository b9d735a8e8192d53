-- retire.lua: take a process that has ended out of sight.
--
-- KEYS[1]  hash of the process   KEYS[2], [3]  its work hash under both names   KEYS[4]  processes
-- KEYS[5]  lease of the process that promotes; it ends if it is this one's
-- ARGV[1]  identity
-- returns  1
-- atomic   so that no reader sees half of it
redis.call("SREM", KEYS[4], ARGV[1])
redis.call("UNLINK", KEYS[1], KEYS[2], KEYS[3])
if redis.pcall("GET", KEYS[5]) == ARGV[1] then redis.call("UNLINK", KEYS[5]) end
return 1
