-- toss.lua: remove jobs from a queue, whose other jobs keep their order, and keep them with their places for a while.
--
-- KEYS[1]  queue list   KEYS[2]  trash, a sorted set
-- ARGV[1]  bytes that no job has   ARGV[2]  after how many jobs from the tail on they are looked for   ARGV[3]  among how many
-- ARGV[4]  seconds for which the trash is kept   ARGV[5…]  of each: its bytes, how many are taken before it
-- returns  {removed, the place among them, from 1 up, of each that did not stand there}
-- atomic   so that a job is in one of the two places, and one that a worker has taken in neither
--- include _types
--- include _may_push
--- include _strike
if not may_push(KEYS[2], "ZADD") then return redis.error_reply("NOPERM no ZADD to " .. KEYS[2] .. "; nothing was changed") end
if not fits(KEYS[2], "zset") then return redis.error_reply("WRONGTYPE " .. KEYS[2] .. " is no sorted set; nothing was changed") end
local wanted = {}
for i = 5, #ARGV, 2 do wanted[ARGV[i]] = (wanted[ARGV[i]] or 0) + 1 end
local found, struck = strike(KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), wanted)
local told = {struck}
for i = 5, #ARGV, 2 do
  local left = found[ARGV[i]] or 0
  found[ARGV[i]] = left - 1
  if left > 0 then redis.call("ZADD", KEYS[2], ARGV[i + 1], ARGV[i]) else told[#told + 1] = (i - 3) / 2 end
end
redis.call("EXPIRE", KEYS[2], ARGV[4])
return told
