-- schedule.lua: put jobs into the scheduled set.
--
-- KEYS[1]  schedule   ARGV  score, job JSON, at most 1,000 pairs
-- returns  number of new members
-- atomic   as one command; a script so that every push is sent in the same way
return redis.call("ZADD", KEYS[1], unpack(ARGV))
