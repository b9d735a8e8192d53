-- unbatch.lua: make the members of the batch of an owner that take.lua has marked single jobs, so that each can be blamed.
--
-- KEYS[1]  jobs hash   KEYS[2]  batch list
-- returns  how many; 0 when there is no batch, when it is damaged, or when nobody has marked the owner
-- atomic   so that a job is a member or single, and not both
local held = redis.call("HMGET", KEYS[1], "batch", "taken")
if not held[1] or not held[2] then return 0 end
local words = {}
for word in string.gmatch(held[1], "[^\n]+") do words[#words + 1] = word end
local members, source = redis.call("LRANGE", KEYS[2], 0, -1), {}
for i = 2, #words - 1, 2 do
  for _ = 1, math.min(tonumber(words[i + 1]) or 0, #members + 1) do source[#source + 1] = words[i] end
end
if #members == 0 or #source ~= #members or not string.match(words[1], "^%d+$") then return 0 end
redis.call("HDEL", KEYS[1], "batch")
redis.call("DEL", KEYS[2])
for i, payload in ipairs(members) do
  redis.call("HSET", KEYS[1], words[1] .. "." .. i, source[i] .. "\n" .. payload)
end
return #members
