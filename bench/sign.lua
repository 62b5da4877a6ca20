-- A wx.config as a page of a shop asks for it.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [[{"debug":false,"jsApiList":["updateAppMessageShareData","updateTimelineShareData","chooseWXPay"],]]
  .. [["url":"https://shop.example.com/goods/42?from=timeline&isappinstalled=0#reviews"}]]
