-- lead.lua: hold, renew or win the lease of the process that promotes for the whole cluster.
--
-- KEYS[1]  lease   KEYS[2…]  sorted sets of jobs by time   ARGV[1]  identity   ARGV[2]  milliseconds
-- returns  the milliseconds that are left of another's lease; else a list: for each set the time of its first job, "inf"
--          when it is empty, "-inf" when it cannot be read: whoever then tries to promote from it is told why
-- atomic   so that two processes never both believe it
local holder = redis.call("GET", KEYS[1])
if holder and holder ~= ARGV[1] then
  local left = redis.call("PTTL", KEYS[1])
  -- A lease without an end is nobody's: nothing would ever be promoted again.
  if left >= 0 then return left end
end
redis.call("UNLINK", KEYS[1])
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
local firsts = {}
for i = 2, #KEYS do
  local first = redis.pcall("ZRANGE", KEYS[i], 0, 0, "WITHSCORES")
  firsts[i - 1] = first.err and "-inf" or first[2] or "inf"
end
return firsts
