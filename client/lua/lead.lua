-- lead.lua: hold, renew or win the lease of the process that promotes for the whole cluster.
--
-- KEYS[1]  lease   ARGV[1]  identity   ARGV[2]  milliseconds
-- returns  1 when the lease is the caller's now, else 0
-- atomic   so that two processes never both believe it
local holder = redis.call("GET", KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call("UNLINK", KEYS[1])
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
return 1
