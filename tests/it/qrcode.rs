//! `GET /qrcode/{text}`: what a reader reads in the pictures, for every kind of text.

use reqwest::Method;

use crate::support::app::{Response, TestApp};
use crate::support::raw;

/// WeChat's URL in a login by scan.
const AUTHORIZE: &str = "https://open.weixin.qq.com/connect/oauth2/authorize?appid=wx0123456789abcdef\
    &redirect_uri=https%3A%2F%2Fwx.example.com%2Fwechat%2Fweblogin&response_type=code&scope=snsapi_userinfo\
    &state=0123456789abcdef0123456789abcdef#wechat_redirect";

/// `encodeURIComponent`.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// A greyscale picture, one byte per pixel.
struct Picture {
    side: usize,
    pixels: Vec<u8>,
}

impl Picture {
    fn of_png(file: &[u8]) -> Self {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(file));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a small picture")];
        let info = reader.next_frame(&mut pixels).expect("a whole PNG");
        assert_eq!(
            (info.color_type, info.width),
            (png::ColorType::Grayscale, info.height)
        );
        Self {
            side: info.width as usize,
            pixels,
        }
    }

    /// Draws the path of `svg`, four pixels per module. Parses only our own spelling of a path.
    fn of_svg(svg: &str) -> Self {
        const SCALE: usize = 4;
        let attribute = |name: &str| {
            svg.split(&format!(" {name}=\""))
                .last()
                .and_then(|rest| rest.split('"').next())
                .expect(name)
        };
        let side = SCALE
            * attribute("viewBox")
                .split(' ')
                .next_back()
                .and_then(|side| side.parse::<usize>().ok())
                .expect("a side");
        let mut pixels = vec![255; side * side];
        for run in attribute("d").split_terminator('z') {
            let numbers: Vec<usize> = run
                .split(['M', ' ', 'h', 'v', '-'])
                .filter_map(|number| number.parse().ok())
                .collect();
            let &[x, y, length, 1, back] = numbers.as_slice() else {
                panic!("a path of another kind: {run}")
            };
            assert_eq!(length, back, "{run} is no rectangle");
            for row in y * SCALE..(y + 1) * SCALE {
                pixels[row * side + x * SCALE..row * side + (x + length) * SCALE].fill(0);
            }
        }
        Self { side, pixels }
    }

    /// The text that a reader reads.
    fn text(&self) -> String {
        let mut prepared =
            rqrr::PreparedImage::prepare_from_greyscale(self.side, self.side, |x, y| {
                self.pixels[y * self.side + x]
            });
        let grids = prepared.detect_grids();
        assert_eq!(grids.len(), 1, "codes in the picture");
        let (meta, text) = grids[0].decode().expect("a code that can be read");
        // The two bits for the medium level.
        assert_eq!(meta.ecc_level, 0, "error correction");
        text
    }

    /// The smallest width of the white border in pixels.
    fn margin(&self) -> usize {
        let dark = |row: usize, column: usize| self.pixels[row * self.side + column] < 128;
        let all = || (0..self.side).flat_map(|row| (0..self.side).map(move |column| (row, column)));
        let nearest = all().filter(|&(row, column)| dark(row, column));
        nearest
            .map(|(row, column)| {
                row.min(column)
                    .min(self.side - 1 - row)
                    .min(self.side - 1 - column)
            })
            .min()
            .expect("dark")
    }
}

async fn png_of(app: &TestApp, path: &str) -> Picture {
    let answer = app
        .request(Method::GET, path)
        .send()
        .await
        .expect("an answer");
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers()["content-type"].as_bytes()
        ),
        (200, &b"image/png"[..]),
        "{path}"
    );
    assert_eq!(answer.headers()["cache-control"], "no-store");
    Picture::of_png(&answer.bytes().await.expect("a whole body"))
}

