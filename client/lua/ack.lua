-- ack.lua: acknowledge finished jobs, without fetching.
--
-- KEYS, ARGV  as _token and _finish say
-- returns  {"OK", note, dropped from the dead set}, or what _token returns early
-- atomic   so that a job leaves the record in the step in which it is counted, or enters retry or dead
--- include _token
--- include _types
--- include _finish
return {"OK", note, dropped}
