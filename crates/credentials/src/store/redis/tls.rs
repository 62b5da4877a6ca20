//! A TLS connection whose certificate bears another name than the address: the `redis` crate knows
//! only one name for both.

use std::sync::Arc;
use std::time::Duration;

use redis::{ErrorKind, RedisError, RedisResult};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::RedisTls;

/// Connects to `host` and holds the server to `name`.
pub(super) async fn connect(
    host: &str,
    port: u16,
    name: &str,
    tls: &RedisTls,
    bound: Duration,
) -> RedisResult<TlsStream<TcpStream>> {
    let config = config(tls)?;
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| unusable("the name of the server cannot be read"))?;
    let connect = async {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        // As in `dial::tcp`: a peer that vanished without a word is noticed by the system too.
        #[cfg(target_os = "linux")]
        rustix::net::sockopt::set_tcp_user_timeout(
            &stream,
            u32::try_from(bound.as_millis())
                .unwrap_or(u32::MAX)
                .max(1000),
        )
        .map_err(std::io::Error::from)?;
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    };
    let connected = timeout(bound, connect)
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?;
    Ok(connected?)
}

/// What the crate itself does with the same choices.
pub(super) fn config(tls: &RedisTls) -> RedisResult<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        Some(ca) => {
            for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
                let certificate = certificate.map_err(|_| unusable("`ca` cannot be read"))?;
                roots
                    .add(certificate)
                    .map_err(|_| unusable("`ca` is no certificate of an authority"))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder
        .map_err(|_| unusable("no version of TLS"))?
        .with_root_certificates(roots);
    let Some((certificate, key)) = &tls.client else {
        return Ok(builder.with_no_client_auth());
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes())
        .map_err(|_| unusable("`key` cannot be read"))?;
    let chain = chain.map_err(|_| unusable("`cert` cannot be read"))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|_| unusable("`cert` and `key` do not belong together"))
}

fn unusable(what: &'static str) -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, what))
}
