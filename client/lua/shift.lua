-- shift.lua: move jobs of a queue to where it is taken from, or to the other end of another queue.
--
-- KEYS[1]  queue list   KEYS[2]  list that they enter, perhaps the same   KEYS[3]  queues
-- ARGV[1]  bytes that no job has   ARGV[2]  after how many jobs from the tail on they are looked for   ARGV[3]  among how many
-- ARGV[4]  name of the queue that they enter   ARGV[5]  front or back   ARGV[6…]  of each, next first: its bytes, bytes to push
-- returns  {moved, the place in that list, from 1 up, of each that did not stand there}
-- atomic   so that a job is in one of the two places, and one that a worker has taken is not doubled
--- include _types
--- include _may_push
--- include _strike
if not fits(KEYS[2], "list") then return redis.error_reply("WRONGTYPE " .. KEYS[2] .. " is no list; nothing was changed") end
local push = ARGV[5] == "front" and "RPUSH" or "LPUSH"
if not may_push(KEYS[2], push) then return redis.error_reply("NOPERM no " .. push .. " to " .. KEYS[2] .. "; nothing was changed") end
local wanted = {}
for i = 6, #ARGV, 2 do wanted[ARGV[i]] = (wanted[ARGV[i]] or 0) + 1 end
local found, struck = strike(KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), wanted)
local told, pushed = {struck}, {}
for i = 6, #ARGV, 2 do
  local left = found[ARGV[i]] or 0
  found[ARGV[i]] = left - 1
  if left > 0 then pushed[#pushed + 1] = ARGV[i + 1] else told[#told + 1] = (i - 4) / 2 end
end
for i = 1, #pushed do
  redis.call(push, KEYS[2], pushed[push == "RPUSH" and #pushed + 1 - i or i])
end
if struck > 0 then redis.pcall("SADD", KEYS[3], ARGV[4]) end
return told
