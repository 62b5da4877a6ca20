//! AES encryption of an account's messages in safe or compatible mode, and their signature. Pure:
//! contents, clock and random bytes are the caller's.
//!
//! ```
//! use jsdkd_wechat::account::AppId;
//! use jsdkd_wechat::crypt::{self, EnvelopeKey};
//! use secrecy::SecretString;
//!
//! // The EncodingAESKey and the token, as the account's page on mp.weixin.qq.com shows them.
//! let key = EnvelopeKey::parse(&SecretString::from("jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"))?;
//! let (app_id, token) = (AppId::parse("wx5823bf96d3bd56c7")?, "QDG6eK");
//!
//! // Sixteen random bytes that are never used again.
//! let encrypt = key.encrypt(&app_id, b"success", *b"0123456789abcdef");
//! let signature = crypt::signature(token, "1409659813", "1372623149", &encrypt);
//! assert_eq!(signature.text(), "c6700a4d26ea694b666a1d78933ea5cca2bdb6ba");
//!
//! // Whoever receives it checks the signature first: the cipher by itself does not notice every change.
//! assert!(signature.matches("c6700a4d26ea694b666a1d78933ea5cca2bdb6ba"));
//! assert_eq!(key.decrypt(&app_id, &encrypt)?, b"success");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use aes::Aes256;
use aes::cipher::{Block, BlockModeDecrypt, BlockModeEncrypt, Key, KeyIvInit};
use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use subtle::{
    Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater, ConstantTimeLess,
};

use crate::account::AppId;
use crate::signature::{self, Hex};

/// Length of an EncodingAESKey in characters. They encode 258 bits; the key is the first 256.
const KEY_CHARS: usize = 43;

/// WeChat pads to 32 bytes, although AES blocks have 16.
const PAD: usize = 32;

/// Length of the header: sixteen random bytes and a four-byte message length.
const HEAD: usize = 20;

/// WeChat's keys end in a random character, so the two spare bits are often non-zero.
const KEY_TEXT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// An account's EncodingAESKey.
#[derive(Debug)]
pub struct EnvelopeKey(SecretBox<[u8; 32]>);

/// Why a text is not a valid [`EnvelopeKey`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected the 43 characters of an EncodingAESKey")]
pub struct EnvelopeKeyError;

/// Decryption failed with this key and appid. The cause is hidden, because it would help a forger.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the message cannot be decrypted")]
pub struct EnvelopeError;

