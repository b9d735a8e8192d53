-- cron_hold.lua: say for how much longer a job keeps the next one of its cron entry.
--
-- KEYS[1]  the entry's running job   ARGV[1]  jid   ARGV[2]  milliseconds; 0: it has ended
-- returns  1; 0 when it is not the one that keeps the next
-- atomic   so that a job cannot end the hold of another
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == "0" then return redis.call("DEL", KEYS[1]) end
return redis.call("PEXPIRE", KEYS[1], ARGV[2])
