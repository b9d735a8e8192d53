-- _strike.lua: remove jobs from a list in one pass. wanted: bytes -> how many; mark: bytes that no job has.
-- Looks after `skip` jobs from the tail on among `span`; returns how often each was found, and how many in all.
local function strike(queue, mark, skip, span, wanted)
  -- Removes nothing, and lets the rest through at full memory.
  redis.call("LTRIM", queue, 0, -1)
  local size = redis.call("LLEN", queue)
  local last = size - 1 - skip
  local first = math.max(last - span + 1, 0)
  local jobs = last < 0 and {} or redis.call("LRANGE", queue, first, last)
  local found, struck = {}, 0
  for i = #jobs, 1, -1 do
    local count = found[jobs[i]] or 0
    if wanted[jobs[i]] and count < wanted[jobs[i]] then
      found[jobs[i]] = count + 1
      redis.call("LSET", queue, first + i - 1, mark)
      struck = struck + 1
    end
  end
  if struck > 0 then redis.call("LREM", queue, first < size / 2 and struck or -struck, mark) end
  return found, struck
end