impl EnvelopeKey {
    /// Parses 43 characters of base64.
    pub fn parse(text: &SecretString) -> Result<Self, EnvelopeKeyError> {
        let text = text.expose_secret();
        if text.len() != KEY_CHARS {
            return Err(EnvelopeKeyError);
        }
        let bytes = Zeroizing::new(KEY_TEXT.decode(text).map_err(|_| EnvelopeKeyError)?);
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| EnvelopeKeyError)?;
        Ok(Self(SecretBox::new(Box::new(key))))
    }

    /// Encrypts `plain` for `app_id`; `random` must be fresh for each message. The plaintext is
    /// `random`, the length of `plain` in network order, `plain`, the appid and padding. Padding is
    /// 1 to 32 bytes, each equal to their number. Source: WeChat, 消息加解密说明.
    ///
    /// # Panics
    ///
    /// If `plain` is 4 GiB or longer, which the length field cannot hold.
    pub fn encrypt(&self, app_id: &AppId, plain: &[u8], random: [u8; 16]) -> String {
        let app_id = app_id.as_str().as_bytes();
        let length = u32::try_from(plain.len()).expect("a message is shorter than 4 GiB");
        let bare = HEAD + plain.len() + app_id.len();
        let padding = PAD - bare % PAD;
        let mut bytes = Vec::with_capacity(bare + padding);
        for part in [&random, &length.to_be_bytes()[..], plain, app_id] {
            bytes.extend_from_slice(part);
        }
        bytes.resize(bare + padding, padding as u8);
        let (blocks, rest) = Block::<Aes256>::slice_as_chunks_mut(&mut bytes);
        debug_assert!(rest.is_empty(), "32 is a multiple of 16");
        let (key, iv) = self.parts();
        cbc::Encryptor::<Aes256>::new(key, iv).encrypt_blocks(blocks);
        STANDARD.encode(&bytes)
    }

    /// Decrypts an `Encrypt` addressed to `app_id`.
    ///
    /// Check its [`signature`](signature()) first. Decryption detects changes to length, appid and
    /// padding, but not to the message.
    pub fn decrypt(&self, app_id: &AppId, encrypt: &str) -> Result<Vec<u8>, EnvelopeError> {
        let mut bytes = STANDARD.decode(encrypt).map_err(|_| EnvelopeError)?;
        let (blocks, rest) = Block::<Aes256>::slice_as_chunks_mut(&mut bytes);
        if !rest.is_empty() {
            return Err(EnvelopeError);
        }
        let (key, iv) = self.parts();
        cbc::Decryptor::<Aes256>::new(key, iv).decrypt_blocks(blocks);
        let end = message_end(&bytes, app_id.as_str().as_bytes()).ok_or(EnvelopeError)?;
        bytes.truncate(end);
        bytes.drain(..HEAD);
        Ok(bytes)
    }

    /// Returns the appid in an `Encrypt` that [`decrypt`](Self::decrypt) refuses because it is for
    /// another account; `None` if the key is wrong. For the operator's log only: never reveal it to
    /// the sender.
    pub fn foreign_app_id(&self, encrypt: &str) -> Option<String> {
        let mut bytes = STANDARD.decode(encrypt).ok()?;
        let (blocks, rest) = Block::<Aes256>::slice_as_chunks_mut(&mut bytes);
        if !rest.is_empty() {
            return None;
        }
        let (key, iv) = self.parts();
        cbc::Decryptor::<Aes256>::new(key, iv).decrypt_blocks(blocks);
        let padding = usize::from(*bytes.last()?);
        let (bare, pad) = bytes.split_at_checked(bytes.len().checked_sub(padding)?)?;
        let (length, rest) = bare.get(HEAD - 4..)?.split_first_chunk::<4>()?;
        let app_id = rest.get(u32::from_be_bytes(*length) as usize..)?;
        let is_whole =
            (1..=PAD).contains(&padding) && pad.iter().all(|byte| usize::from(*byte) == padding);
        let is_app_id = (1..=64).contains(&app_id.len()) && app_id.iter().all(u8::is_ascii_graphic);
        (is_whole && is_app_id).then(|| String::from_utf8_lossy(app_id).into_owned())
    }

    /// The key; its first half is the IV of every message.
    fn parts(&self) -> (&Key<Aes256>, &Block<Aes256>) {
        let key = self.0.expose_secret();
        let (iv, _) = key.split_first_chunk::<16>().expect("a key has 32 bytes");
        (key.into(), iv.into())
    }
}

/// Returns where the message in `bytes` ends, if padding, length and appid are valid. Evaluates all
/// three checks before returning, so that timing does not reveal which failed.
fn message_end(bytes: &[u8], app_id: &[u8]) -> Option<usize> {
    let tail = bytes.last_chunk::<PAD>()?;
    let (_, length) = bytes.first_chunk::<HEAD>()?.split_last_chunk::<4>()?;
    let claimed = tail[PAD - 1];
    let mut right = claimed.ct_gt(&0) & !claimed.ct_gt(&(PAD as u8));
    let padding = u8::conditional_select(&1, &claimed, right);
    for (from_end, byte) in (0..PAD as u8).zip(tail.iter().rev()) {
        let beyond: Choice = !from_end.ct_lt(&padding);
        right &= beyond | byte.ct_eq(&padding);
    }
    let end = (bytes.len() - usize::from(padding)).checked_sub(app_id.len())?;
    right &= bytes.get(end..end + app_id.len())?.ct_eq(app_id);
    right &= (u32::from_be_bytes(*length) as usize).ct_eq(&end.checked_sub(HEAD)?);
    bool::from(right).then_some(end)
}

