//! A Chromium under a test's hand, by the Chrome DevTools protocol: tabs with profiles of their
//! own, scripts in them, presses of a mouse, pictures of what is shown. It knows no page of ours.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::chromium::Chromium;

/// Nothing that a page does takes longer than this, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// A browser that does as it is told.
pub(crate) struct Devtools {
    wire: Mutex<Wire>,
    _browser: Chromium,
}

/// Orders go out and messages come in, each a JSON object that ends with a zero byte.
struct Wire {
    orders: ChildStdin,
    messages: UnboundedReceiver<Value>,
    sent: u64,
}

/// A tab in a profile of its own: it shares no cookie with any other.
pub(crate) struct Tab<'a> {
    browser: &'a Devtools,
    session: String,
}

impl Devtools {
    /// `None`, said aloud, where there is no Chromium.
    pub(crate) async fn start() -> Option<Self> {
        let (browser, orders, answers) = Chromium::driven().await?;
        let wire = Wire {
            orders,
            messages: follow(answers),
            sent: 0,
        };
        Some(Self {
            wire: Mutex::new(wire),
            _browser: browser,
        })
    }

    pub(crate) async fn tab(&self) -> Tab<'_> {
        let text = |answer: Value, name: &str| {
            answer[name]
                .as_str()
                .unwrap_or_else(|| panic!("{name} in {answer}"))
                .to_owned()
        };
        let profile = text(
            self.order("Target.createBrowserContext", json!({})).await,
            "browserContextId",
        );
        let page = json!({ "url": "about:blank", "browserContextId": profile });
        let page = text(self.order("Target.createTarget", page).await, "targetId");
        let attached = self
            .order(
                "Target.attachToTarget",
                json!({ "targetId": page, "flatten": true }),
            )
            .await;
        Tab {
            browser: self,
            session: text(attached, "sessionId"),
        }
    }

    async fn order(&self, method: &str, parameters: Value) -> Value {
        let answer = self.wire.lock().await.call(None, method, parameters).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }
}

