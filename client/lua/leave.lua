-- leave.lua: remove an owner that has nothing in progress.
--
-- KEYS[1]  jobs hash   KEYS[2]  batch list   KEYS[3]  directory of owners
-- ARGV[1]  owner
-- returns  1; 0 when jobs are left in its record, which recovery then gives back
-- atomic   so that an entry disappears only together with an empty record
if redis.call("EXISTS", KEYS[2]) == 1 then return 0 end
for _, field in ipairs(redis.call("HKEYS", KEYS[1])) do
  if string.match(field, "^%d+%.%d+$") then return 0 end
end
redis.call("DEL", KEYS[1])
redis.call("ZREM", KEYS[3], ARGV[1])
return 1
