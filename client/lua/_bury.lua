-- _bury.lua: put bytes into the dead set and keep the set within its limits.
--
-- needs  dead_key, dead_cutoff (entries scored below it are dropped), dead_max (entries kept)
-- defines  dropped: how many entries the limits removed
local dropped = 0
local function bury(score, payload)
  redis.call("ZADD", dead_key, score, payload)
  dropped = dropped + redis.call("ZREMRANGEBYSCORE", dead_key, "-inf", "(" .. dead_cutoff)
  dropped = dropped + redis.call("ZREMRANGEBYRANK", dead_key, 0, -(tonumber(dead_max) + 1))
end
