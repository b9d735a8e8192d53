-- heartbeat.lua: show a process, what it runs and how it is, in Sidekiq's form; take the signals sent to it.
--
-- KEYS[1]  hash of the process   KEYS[2], [3]  its work hash under both names   KEYS[4]  processes   KEYS[5]  its signals
-- ARGV[1]  identity   ARGV[2]  seconds to live   ARGV[3]  number of values, each: field, value
-- then     number of running jobs, each: thread id, JSON
-- returns  signal names, oldest first
-- atomic   so that nobody sees a process without its details (Ruby would remove it)
local at = 3
local function pairs_from_here()
  local values = {}
  local count = tonumber(ARGV[at])
  for i = at + 1, at + 2 * count do values[#values + 1] = ARGV[i] end
  at = at + 1 + 2 * count
  return values
end
local fields, work = pairs_from_here(), pairs_from_here()
redis.call("UNLINK", KEYS[2], KEYS[3])
redis.call("HSET", KEYS[1], unpack(fields))
redis.call("EXPIRE", KEYS[1], ARGV[2])
redis.call("SADD", KEYS[4], ARGV[1])
if #work > 0 then
  for i = 2, 3 do
    redis.call("HSET", KEYS[i], unpack(work))
    redis.call("EXPIRE", KEYS[i], ARGV[2])
  end
end
return redis.call("RPOP", KEYS[5], 100) or {}
