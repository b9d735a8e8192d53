-- strike.lua: remove jobs from a queue, whose other jobs keep their order.
--
-- KEYS[1]  queue list
-- ARGV[1]  bytes that no job has
-- ARGV[2]  after how many jobs from the tail on they are looked for   ARGV[3]  among how many   ARGV[4…]  their bytes
-- returns  {removed, the place among the bytes, from 1 up, of each that did not stand there}
-- atomic   so that a job that is not meant keeps its place, and nobody takes the bytes that stand in for those that are
--- include _strike
local wanted = {}
for i = 4, #ARGV do wanted[ARGV[i]] = (wanted[ARGV[i]] or 0) + 1 end
local found, struck = strike(KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), wanted)
local told = {struck}
for i = 4, #ARGV do
  local left = found[ARGV[i]] or 0
  found[ARGV[i]] = left - 1
  if left < 1 then told[#told + 1] = i - 3 end
end
return told
