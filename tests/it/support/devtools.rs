//! A Chromium controlled by the Chrome DevTools protocol: tabs with separate profiles, scripts,
//! mouse clicks, screenshots.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::chromium::Chromium;

/// Timeout for anything that a page does, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// A controlled browser.
pub(crate) struct Devtools {
    socket: Mutex<Socket>,
    _browser: Chromium,
}

/// The two pipes. Each message is a JSON object followed by a zero byte.
struct Socket {
    orders: ChildStdin,
    messages: UnboundedReceiver<Value>,
    sent: u64,
}

/// A tab with its own profile: it shares no cookies with others.
pub(crate) struct Tab<'a> {
    browser: &'a Devtools,
    session: String,
}

impl Devtools {
    /// Starts a browser; `None` with a notice if Chromium is not installed.
    pub(crate) async fn start() -> Option<Self> {
        let (browser, orders, answers) = Chromium::driven().await?;
        let socket = Socket {
            orders,
            messages: follow(answers),
            sent: 0,
        };
        Some(Self {
            socket: Mutex::new(socket),
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
        let answer = self
            .socket
            .lock()
            .await
            .call(None, method, parameters)
            .await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }
}

impl Tab<'_> {
    /// Opens `url`. Use [`Tab::until`] to wait for what the page does.
    pub(crate) async fn go(&self, url: &str) {
        self.order("Page.navigate", json!({ "url": url })).await;
    }

    /// Makes the tab name itself `user_agent`.
    pub(crate) async fn pretend(&self, user_agent: &str) {
        let agent = json!({ "userAgent": user_agent });
        self.order("Emulation.setUserAgentOverride", agent).await;
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

    /// Returns the value of a script's last expression.
    pub(crate) async fn value(&self, script: &str) -> Value {
        self.try_value(script)
            .await
            .unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Clicks `selector` as soon as it exists. A page that is still loading may move it between the
    /// measurement and the click, so a click that missed is repeated.
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
            // A click that led to another page removed the variable.
            if self.try_value("window.unpressed === true").await != Ok(json!(true)) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{selector} is covered");
        }
    }

    /// Clicks in the middle of `place`.
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

    /// A screenshot of `selector` as PNG.
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

    /// A screenshot of the whole window, resized to `width` by `height` pixels, as PNG.
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
            .socket
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
            .socket
            .lock()
            .await
            .call(Some(&self.session), method, parameters)
            .await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }
}

impl Socket {
    /// Sends a command and returns its result or the browser's error. Events are ignored.
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
