-- absolve.lua: forget the crashes of a job that has come to an end.
--
-- KEYS[1]  suspects   KEYS[2], [3]  its counts of crashes and of lost hosts
-- ARGV[1]  jid
-- returns  1; 0 when there was nothing against it
-- atomic   so that no count is left of which nobody knows
-- The set first: when it is of a wrong type, the counts stay too.
local removed = redis.call("SREM", KEYS[1], ARGV[1])
redis.call("DEL", KEYS[2], KEYS[3])
return removed