impl Tab<'_> {
    /// Opens `url`; what the page then does is waited for by [`Tab::until`].
    pub(crate) async fn go(&self, url: &str) {
        self.order("Page.navigate", json!({ "url": url })).await;
    }

    /// The value of a script's last expression once it is neither `undefined`, `null`, `false` nor
    /// empty. The page may change meanwhile.
    pub(crate) async fn until(&self, script: &str) -> Value {
        let begun = Instant::now();
        loop {
            let seen = self.try_value(script).await;
            match &seen {
                Ok(value) if ![Value::Null, json!(false), json!("")].contains(value) => {
                    return value.clone();
                }
                _ if begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(20)).await
                }
                _ => panic!(
                    "{script}: {seen:?} at {:?}",
                    self.try_value("location.href + ' ' + document.body.innerText")
                        .await
                ),
            }
        }
    }

    /// The value of a script's last expression, now.
    pub(crate) async fn value(&self, script: &str) -> Value {
        self.try_value(script)
            .await
            .unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Presses the mouse where `selector` is, as soon as it is there. A page that is still being
    /// laid out may move it between the look and the press, so a press that went elsewhere is
    /// repeated.
    pub(crate) async fn press(&self, selector: &str) {
        let begun = Instant::now();
        loop {
            let place = self.place(selector).await;
            self.value(&format!(
                "window.unpressed = true; document.querySelector({selector:?})?.addEventListener(
                   'click', function () {{ window.unpressed = false; }}, {{ capture: true, once: true }})"
            ))
            .await;
            self.click(&place).await;
            // A press that led to another page took the variable with it.
            if self.try_value("window.unpressed === true").await != Ok(json!(true)) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{selector} is covered");
        }
    }

    /// A press of the mouse in the middle of `place`.
    async fn click(&self, place: &Value) {
        let middle = |from: &str, side: &str| {
            place[from]
                .as_f64()
                .zip(place[side].as_f64())
                .map(|(from, side)| from + side / 2.0)
        };
        for kind in ["mousePressed", "mouseReleased"] {
            let press = json!({ "type": kind, "x": middle("x", "width"), "y": middle("y", "height"), "button": "left", "clickCount": 1 });
            self.order("Input.dispatchMouseEvent", press).await;
        }
    }

    /// A picture of `selector` as the screen shows it: a PNG.
    pub(crate) async fn picture(&self, selector: &str) -> Vec<u8> {
        let mut clip = self.place(selector).await;
        clip["scale"] = json!(1);
        let shot = self
            .order(
                "Page.captureScreenshot",
                json!({ "format": "png", "clip": clip }),
            )
            .await;
        from_base64(shot["data"].as_str().expect("a picture"))
    }

    /// A picture of the whole window, which is made `width` by `height` pixels large: a PNG.
    pub(crate) async fn window_picture(&self, width: u32, height: u32) -> Vec<u8> {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.order("Emulation.setDeviceMetricsOverride", size).await;
        let shot = self
            .order("Page.captureScreenshot", json!({ "format": "png" }))
            .await;
        from_base64(shot["data"].as_str().expect("a picture"))
    }

    /// Makes the window `width` by `height` pixels large, as a phone's is.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": true });
        self.order("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Prefers `dark` or `light`.
    pub(crate) async fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.order(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        )
        .await;
    }

    /// Sends this `Accept-Language`.
    pub(crate) async fn speak(&self, language: &str) {
        self.order("Network.enable", json!({})).await;
        let headers = json!({ "headers": { "Accept-Language": language } });
        self.order("Network.setExtraHTTPHeaders", headers).await;
    }

    /// Runs no script of a page any more. Scripts of the test still run.
    pub(crate) async fn disable_scripts(&self) {
        self.order(
            "Emulation.setScriptExecutionDisabled",
            json!({ "value": true }),
        )
        .await;
    }

    /// Where `selector` is in the window, which is moved there.
    async fn place(&self, selector: &str) -> Value {
        let script = format!(
            "(function () {{ var found = document.readyState === 'complete' && document.querySelector({selector:?}); if (!found) return;
               found.scrollIntoView({{ block: 'center', behavior: 'instant' }}); var r = found.getBoundingClientRect();
               return r.width && {{ x: r.x, y: r.y, width: r.width, height: r.height }}; }})()"
        );
        self.until(&script).await
    }

    async fn try_value(&self, script: &str) -> Result<Value, String> {
        let parameters = json!({ "expression": script, "returnByValue": true });
        let answer = self
            .browser
            .wire
            .lock()
            .await
            .call(Some(&self.session), "Runtime.evaluate", parameters)
            .await?;
        if answer.get("exceptionDetails").is_some() {
            Err(answer.to_string())
        } else {
            Ok(answer["result"]["value"].clone())
        }
    }

    async fn order(&self, method: &str, parameters: Value) -> Value {
        let answer = self
            .browser
            .wire
            .lock()
            .await
            .call(Some(&self.session), method, parameters)
            .await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }
}

impl Wire {
    /// The result of an order, or the browser's complaint. What the browser tells unasked is not of
    /// interest.
    async fn call(
        &mut self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> Result<Value, String> {
        self.sent += 1;
        let mut order = json!({ "id": self.sent, "method": method, "params": parameters });
        if let Some(session) = session {
            order["sessionId"] = json!(session);
        }
        self.orders
            .write_all(format!("{order}\0").as_bytes())
            .expect("chromium listens");
        loop {
            let message = tokio::time::timeout(PATIENCE, self.messages.recv())
                .await
                .expect("chromium answers in time");
            let message = message.expect("chromium runs");
            if message["id"] == self.sent {
                return message.get("error").map_or_else(
                    || Ok(message["result"].clone()),
                    |error| Err(error.to_string()),
                );
            }
        }
    }
}

/// The messages of a pipe, read by a thread that ends with the pipe.
fn follow(pipe: ChildStdout) -> UnboundedReceiver<Value> {
    let (tell, told) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for message in BufReader::new(pipe).split(0).map_while(Result::ok) {
            let message = serde_json::from_slice(&message).expect("chromium writes JSON");
            if tell.send(message).is_err() {
                break;
            }
        }
    });
    told
}

fn from_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for digit in text
        .bytes()
        .filter_map(|byte| ALPHABET.iter().position(|&known| known == byte))
    {
        bits = (bits << 6 | u32::try_from(digit).expect("below 64")) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    bytes
}
