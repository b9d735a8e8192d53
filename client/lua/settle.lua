-- settle.lua: acknowledge finished jobs and give others back to the queues from which they came.
--
-- KEYS     as _token and _finish say, then [9] queues, [10…] queue lists
-- ARGV     as _token and _finish say, then the time, number of queues, each: name; number of jobs to give back,
--          each: field ("" for a batch member), place of its queue in that list, original bytes. Last fetched first, so that
--          the one fetched first ends up next to be taken.
-- returns  {"OK", note, dropped, jobs given back}, or what _token returns early
-- atomic   so that no job is in both places, or in none
--- include _token
--- include _types
-- A batch leaves as a whole, so a member that fits nowhere could not stay in progress: it would be lost.
if ARGV[6] == "1" and not resent and not fits(KEYS[4], "zset") then
  for i = 10, #KEYS do
    if not fits(KEYS[i], "list") then
      return redis.error_reply("WRONGTYPE " .. KEYS[i] .. " is no list and " .. KEYS[4] .. " is no sorted set; nothing was changed")
    end
  end
end
--- include _finish
local now = argument()
local names = {}
for _ = 1, tonumber(argument()) do names[#names + 1] = argument() end
local given = 0
if resent then return {"OK", note, dropped, given} end
for _ = 1, tonumber(argument()) do
  local field, place, payload = argument(), tonumber(argument()), argument()
  local is_list = fits(KEYS[9 + place], "list")
  if not is_list and not fits(dead_key, "zset") then
    note = note .. KEYS[9 + place] .. " is no list and " .. dead_key .. " is no sorted set: a job stays in progress; "
  else
    local removed
    if field == "" then removed = closed else removed = redis.call("HDEL", KEYS[1], field) == 1 end
    if removed then
      given = given + 1
      if is_list then
        redis.call("RPUSH", KEYS[9 + place], payload)
        redis.pcall("SADD", KEYS[9], names[place])
      else
        note = note .. KEYS[9 + place] .. " is no list: its job is in the dead set; "
        bury(now, payload)
      end
    end
  end
end
return {"OK", note, dropped, given}
