-- _cron_write.lua: write the fields of a cron entry, from ARGV[first] on: name of the last tick, time, status ("" leaves it
-- as it is, and enables a new one), expression, then field and value. Of a new entry, and of one with another expression, no
-- tick up to now is due, and none is skipped. Returns 1 for a new entry, else 0.
local function write_entry(first)
  local before, cron = redis.call("HGET", KEYS[2], "cron"), ARGV[first + 3]
  redis.call("SADD", KEYS[1], KEYS[2])
  if before ~= cron then redis.call("HDEL", KEYS[2], "skip") end
  redis.call("HSET", KEYS[2], "cron", cron, unpack(ARGV, first + 4))
  if ARGV[first + 2] ~= "" then
    redis.call("HSET", KEYS[2], "status", ARGV[first + 2])
  else
    redis.call("HSETNX", KEYS[2], "status", "enabled")
  end
  redis.call("HSETNX", KEYS[2], "last_enqueue_time", "")
  if before ~= cron or redis.call("EXISTS", KEYS[3]) == 0 then
    redis.call("ZADD", KEYS[3], ARGV[first + 1], ARGV[first])
    redis.call("HSET", KEYS[2], "since", ARGV[first + 1])
  end
  return before and 0 or 1
end
