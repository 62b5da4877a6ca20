//! The encryption modes of a message server.

/// How a message is encrypted (消息加解密方式).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PushMode {
    /// 明文: not encrypted.
    Plain,
    /// 兼容: encrypted and unencrypted side by side.
    Compatible,
    /// 安全: encrypted.
    Safe,
}
