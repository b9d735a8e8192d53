-- _may_push.lua: may this user push into a list, by LPUSH, or write a key by the command that is given?
-- A script asks before it removes what would be lost; servers before 7.0 cannot tell.
local function may_push(key, command)
  return not redis.acl_check_cmd or redis.acl_check_cmd(command or "LPUSH", key, "")
end
