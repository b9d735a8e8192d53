-- cron_tick.lua: push the job of a cron entry for one tick, or note why it is not run.
--
-- KEYS[1]  the entry   KEYS[2]  its claimed ticks   KEYS[3]  its jid_history   KEYS[4]  its runs   KEYS[5]  its running job
-- KEYS[6]  queues   KEYS[7]  queue list
-- ARGV[1]  how it is claimed: "tick", by being the first to enter it; "late", if nobody has come that far; "hand", not at all
-- ARGV[2]  name of the tick   ARGV[3]  its time   ARGV[4]  time up to which a tick is a missed one
-- ARGV[5]  ticks before this time are forgotten   ARGV[6], [7]  entries that jid_history and runs keep
-- ARGV[8]  seconds that runs are kept   ARGV[9]  name of the queue   ARGV[10]  job JSON; "" to push nothing
-- ARGV[11] jid   ARGV[12] milliseconds for which the job keeps the next one, 0 for not at all
-- ARGV[13] value of last_enqueue_time   ARGV[14] of jid_history   ARGV[15] of runs   ARGV[16] of runs if the last job has not ended
-- ARGV[17] of runs if it was asked to skip this tick   ARGV[18…] field of the entry, the value that it must still have
-- returns  "PUSHED"; "NOTED" when nothing was to be pushed; "OVERLAP" when the last job has not ended; "SKIPPED" when somebody
--          wanted this tick skipped; "TAKEN" when another has it; "CHANGED" when the entry is not the one that the caller has read
-- atomic   so that whoever claims a tick has pushed its job: nobody can die in between
--- include _types
local wanted = {"hash", "zset", "list", "list", "string", "set", "list"}
for i = 1, #KEYS do
  if not fits(KEYS[i], wanted[i]) then
    return redis.error_reply("WRONGTYPE " .. KEYS[i] .. " is no " .. wanted[i] .. "; nothing was changed")
  end
end
for i = 18, #ARGV, 2 do
  if (redis.call("HGET", KEYS[1], ARGV[i]) or "") ~= ARGV[i + 1] then return "CHANGED" end
end
-- Of what was before the oldest claim that is remembered nobody can tell whether it was run.
local oldest = redis.call("ZRANGE", KEYS[2], 0, 0, "WITHSCORES")[2]
if ARGV[1] ~= "hand" and oldest and tonumber(ARGV[3]) < tonumber(oldest) then return "TAKEN" end
if ARGV[1] == "tick" then
  if redis.call("ZADD", KEYS[2], "NX", ARGV[3], ARGV[2]) == 0 then return "TAKEN" end
  redis.call("ZREMRANGEBYSCORE", KEYS[2], 0, "(" .. ARGV[5])
elseif ARGV[1] == "late" then
  local reached = tonumber(redis.call("HGET", KEYS[1], "caught_up") or "0") or 0
  if tonumber(ARGV[3]) <= reached or redis.call("ZCOUNT", KEYS[2], ARGV[3], ARGV[4]) > 0 then return "TAKEN" end
  redis.call("HSET", KEYS[1], "caught_up", ARGV[3])
end
local function note(run)
  redis.call("LPUSH", KEYS[4], run)
  redis.call("LTRIM", KEYS[4], 0, ARGV[7] - 1)
  redis.call("EXPIRE", KEYS[4], ARGV[8])
end
local skip = ARGV[1] ~= "hand" and tonumber(redis.call("HGET", KEYS[1], "skip") or "")
if skip and tonumber(ARGV[3]) >= skip then
  redis.call("HDEL", KEYS[1], "skip")
  if tonumber(ARGV[3]) == skip then
    note(ARGV[17])
    return "SKIPPED"
  end
end
if ARGV[10] == "" then
  note(ARGV[15])
  return "NOTED"
end
if ARGV[12] ~= "0" and ARGV[1] ~= "hand" and redis.call("EXISTS", KEYS[5]) == 1 then
  note(ARGV[16])
  return "OVERLAP"
end
redis.call("LPUSH", KEYS[7], ARGV[10])
redis.call("SADD", KEYS[6], ARGV[9])
if ARGV[12] ~= "0" then redis.call("SET", KEYS[5], ARGV[11], "PX", ARGV[12]) end
redis.call("HSET", KEYS[1], "last_enqueue_time", ARGV[13])
redis.call("LPUSH", KEYS[3], ARGV[14])
redis.call("LTRIM", KEYS[3], 0, ARGV[6] - 1)
note(ARGV[15])
return "PUSHED"
