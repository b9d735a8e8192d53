-- _finish.lua: acknowledge what the caller has finished. Included by fetch, ack and settle after _token and _types.
--
-- KEYS[3] retry   KEYS[4] dead   KEYS[5], [6] stat:processed, stat:failed   KEYS[7], [8] the same of this UTC day
-- ARGV[3]  dead_cutoff   ARGV[4]  dead_max   ARGV[5]  seconds that a day's counters are kept
-- ARGV[6]  1 to close the open batch, else 0; then
--          number of batch members that succeeded
--          number of stragglers, each: field, value     batch members still running, kept as single jobs
--          number of single jobs that succeeded, each: field
--          number of moves, each: field ("" for a batch member), target ("retry", "dead" or ""), score, bytes, processed, failed
-- defines  at: index of the next argument; closed: the batch was closed by this call; note: what went wrong, or ""
--
-- Whatever is counted or moved is counted or moved only where this call really removed its record.
local dead_key, dead_cutoff, dead_max = KEYS[4], ARGV[3], ARGV[4]
--- include _bury
local at, note, closed, stat_ttl = 6, "", false, ARGV[5]
--- include _count
local function argument()
  at = at + 1
  return ARGV[at - 1]
end

local function finish()
  local closing, batch_done = argument() == "1", tonumber(argument())
  local stragglers, done, moves = {}, {}, {}
  for _ = 1, tonumber(argument()) * 2 do stragglers[#stragglers + 1] = argument() end
  for _ = 1, tonumber(argument()) do done[#done + 1] = argument() end
  local to_retry, to_dead = false, false
  for _ = 1, tonumber(argument()) do
    local move = {argument(), argument(), argument(), argument(), tonumber(argument()), tonumber(argument())}
    to_retry, to_dead = to_retry or move[2] == "retry", to_dead or move[2] == "dead"
    moves[#moves + 1] = move
  end
  if resent then return end
  if to_retry and not fits(KEYS[3], "zset") then return KEYS[3] end
  if to_dead and not fits(KEYS[4], "zset") then return KEYS[4] end

  -- The first write removes, so that Redis lets the script through at full memory.
  redis.call("HDEL", KEYS[1], "")
  local processed, failed = 0, 0
  if closing and redis.call("DEL", KEYS[2]) == 1 then
    closed = true
    processed = batch_done
    redis.call("HDEL", KEYS[1], "batch")
    if #stragglers > 0 then redis.call("HSET", KEYS[1], unpack(stragglers)) end
  end
  if #done > 0 then processed = processed + redis.call("HDEL", KEYS[1], unpack(done)) end
  for _, move in ipairs(moves) do
    local removed
    if move[1] == "" then removed = closed else removed = redis.call("HDEL", KEYS[1], move[1]) == 1 end
    if removed then
      if move[2] == "retry" then redis.call("ZADD", KEYS[3], move[3], move[4]) end
      if move[2] == "dead" then bury(move[3], move[4]) end
      processed, failed = processed + move[5], failed + move[6]
    end
  end
  redis.call("HSET", KEYS[1], "token", ARGV[2])
  count(KEYS[5], KEYS[7], processed)
  count(KEYS[6], KEYS[8], failed)
end

local wrong = finish()
if wrong then return redis.error_reply("WRONGTYPE " .. wrong .. " is no sorted set; nothing was changed") end
