-- beat.lua: renew the lease of an owner.
--
-- KEYS[1]  jobs hash of the owner      KEYS[2]  directory of owners
-- ARGV[1]  owner   ARGV[2]  the time
-- returns  1; 0 when the record is gone or taken: the owner is fenced
-- atomic   so that an owner who is being recovered cannot enter the directory again
local held = redis.call("HMGET", KEYS[1], "token", "taken")
if not held[1] or held[2] then return 0 end
redis.call("HDEL", KEYS[1], "")
redis.call("ZADD", KEYS[2], ARGV[2], ARGV[1])
return 1
