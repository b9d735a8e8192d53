-- promote.lua: move due members of `schedule` or `retry` into their queues.
--
-- KEYS[1]  schedule or retry   KEYS[2]  dead   KEYS[3]  queues   KEYS[4…]  queue lists
-- ARGV[1]  the time   ARGV[2]  dead_cutoff   ARGV[3]  dead_max   ARGV[4]  number of queues, each: name; then
--          for each member: its bytes, place of its queue in that list (0: no job, bury it), bytes to push
-- returns  {promoted, buried, note, dropped}
-- atomic   so that a crash between taking and pushing cannot lose a job, and two processes cannot promote it twice
local dead_key, dead_cutoff, dead_max = KEYS[2], ARGV[2], ARGV[3]
--- include _types
--- include _may_push
--- include _bury
local now, count = tonumber(ARGV[1]), tonumber(ARGV[4])
if not fits(dead_key, "zset") then return redis.error_reply("WRONGTYPE " .. dead_key .. " is no sorted set") end
local is_list = {}
for i = 1, count do
  if not may_push(KEYS[3 + i]) then return redis.error_reply("NOPERM no LPUSH to " .. KEYS[3 + i] .. "; nothing was changed") end
  is_list[i] = fits(KEYS[3 + i], "list")
end
local promoted, buried, note = 0, 0, ""
for i = 5 + count, #ARGV, 3 do
  local member, place, payload = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  local score = redis.call("ZSCORE", KEYS[1], member)
  if score and tonumber(score) <= now and redis.call("ZREM", KEYS[1], member) == 1 then
    if is_list[place] then
      redis.call("LPUSH", KEYS[3 + place], payload)
      redis.pcall("SADD", KEYS[3], ARGV[4 + place])
      promoted = promoted + 1
    else
      if place > 0 then note = note .. KEYS[3 + place] .. " is no list: its job is in the dead set; " end
      bury(ARGV[1], member)
      buried = buried + 1
    end
  end
end
return {promoted, buried, note, dropped}
