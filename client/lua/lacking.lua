-- lacking.lua: which commands this user may not run.
--
-- ARGV     for each of some keys: its name, names of commands with spaces between. No KEYS: none is touched, and the user
--          would be refused the whole script for one that is not allowed. DEL and others take all arguments for keys.
-- returns  {"COMMAND key", …}; nothing from servers before 7.0, which cannot tell
-- atomic   as it changes nothing
local found = {}
if not redis.acl_check_cmd then return found end
for i = 1, #ARGV, 2 do
  for command in string.gmatch(ARGV[i + 1], "%S+") do
    if not redis.acl_check_cmd(command, ARGV[i], ARGV[i], ARGV[i]) then found[#found + 1] = command .. " " .. ARGV[i] end
  end
end
return found
