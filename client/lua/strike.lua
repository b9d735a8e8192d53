-- strike.lua: remove jobs from a queue, whose other jobs keep their order.
--
-- KEYS[1]  queue list
-- ARGV[1]  bytes that no job has
-- ARGV[2]  after how many jobs from the tail on they are looked for   ARGV[3]  among how many   ARGV[4…]  their bytes
-- returns  {removed, the place among the bytes, from 1 up, of each that did not stand there}
-- atomic   so that a job that is not meant keeps its place, and nobody takes the bytes that stand in for those that are
local queue, mark = KEYS[1], ARGV[1]
-- Removes nothing, and lets the rest through at full memory.
redis.call("LTRIM", queue, 0, -1)
local wanted = {}
for i = 4, #ARGV do wanted[ARGV[i]] = (wanted[ARGV[i]] or 0) + 1 end
local size = redis.call("LLEN", queue)
local last = size - 1 - tonumber(ARGV[2])
local first = math.max(last - tonumber(ARGV[3]) + 1, 0)
local jobs = last < 0 and {} or redis.call("LRANGE", queue, first, last)
local struck = 0
for i = #jobs, 1, -1 do
  local count = wanted[jobs[i]]
  if count and count > 0 then
    wanted[jobs[i]] = count - 1
    redis.call("LSET", queue, first + i - 1, mark)
    struck = struck + 1
  end
end
if struck > 0 then redis.call("LREM", queue, first < size / 2 and struck or -struck, mark) end
local told = {struck}
for i = 4, #ARGV do
  if wanted[ARGV[i]] > 0 then
    wanted[ARGV[i]] = wanted[ARGV[i]] - 1
    told[#told + 1] = i - 3
  end
end
return told
