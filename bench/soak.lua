-- A light load over many apps: a wx.config, a token and a ticket for each in turn, with a pause after each. The path of the
-- address says how many apps, then the realm's signed parameters: /8?realm=...
local requests, at = {}, 0

function init()
  local apps, signed = wrk.path:match("^/(%d+)%?(.*)$")
  for app = 0, tonumber(apps) - 1 do
    local path = string.format("/jsapi/wx%014d/", app)
    requests[#requests + 1] = wrk.format("GET", path .. "config?url=https://shop.example.com/")
    for _, key in ipairs({ "token", "ticket" }) do
      requests[#requests + 1] = wrk.format("GET", path .. "query?key=" .. key .. "&" .. signed)
    end
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function delay()
  return 20
end