/// Returns the `msg_signature` of an `Encrypt`: sha1 of the four, sorted as byte strings and
/// joined. Verify with [`matches`](Hex::matches). Source: WeChat, 消息加解密说明.
pub fn signature(token: &str, timestamp: &str, nonce: &str, encrypt: &str) -> Hex<20> {
    signature::sorted([token, timestamp, nonce, encrypt])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";
    const TOKEN: &str = "QDG6eK";
    const RANDOM: [u8; 16] = *b"0123456789abcdef";

    /// 26 times `a`, which needs a full 32 bytes of padding.
    const ALIGNED: &str = "sKqRbbiSUnDhFHOvPjtUMS1Nd7fI/rcjsVC1btvu0fmrCwNN39ALC5WIhyzhiSe/\
                           DJmXnNV7eRA2j6lJACJANf5Uwcqjd6aUyfMJBUYulBZJHjfzchd14r1SiKn7O/aK";

    fn key(text: &str) -> EnvelopeKey {
        EnvelopeKey::parse(&SecretString::from(text)).expect("a key")
    }

    fn app() -> AppId {
        AppId::parse("wx5823bf96d3bd56c7").expect("an appid")
    }

    #[test]
    fn wechats_example_is_decrypted_and_answered() {
        let (key, app) = (
            key(&"A".repeat(43)),
            AppId::parse("wxba5fad812f8e6fb9").expect("an appid"),
        );
        let encrypt = "+qdx1OKCy+5JPCBFWw70tm0fJGb2Jmeia4FCB7kao+/Q5c/ohsOzQHi8khUOb05JCpj0JB4RvQMkUyus8TPxLKJGQqcvZqzDpVzazhZv\
                       6JsXUnnR8XGT740XgXZUXQ7vJVnAG+tE8NUd4yFyjPy7GgiaviNrlCTj+l5kdfMuFUPpRSrfMZuMcp3Fn2Pede2IuQrKEYwKSqFIZoNq\
                       J4M8EajAsjLY2km32IIjdf8YL/P50F7mStwntrA2cPDrM1kb6mOcfBgRtWygb3VIYnSeOBrebufAlr7F9mFUPAJGj04=";
        let signature = signature("AAAAA", "1714112445", "415670741", encrypt);
        assert_eq!(signature.text(), "046e02f8204d34f8ba5fa3b1db94908f3df2e9b3");
        let message = concat!(
            r#"{"ToUserName":"gh_97417a04a28d","FromUserName":"o9AgO5Kd5ggOC-bXrbNODIiE3bGY","CreateTime":1714112445,"#,
            r#""MsgType":"event","Event":"debug_demo","debug_str":"hello world"}"#
        );
        assert_eq!(
            key.decrypt(&app, encrypt).as_deref(),
            Ok(message.as_bytes())
        );

        let answer = key.encrypt(&app, br#"{"demo_resp":"good luck"}"#, *b"707722b803182950");
        assert_eq!(
            answer,
            "ELGduP2YcVatjqIS+eZbp80MNLoAUWvzzyJxgGzxZO/5sAvd070Bs6qrLARC9nVHm48Y4hyRbtzve1L32tmxSQ=="
        );
        let signature = super::signature("AAAAA", "1713424427", "415670741", &answer);
        assert_eq!(signature.text(), "1b9339964ed2e271e7c7b6ff2b0ef902fc94dea1");
    }

    #[test]
    fn a_key_with_stray_bits_works_as_in_other_programs() {
        let message = "<xml><ToUserName><![CDATA[gh_0123456789ab]]></ToUserName>\
                       <FromUserName><![CDATA[oABCDEFGHIJKLMNOPQRSTUVWXYZ1]]></FromUserName>\
                       <CreateTime>1409659813</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[你好]]></Content>\
                       <MsgId>4561255354251345929</MsgId></xml>";
        let encrypt = "sKqRbbiSUnDhFHOvPjtUMUnOKKMtAj2YR1B8sELwYmvmnX5LiTD0EGY+edwJhLcuPC9KzEfhVSelLkqR/Apjqbgc71igau8xJRU1EvBB\
                       gX6E3hou4UITVz+ePxfIVHh3zfRg53NDtJHu0is5JS+CfUXn8IVCNpJT3crX+62SERFVsr38wygU1sxYxdG8yLZZ2Rrd2vAfQGwmvRih\
                       rzJzIYo2jOXthnPH4c5O9fujwxA/Hzym+QMBDYMf87+RHcr9oRAdYMEqCy7Qu6z4YGOibpJwKszGs/JdMestXpikxGIWMf4rNLmmdsK9\
                       Q9T4BrAdx6MlSr9eNJJQSRkUiWSXa8N8E2NNynSyl6XIkHIO46d6layd4hd1ZmnVhyG3FIohhYEFLM1s7DTOQRe0ehoVjITQgE5Xlmlc\
                       bmSF+iWsSaM=";
        let same = key(&format!("{}A", &KEY[..42]));
        for key in [key(KEY), same] {
            assert_eq!(key.encrypt(&app(), message.as_bytes(), RANDOM), encrypt);
            assert_eq!(
                key.decrypt(&app(), encrypt).as_deref(),
                Ok(message.as_bytes())
            );
        }
        let signature = signature(TOKEN, "1409659813", "1372623149", encrypt);
        assert_eq!(signature.text(), "561e168ed36998036412e5ac16eb07a0cea01da6");
    }

    #[test]
    fn padding_matches_other_programs() {
        for (message, encrypt) in [
            (
                "success".to_owned(),
                "sKqRbbiSUnDhFHOvPjtUMbWS28WQJEcq+Mzda1Jz7/48f8S/Ty+bA9T4kUGo9xXppbi6Xb5CJDNdGLzlBP6xcQ==",
            ),
            ("a".repeat(26), ALIGNED),
            (
                "b".repeat(13),
                "sKqRbbiSUnDhFHOvPjtUMa6lXyQJNE6q+rJldFYD4NTmV2XifN5mn/po9s2E7e9uLndP0dX+Z1pg2X9Ztp0SYg==",
            ),
        ] {
            assert_eq!(
                key(KEY).encrypt(&app(), message.as_bytes(), RANDOM),
                encrypt
            );
            assert_eq!(
                key(KEY).decrypt(&app(), encrypt).as_deref(),
                Ok(message.as_bytes())
            );
        }
    }

    #[test]
    fn every_length_is_decrypted_only_by_its_key_and_app() {
        let (other_key, other_app) = (
            key(&"B".repeat(43)),
            AppId::parse("wx5823bf96d3bd56c8").expect("an appid"),
        );
        let longer = AppId::parse("wx5823bf96d3bd56c7x").expect("an appid");
        for length in 0..200 {
            let message = vec![b'm'; length];
            let encrypt = key(KEY).encrypt(&app(), &message, RANDOM);
            assert_eq!(STANDARD.decode(&encrypt).expect("base64").len() % PAD, 0);
            assert_eq!(key(KEY).decrypt(&app(), &encrypt), Ok(message), "{length}");
            assert_eq!(
                key(KEY).decrypt(&other_app, &encrypt),
                Err(EnvelopeError),
                "{length}"
            );
            assert_eq!(
                key(KEY).decrypt(&longer, &encrypt),
                Err(EnvelopeError),
                "{length}"
            );
            assert_eq!(
                other_key.decrypt(&app(), &encrypt),
                Err(EnvelopeError),
                "{length}"
            );
            assert_eq!(
                key(KEY).foreign_app_id(&encrypt).as_deref(),
                Some(app().as_str()),
                "{length}"
            );
            assert_eq!(other_key.foreign_app_id(&encrypt), None, "{length}");
        }
    }

    #[test]
    fn a_key_has_43_characters_and_debug_hides_it() {
        for wrong in [
            "",
            &KEY[1..],
            &format!("{KEY}="),
            &format!("{KEY}A"),
            &KEY.replace('j', "-"),
            &KEY.replace('j', "微"),
        ] {
            assert_eq!(
                EnvelopeKey::parse(&SecretString::from(wrong)).err(),
                Some(EnvelopeKeyError),
                "{wrong:?}"
            );
        }
        let shown = format!("{:?} {EnvelopeKeyError} {EnvelopeError}", key(KEY));
        assert!(
            !shown.contains(&KEY[..4]) && !shown.contains("8d69") && !shown.contains("141"),
            "{shown}"
        );
    }

    /// Encrypts `bytes` unchanged; the test supplies header, appid and padding.
    fn raw(mut bytes: Vec<u8>) -> String {
        let key = key(KEY);
        let (blocks, rest) = Block::<Aes256>::slice_as_chunks_mut(&mut bytes);
        assert!(rest.is_empty());
        let (key, iv) = key.parts();
        cbc::Encryptor::<Aes256>::new(key, iv).encrypt_blocks(blocks);
        STANDARD.encode(&bytes)
    }

    /// A plain block with this length field, message and padding.
    fn block(length: u32, message: &[u8], padding: &[u8]) -> Vec<u8> {
        [
            &RANDOM[..],
            &length.to_be_bytes(),
            message,
            app().as_str().as_bytes(),
            padding,
        ]
        .concat()
    }

    #[test]
    fn a_wrong_length_or_padding_has_the_same_error() {
        // 20 + 7 + 18 = 45, so 19 bytes of padding make 64.
        let open = |bytes| key(KEY).decrypt(&app(), &raw(bytes));
        assert_eq!(
            open(block(7, b"success", &[19; 19])).as_deref(),
            Ok(&b"success"[..])
        );
        // Padded to 16 only, by a library's own PKCS#7: it still says where the message ends.
        assert_eq!(
            open(block(7, b"success", &[3; 3])).as_deref(),
            Ok(&b"success"[..])
        );
        let mut stained = [19; 19];
        stained[3] = 18;
        for wrong in [
            block(6, b"success", &[19; 19]),
            block(8, b"success", &[19; 19]),
            block(u32::MAX, b"success", &[19; 19]),
            block(7, b"success", &[0; 19]),
            block(7, b"success", &[20; 19]),
            block(7, b"success", &[33; 19]),
            block(7, b"success", &[255; 19]),
            block(7, b"success", &stained),
            // All padding, and an app that does not fit.
            vec![32; 32],
            vec![32; 64],
            vec![1; 32],
            vec![0; 16],
            Vec::new(),
        ] {
            assert_eq!(open(wrong.clone()), Err(EnvelopeError), "{wrong:?}");
        }
        for wrong in [
            "",
            "=",
            "AAAA",
            "not base64!",
            "sKqRbbiSUnDhFHOvPjtUMbWS28WQJEcq+Mzda1Jz7/48f8S/Ty+bA9T4kUGo9xXp pbi6Xb5CJDNdGLzlBP6xcQ==",
        ] {
            assert_eq!(
                key(KEY).decrypt(&app(), wrong),
                Err(EnvelopeError),
                "{wrong:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_was_encrypted_is_decrypted(plain: Vec<u8>, random: [u8; 16]) {
            prop_assert_eq!(key(KEY).decrypt(&app(), &key(KEY).encrypt(&app(), &plain, random)), Ok(plain));
        }

        #[test]
        fn a_changed_byte_breaks_the_signature(plain: Vec<u8>, at: prop::sample::Index, to in "[0-9A-Za-z+/]") {
            let encrypt = key(KEY).encrypt(&app(), &plain, RANDOM);
            let sign = signature(TOKEN, "1409659813", "1372623149", &encrypt).text();
            let at = at.index(encrypt.len());
            let mut forged = encrypt.clone();
            forged.replace_range(at..=at, &to);
            let matches = signature(TOKEN, "1409659813", "1372623149", &forged).matches(&sign);
            prop_assert_eq!(matches, forged == encrypt);
        }

        /// CBC lets a message be changed, which is why the signature is checked first; but nothing
        /// changes unseen, nothing is cut off or added, and neither the appid nor the padding can
        /// be changed at all.
        #[test]
        fn a_changed_byte_never_changes_the_length(
            plain in prop::collection::vec(any::<u8>(), 0..120), at: prop::sample::Index, flip in 1u8..,
        ) {
            let mut bytes = STANDARD.decode(key(KEY).encrypt(&app(), &plain, RANDOM)).expect("base64");
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(other) = key(KEY).decrypt(&app(), &STANDARD.encode(&bytes)) {
                prop_assert_eq!(other.len(), plain.len());
                prop_assert_ne!(&other, &plain);
                // The changed block comes out as noise, so it was none of those that hold only
                // appid and padding.
                prop_assert!(at / 16 * 16 < HEAD + plain.len());
            }
        }

        #[test]
        fn random_bytes_are_never_decrypted(bytes: Vec<u8>) {
            prop_assert_eq!(key(KEY).decrypt(&app(), &STANDARD.encode(&bytes)), Err(EnvelopeError));
        }
    }
}
