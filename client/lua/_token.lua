-- _token.lua: may this caller change the record, and is the call new? Included by fetch, ack and settle.
--
-- KEYS[1]  jobs hash of the owner      KEYS[2]  batch list of the owner
-- ARGV[1]  token that the caller expects to find
-- ARGV[2]  token of this call
-- defines  resent: this very call was carried out before and only its reply was lost
-- returns early  {"FENCED"}  the record is gone or taken: somebody recovers this owner
--                {"RESYNC", token, batch runs, {batch payload …}, {field, value …}}  the server forgot calls
local held = redis.call("HMGET", KEYS[1], "token", "taken", "batch")
if not held[1] or held[2] then return {"FENCED"} end
if held[1] ~= ARGV[1] and held[1] ~= ARGV[2] then
  return {"RESYNC", held[1], held[3] or "", redis.call("LRANGE", KEYS[2], 0, -1), redis.call("HGETALL", KEYS[1])}
end
local resent = held[1] == ARGV[2]
