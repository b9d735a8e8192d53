-- pause.lua: stop the fetching of a queue and note who asked for it.
--
-- KEYS[1]  paused, set of queue names (also read by Sidekiq)   KEYS[2]  queue name to note
-- ARGV[1]  name of the queue   ARGV[2]  note
-- returns  1, or 0 when the queue was paused already (the older note stays)
-- atomic   so that nobody sees a pause without its note
-- The first write removes, so that a queue can be paused at full memory.
redis.call("HDEL", KEYS[2], "")
local added = redis.call("SADD", KEYS[1], ARGV[1])
if added == 1 then redis.call("HSET", KEYS[2], ARGV[1], ARGV[2]) end
return added
