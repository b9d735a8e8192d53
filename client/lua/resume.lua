-- resume.lua: let a paused queue be fetched again.
--
-- KEYS[1]  paused   KEYS[2]  queue name to note
-- ARGV[1]  name of the queue
-- returns  1, or 0 when the queue was not paused
-- atomic   so that nobody sees a note without its pause
-- The set first: when it is of a wrong type, the note stays too.
local removed = redis.call("SREM", KEYS[1], ARGV[1])
redis.call("HDEL", KEYS[2], ARGV[1])
return removed
