-- requeue.lua: move members of a sorted set into their queues, whatever their time.
--
-- KEYS[1]  schedule, retry or dead   KEYS[2]  queues   KEYS[3…]  queue lists
-- ARGV[1]  number of queues, each: name; then for each member: its bytes, place of its queue in that list, bytes to push
-- returns  {moved, gone, note}; a member whose queue is of a wrong type stays, and note says so
-- atomic   so that a job is in the set or in its queue, and one that somebody else has moved is not doubled
--          Each is removed before it counts as one to be pushed; a queue gets its jobs at once, at most 300 of them.
--- include _types
--- include _may_push
local count = tonumber(ARGV[1])
local is_list, jobs = {}, {}
for i = 1, count do
  if not may_push(KEYS[2 + i]) then return redis.error_reply("NOPERM no LPUSH to " .. KEYS[2 + i] .. "; nothing was changed") end
  is_list[i], jobs[i] = fits(KEYS[2 + i], "list"), {}
end
local moved, gone, note, noted = 0, 0, "", {}
for i = 2 + count, #ARGV, 3 do
  local place = tonumber(ARGV[i + 1])
  if not is_list[place] then
    if not noted[place] then note = note .. KEYS[2 + place] .. " is no list: its jobs stay in " .. KEYS[1] .. "; " end
    noted[place] = true
  elseif redis.call("ZREM", KEYS[1], ARGV[i]) == 1 then
    jobs[place][#jobs[place] + 1] = ARGV[i + 2]
    moved = moved + 1
  else
    gone = gone + 1
  end
end
local filled = {}
for i = 1, count do
  if #jobs[i] > 0 then
    redis.call("LPUSH", KEYS[2 + i], unpack(jobs[i]))
    filled[#filled + 1] = ARGV[1 + i]
  end
end
if moved > 0 then redis.pcall("SADD", KEYS[2], unpack(filled)) end
return {moved, gone, note}