async fn svg_of(app: &TestApp, path: &str) -> Picture {
    let answer = app.get(path).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (200, "image/svg+xml"),
        "{path}"
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(
        answer.header("content-security-policy"),
        "default-src 'none'; style-src 'unsafe-inline'"
    );
    Picture::of_svg(&answer.body)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_is_read_from_png_and_svg() {
    let app = TestApp::start().await;
    for text in [
        "hello",
        "0123456789",
        "HTTPS://EXAMPLE.COM/",
        "微信登录：你好，世界",
        "mixed 微信 and ASCII 🀄",
        AUTHORIZE,
        "a+b c%20d%2Fe/f//g#h?i=j&k=%E5%BE%AE+",
        "100%",
        "file.svg",
        "https://example.com/a/b/",
        " ",
    ] {
        let path = format!("/qrcode/{}", encoded(text).replace(".svg", "%2Esvg"));
        assert_eq!(png_of(&app, &path).await.text(), text, "{path}");
        assert_eq!(
            svg_of(&app, &format!("{path}.svg")).await.text(),
            text,
            "{path}.svg"
        );
        // A form-encoded value inside a path, as the original writes a login's URL.
        let form: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let path = format!("/qrcode/{}", encoded(&form).replace(".svg", "%2Esvg"));
        assert_eq!(
            png_of(&app, &format!("{path}?unescape=true")).await.text(),
            text,
            "{path}"
        );
        assert_eq!(
            svg_of(&app, &format!("{path}.svg?unescape=true"))
                .await
                .text(),
            text,
            "{path}.svg"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_originals_login_qr_code_has_the_authorize_url() {
    let app = TestApp::start().await;
    let path = format!("/qrcode/{}?unescape=true", encoded(&encoded(AUTHORIZE)));
    assert!(
        path.starts_with("/qrcode/https%253A%252F%252Fopen.weixin.qq.com%252Fconnect"),
        "{path}"
    );
    let picture = png_of(&app, &path).await;
    assert_eq!((picture.text(), picture.side), (AUTHORIZE.to_owned(), 256));
    // Without the second decoding it is the text encoded once.
    assert_eq!(
        png_of(&app, path.trim_end_matches("?unescape=true"))
            .await
            .text(),
        encoded(AUTHORIZE)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logins_qr_code_leads_to_wechat() {
    let app = TestApp::start().await;
    let answer = app.send(app.request(Method::POST, "/login")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let login: serde_json::Value = serde_json::from_str(&answer.body).expect("a JSON body");
    let (uuid, address) = (
        login["uuid"].as_str().expect("a uuid"),
        login["qrcode_url"].as_str().expect("an address"),
    );
    let path = &address[address.find("/qrcode/").expect("our own route")..];
    let seen = png_of(&app, path).await.text();
    assert!(
        seen.contains("/connect/oauth2/authorize?appid=") && seen.ends_with("#wechat_redirect"),
        "{seen}"
    );
    // A photo of the picture must not allow polling the login.
    assert!(!seen.contains(uuid), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_is_used_byte_for_byte() {
    let app = TestApp::start().await;
    // An SVG is text, so that a raw exchange can compare it.
    for (target, text) in [
        ("/qrcode/a%2Fb/c%252Fd+e.svg", "a/b/c%2Fd+e"),
        ("/qrcode/a%2Fb/c%252Fd+e.svg?unescape=true", "a/b/c/d e"),
        ("/qrcode//x//../y/./.svg", "/x//../y/./"),
        ("/QRcode/x/.svg", "x/"),
        ("/qr%63ode/x.svg", "x"),
        ("/qrcode/x.svg.svg", "x.svg"),
        ("/qrcode/..svg", "."),
        ("/qrcode/x.svg/.svg", "x.svg/"),
        (
            "/qrcode/https://example.com/%3Fa=b%23c.svg?d=e",
            "https://example.com/?a=b#c",
        ),
        ("/qrcode/a%0Ab%00.svg", "a\nb\0"),
    ] {
        let answer = raw::send(app.address(), &format!("GET {target}"), "", b"").await;
        assert_eq!(
            (answer.status, Picture::of_svg(&answer.body).text().as_str()),
            (200, text),
            "{target}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_text_fits_and_one_byte_more_is_refused() {
    let app = TestApp::start().await;
    for (longest, more) in [
        ("x".repeat(2331), "x"),
        ("中".repeat(777), "x"),
        ("AB C".repeat(3391 / 4 + 1)[..3391].to_owned(), "A"),
        ("1".repeat(5596), "1"),
    ] {
        let picture = png_of(&app, &format!("/qrcode/{}", encoded(&longest))).await;
        // 177 modules and the quiet zone of four on each side, three pixels each.
        assert_eq!((picture.side, picture.margin()), (555, 12));
        assert!(picture.text() == longest, "{} characters", longest.len());
        let told = app
            .get(&format!("/qrcode/{}", encoded(&(longest + more))))
            .await
            .problem(400, "text_too_long");
        assert!(
            told["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("2331")),
            "{told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_code_is_centred_with_a_quiet_zone() {
    let app = TestApp::start().await;
    for text in ["a", AUTHORIZE] {
        let picture = png_of(&app, &format!("/qrcode/{}", encoded(text))).await;
        assert_eq!(picture.side, 256);
        // Four modules of at least three pixels.
        assert!(
            picture.margin() >= 12,
            "{} pixels of margin",
            picture.margin()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_text_differs_from_an_unknown_path() {
    let app = TestApp::start().await;
    for path in [
        "/qrcode/",
        "/qrcode/.svg",
        "/qrcode/%25zz?unescape=true",
        "/qrcode/%FF",
        "/qrcode/%25ff?unescape=true",
    ] {
        app.get(path).await.problem(400, "invalid_text");
    }
    for target in ["/qrcode/%", "/qrcode/a%4", "/qrcode/%zz.svg"] {
        let answer = raw::send(app.address(), &format!("GET {target}"), "", b"").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "invalid_text"),
            "{target}"
        );
    }
    for path in ["/qrcode", "/qrcodes/x", "//qrcode/x"] {
        app.get(path).await.problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_has_the_size_and_other_methods_are_refused() {
    let app = TestApp::start().await;
    for path in ["/qrcode/a/b", "/qrcode/a/b.svg", "/QRCODE/a"] {
        let length = |answer: &Response| {
            answer
                .header("content-length")
                .parse::<usize>()
                .expect("a length")
        };
        let head = app.send(app.request(Method::HEAD, path)).await;
        assert_eq!(
            (head.status.as_u16(), head.body.as_str(), length(&head)),
            (200, "", length(&app.get(path).await)),
            "{path}"
        );
        let answer = app.send(app.request(Method::POST, path)).await;
        answer.problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
    }
}
