-- A wx.config for each of many apps in turn; the path of the address says how many. The requests are written
-- beforehand, so that making them does not slow the load generator down.
local requests, at = {}, 0

function init()
  local body = [[{"debug":false,"jsApiList":["updateAppMessageShareData","updateTimelineShareData","chooseWXPay"],]]
    .. [["url":"https://shop.example.com/goods/42?from=timeline&isappinstalled=0#reviews"}]]
  wrk.headers["Content-Type"] = "application/json"
  for app = 1, tonumber(wrk.path:sub(2)) do
    requests[app] = wrk.format("POST", string.format("/jsapi/wx%014d/config", app - 1), nil, body)
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end
