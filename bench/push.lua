-- Delivers the message in $BODY, as WeChat does.
wrk.method = "POST"
wrk.body = os.getenv("BODY")
wrk.headers["Content-Type"] = "text/xml"
