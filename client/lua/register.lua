-- register.lua: enter a new owner: its record, facts about its host, and its place in the directory.
--
-- KEYS[1]  jobs hash of the owner      KEYS[2]  directory of owners
-- ARGV[1]  owner   ARGV[2]  token of this call   ARGV[3]  the time   ARGV[4…]  field, value of each fact
-- returns  1, also when this very call is repeated; 0 when the name is taken by somebody else
-- atomic   so that whoever has a record can be found by those who recover
local token = redis.call("HGET", KEYS[1], "token")
if token then return token == ARGV[2] and 1 or 0 end
redis.call("HDEL", KEYS[1], "")
redis.call("HSET", KEYS[1], "token", ARGV[2], unpack(ARGV, 4))
redis.call("ZADD", KEYS[2], ARGV[3], ARGV[1])
return 1
