-- retire.lua: take a process that has ended out of sight.
--
-- KEYS[1]  hash of the process   KEYS[2], [3]  its work hash under both names   KEYS[4]  processes
-- ARGV[1]  identity
-- returns  1
-- atomic   so that no reader sees half of it
redis.call("SREM", KEYS[4], ARGV[1])
redis.call("UNLINK", KEYS[1], KEYS[2], KEYS[3])
return 1
