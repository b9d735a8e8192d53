-- discard.lua: remove members of a sorted set, and keep them with their scores for a while.
--
-- KEYS[1]  schedule, retry or dead   KEYS[2]  trash, a sorted set
-- ARGV[1]  seconds for which that is kept   ARGV[2…]  the members' bytes
-- returns  {removed, gone}
-- atomic   so that a job is in one of the two places
--- include _types
--- include _may_push
if not may_push(KEYS[2], "ZADD") then return redis.error_reply("NOPERM no ZADD to " .. KEYS[2] .. "; nothing was changed") end
if not fits(KEYS[2], "zset") then return redis.error_reply("WRONGTYPE " .. KEYS[2] .. " is no sorted set; nothing was changed") end
local removed, gone = 0, 0
for i = 2, #ARGV do
  local score = redis.call("ZSCORE", KEYS[1], ARGV[i])
  if score then
    redis.call("ZREM", KEYS[1], ARGV[i])
    redis.call("ZADD", KEYS[2], score, ARGV[i])
    removed = removed + 1
  else
    gone = gone + 1
  end
end
redis.call("EXPIRE", KEYS[2], ARGV[1])
return {removed, gone}
