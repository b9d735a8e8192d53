-- _count.lua: add to a statistics counter and to that of the day.
--
-- needs  note (text, is added to), stat_ttl (seconds that a day's counter is kept)
-- A counter that somebody overwrote with text must not undo what has happened to a job.
local function count(total, day, by)
  if by == 0 then return end
  for _, key in ipairs({total, day}) do
    local answer = redis.pcall("INCRBY", key, by)
    if type(answer) == "table" and answer.err then note = note .. key .. ": " .. answer.err .. "; " end
  end
  redis.call("EXPIRE", day, stat_ttl)
end
