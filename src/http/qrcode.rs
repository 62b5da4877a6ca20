//! `GET /qrcode/{text}`: the text as a QR code in PNG, or in SVG with `.svg` at the end. With
//! `?unescape=true` the text is decoded a second time, as a form value, which is how the address of
//! a scan login's QR code is encoded.

use std::borrow::Cow;
use std::fmt::Write;

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, web};
use percent_encoding::percent_decode_str;
use qrcode::bits::{self, Bits};
use qrcode::{Color, EcLevel, QrCode, Version};
use url::form_urlencoded;

use super::error::ApiError;
use super::headers::NO_STORE;
use super::route::{Call, Pages, Route};

pub(super) const ROUTES: &[Route] =
    &[
        Route::get("/qrcode/{text:tail}", |call| Box::pin(get(call)))
            .pages(Pages::LoginSites)
            .secret_path(),
    ];

/// Readers tolerate damage to 15 % of the code.
const LEVEL: EcLevel = EcLevel::M;

/// The white border in modules, as ISO/IEC 18004 requires.
const QUIET: usize = 4;

/// The side of the picture in pixels, unless a module would be smaller than [`LEAST`].
const SIDE: usize = 256;
const LEAST: usize = 3;

/// The name under which requests wait for a picture.
const DRAWING: &str = "qrcode";

/// An SVG that is opened as a page may use its own style and nothing else.
const SVG_CSP: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");

/// The picture. Never cached, because the text may belong to a login.
async fn get(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let (state, req) = (call.state, call.req);
    // The path as it was sent; the route table uses a partly decoded copy.
    let raw = req.uri().path().splitn(3, '/').nth(2).unwrap_or_default();
    let (raw, form) = match raw.strip_suffix(".svg") {
        Some(raw) => (raw, Form::Svg),
        None => (raw, Form::Png),
    };
    let text = text(raw, is_escaped_twice(req.query_string()))?;
    let _permit = state
        .concurrency
        .acquire_from(DRAWING, state.network(req.head()))?;
    let _turn = state
        .expensive
        .acquire()
        .await
        .map_err(|_| ApiError::ShuttingDown)?;
    // A large code takes some milliseconds, so it is drawn outside the worker.
    let picture = web::block(move || encode(&text).map(|code| form.draw(&code)));
    let picture = picture
        .await
        .map_err(|_| ApiError::ShuttingDown)?
        .ok_or(ApiError::TextTooLong)?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, NO_STORE));
    match form {
        Form::Png => response.insert_header((header::CONTENT_TYPE, "image/png")),
        Form::Svg => response
            .insert_header((header::CONTENT_TYPE, "image/svg+xml"))
            .insert_header((header::CONTENT_SECURITY_POLICY, SVG_CSP)),
    };
    Ok(response.body(picture))
}

#[derive(Clone, Copy)]
enum Form {
    Png,
    Svg,
}

impl Form {
    fn draw(self, code: &QrCode) -> Vec<u8> {
        match self {
            Self::Png => png(code),
            Self::Svg => svg(code).into_bytes(),
        }
    }
}

fn is_escaped_twice(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes())
        .any(|(name, value)| name == "unescape" && value == "true")
}

/// Decodes `raw` once, or twice, the second time as a form value, where `+` is a space.
fn text(raw: &str, is_escaped_twice: bool) -> Result<String, ApiError> {
    let mut text = decoded(raw)?;
    if is_escaped_twice {
        text = decoded(&text.replace('+', " "))?;
    }
    if text.is_empty() {
        Err(ApiError::InvalidText("is empty"))
    } else {
        Ok(text)
    }
}

fn decoded(text: &str) -> Result<String, ApiError> {
    let is_whole = |after: &str| {
        after
            .as_bytes()
            .get(..2)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.split('%').skip(1).all(is_whole) {
        return Err(ApiError::InvalidText(
            "has a % that is not followed by two hex digits",
        ));
    }
    percent_decode_str(text)
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_| ApiError::InvalidText("is not UTF-8"))
}

/// The smallest code that holds `text`; `None` when none does.
fn encode(text: &str) -> Option<QrCode> {
    QrCode::with_bits(content(text)?, LEVEL).ok()
}

fn content(text: &str) -> Option<Bits> {
    if text.is_ascii() {
        return bits::encode_auto(text.as_bytes(), LEVEL).ok();
    }
    // As bytes: the library would encode pairs of UTF-8 bytes as Shift JIS, and readers would show
    // Japanese.
    (1..=40).find_map(|version| {
        let mut bits = Bits::new(Version::Normal(version));
        bits.push_byte_data(text.as_bytes()).ok()?;
        bits.push_terminator(LEVEL).ok()?;
        Some(bits)
    })
}

