-- push.lua: put jobs into a queue.
--
-- KEYS[1]  queues   KEYS[2]  queue list
-- ARGV[1]  name of the queue   ARGV[2…]  job JSON, at most 1,000
-- returns  length of the queue
-- atomic   so that one reply stands for all of it, and a queue with jobs is always known
local length = redis.call("LPUSH", KEYS[2], unpack(ARGV, 2))
redis.pcall("SADD", KEYS[1], ARGV[1])
return length
