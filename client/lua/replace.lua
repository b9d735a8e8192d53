-- replace.lua: give a member of a sorted set other bytes, another score, or both.
--
-- KEYS[1]  schedule, retry or dead
-- ARGV[1]  its bytes   ARGV[2]  its bytes from now on   ARGV[3]  its score from now on, or "" to keep it
-- returns  1; 0 when it is gone
-- atomic   so that one that somebody else has moved does not come back, and nobody sees the set without it
--- include _may_push
if not may_push(KEYS[1], "ZADD") then return redis.error_reply("NOPERM no ZADD to " .. KEYS[1] .. "; nothing was changed") end
local score = redis.call("ZSCORE", KEYS[1], ARGV[1])
if not score then return 0 end
redis.call("ZREM", KEYS[1], ARGV[1])
redis.call("ZADD", KEYS[1], ARGV[3] == "" and score or ARGV[3], ARGV[2])
return 1