/// One bit a pixel. Modules are as large as fits into [`SIDE`], and the code is centred.
fn png(code: &QrCode) -> Vec<u8> {
    let modules = code.width() + 2 * QUIET;
    let scale = (SIDE / modules).max(LEAST);
    let side = SIDE.max(modules * scale);
    let margin = (side - code.width() * scale) / 2;
    let row_len = side.div_ceil(8);
    let mut pixels = vec![0xff_u8; row_len * side];
    for (x, y) in dark_modules(code) {
        for row in (margin + y * scale..).take(scale) {
            for column in (margin + x * scale..).take(scale) {
                pixels[row * row_len + column / 8] &= !(0x80 >> (column % 8));
            }
        }
    }
    let mut file = Vec::new();
    let side = u32::try_from(side).expect("the largest code has 177 modules");
    let mut encoder = png::Encoder::new(&mut file, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let written = encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&pixels));
    written.expect("a Vec takes what is written, and there are as many pixels as the header says");
    file
}

/// One path with a rectangle for each run of dark modules in a row; a unit is a module.
fn svg(code: &QrCode) -> String {
    let side = code.width() + 2 * QUIET;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{SIDE}" height="{SIDE}" viewBox="0 0 {side} {side}" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h{side}v{side}H0z"/><path d=""##
    );
    let mut dark = dark_modules(code).peekable();
    while let Some((x, y)) = dark.next() {
        let mut run = 1;
        while dark.next_if_eq(&(x + run, y)).is_some() {
            run += 1;
        }
        write!(svg, "M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET)
            .expect("a String takes what is written");
    }
    svg + r#""/></svg>"#
}

/// Column and row of every dark module, row by row.
fn dark_modules(code: &QrCode) -> impl Iterator<Item = (usize, usize)> + '_ {
    let width = code.width();
    (0..width)
        .flat_map(move |y| (0..width).map(move |x| (x, y)))
        .filter(|&(x, y)| code[(x, y)] == Color::Dark)
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plus_becomes_a_space_in_the_second_decoding() {
        for (raw, once, twice) in [
            ("hello", "hello", "hello"),
            ("a+b", "a+b", "a b"),
            ("a%2Bb", "a+b", "a b"),
            ("a%252Bb", "a%2Bb", "a+b"),
            ("a%20b", "a b", "a b"),
            (
                "https://x/%3Fq=1%23top/",
                "https://x/?q=1#top/",
                "https://x/?q=1#top/",
            ),
            ("%E5%BE%AE%E4%BF%A1", "微信", "微信"),
        ] {
            assert_eq!(text(raw, false).expect(raw), once);
            assert_eq!(text(raw, true).expect(raw), twice);
        }
    }

    #[test]
    fn an_invalid_text_is_refused_with_the_reason() {
        let fault = |raw, twice| text(raw, twice).expect_err(raw).to_string();
        assert!(fault("", false).contains("is empty"));
        for raw in ["%", "a%", "%4", "%zz", "%4g", "%%41", "%微"] {
            assert!(fault(raw, false).contains("two hex digits"), "{raw}");
        }
        assert!(fault("%ff", false).contains("UTF-8"));
        // Good once, broken the second time.
        assert!(fault("100%25", true).contains("two hex digits"));
        assert!(fault("%25ff", true).contains("UTF-8"));
    }

    #[test]
    fn only_true_enables_the_second_decoding() {
        for (query, twice) in [
            ("unescape=true", true),
            ("a=b&unescape=true", true),
            ("unescape=false", false),
            ("unescape", false),
            ("", false),
        ] {
            assert_eq!(is_escaped_twice(query), twice, "{query}");
        }
    }

    proptest! {
        #[test]
        fn a_text_is_decoded_from_its_url(original in ".+") {
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            prop_assert_eq!(&text(&encode(&original), false).expect("well encoded"), &original);
            let form: String = form_urlencoded::byte_serialize(original.as_bytes()).collect();
            prop_assert_eq!(&text(&encode(&form), true).expect("well encoded twice"), &original);
        }

        #[test]
        fn a_reader_reads_the_encoded_text(text in "[0-9]{0,40}[A-Z $%]{0,40}[a-z0-9]{0,40}|.{1,80}|[一-龥ぁ-ん]{1,60}") {
            let code = encode(&text).expect("a short text");
            let seen = rqrr::SimpleGrid::from_func(code.width(), |x, y| code[(x, y)] == Color::Dark);
            let (_, read) = rqrr::Grid::new(seen).decode().expect("a code that can be read");
            prop_assert_eq!(read, text);
        }
    }

    #[test]
    fn chinese_is_encoded_as_utf8_bytes() {
        // Four bits for the mode, 4 = bytes, then eight for the length: three bytes per character,
        // so that all are in this mode.
        let content = content("微信登录").expect("a short text").into_bytes();
        assert_eq!(
            content[..3],
            [0x40, 0xce, 0x5b][..],
            "12 bytes, and the first of them is e5"
        );
    }

    #[test]
    fn a_picture_has_256_pixels_or_three_per_module() {
        for (version, side) in [(1, 256), (15, 256), (16, 267), (40, 555)] {
            let code =
                QrCode::with_version("1", Version::Normal(version), LEVEL).expect("one digit");
            let file = png(&code);
            let reader = png::Decoder::new(std::io::Cursor::new(file))
                .read_info()
                .expect("a PNG");
            let info = reader.info();
            assert_eq!((info.width, info.height), (side, side), "version {version}");
            assert_eq!(
                (info.color_type, info.bit_depth),
                (png::ColorType::Grayscale, png::BitDepth::One)
            );
        }
    }
}
