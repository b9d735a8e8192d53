-- _types.lua: is a key of the wanted type, or absent? A script is not rolled back, so it asks before it removes.
local function fits(key, wanted)
  local found = redis.call("TYPE", key).ok
  return found == wanted or found == "none"
end
