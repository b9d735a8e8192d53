-- _may_push.lua: may this user push into a list? A script asks before it removes what would be lost; servers before 7.0 cannot tell.
local function may_push(key)
  return not redis.acl_check_cmd or redis.acl_check_cmd("LPUSH", key, "")
end
