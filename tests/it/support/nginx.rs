//! A real nginx that runs `deploy/nginx.conf` in front of a server under test.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::programs;
use super::redis::make_certificates_at;

const SAMPLE: &str = include_str!("../../../deploy/nginx.conf");

/// nginx in its own folder and on its own ports; stopped on drop.
pub(crate) struct Nginx {
    child: Child,
    folder: tempfile::TempDir,
    /// Its HTTP port.
    pub(crate) http: SocketAddr,
    /// Its HTTPS port; the certificate is for `example.com` and self-signed.
    pub(crate) https: SocketAddr,
}

impl Nginx {
    /// Starts nginx in front of `upstream`; `None` if it is not installed.
    pub(crate) async fn start(upstream: SocketAddr) -> Option<Self> {
        let (nginx, openssl) = (programs::require("nginx")?, programs::require("openssl")?);
        // Another process may take a port before nginx binds it.
        for _ in 0..5 {
            if let Some(running) = Self::try_start(&nginx, &openssl, upstream).await {
                return Some(running);
            }
        }
        panic!("nginx did not start in five attempts; its words are above");
    }

    /// Starts nginx with only a `proxy_pass` to `upstream` and `directives`, on its HTTP port;
    /// `None` if it is not installed.
    pub(crate) async fn bare(upstream: SocketAddr, directives: &str) -> Option<Self> {
        let nginx = programs::require("nginx")?;
        for _ in 0..5 {
            let (folder, http) = (tempfile::tempdir().unwrap(), free_port());
            let server = format!(
                "server {{ listen {http}; location / {{ proxy_pass http://{upstream}; {directives} }} }}\n"
            );
            fs::write(
                folder.path().join("jsdkd.conf"),
                format!("access_log off;\n{server}"),
            )
            .unwrap();
            if let Some(running) = Self::run(&nginx, folder, http, http).await {
                return Some(running);
            }
        }
        panic!("nginx did not start in five attempts; its words are above");
    }

    /// Starts nginx with TLS before `upstream`, with a certificate for `names`, and returns the file
    /// of the authority that signed it; `None` where nginx or openssl is not installed.
    pub(crate) async fn with_tls(upstream: SocketAddr, names: &str) -> Option<(Self, PathBuf)> {
        Self::with_tls_made_at(upstream, names, 0).await
    }

    /// The same with certificates that were made `seconds` from now and are valid for two days.
    pub(crate) async fn with_tls_made_at(
        upstream: SocketAddr,
        names: &str,
        seconds: i64,
    ) -> Option<(Self, PathBuf)> {
        let nginx = programs::require("nginx")?;
        programs::require("openssl")?;
        for _ in 0..5 {
            let (folder, https) = (tempfile::tempdir().unwrap(), free_port());
            make_certificates_at(folder.path(), names, seconds);
            let [key, certificate, ca] =
                ["redis.key", "redis.crt", "ca.crt"].map(|name| folder.path().join(name));
            let server = format!(
                "server {{ listen {https} ssl; ssl_certificate {}; ssl_certificate_key {}; location / {{ proxy_pass http://{upstream}; }} }}\n",
                certificate.display(),
                key.display(),
            );
            fs::write(
                folder.path().join("jsdkd.conf"),
                format!("access_log off;\n{server}"),
            )
            .unwrap();
            if let Some(running) = Self::run(&nginx, folder, https, https).await {
                return Some((running, ca));
            }
        }
        panic!("nginx did not start in five attempts; its words are above");
    }

    async fn try_start(nginx: &Path, openssl: &Path, upstream: SocketAddr) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let (http, https) = (free_port(), free_port());
        certify(openssl, folder.path());
        fs::write(
            folder.path().join("jsdkd.conf"),
            adapted(folder.path(), upstream, http, https),
        )
        .unwrap();
        Self::run(nginx, folder, http, https).await
    }

    async fn run(
        nginx: &Path,
        folder: tempfile::TempDir,
        http: SocketAddr,
        https: SocketAddr,
    ) -> Option<Self> {
        fs::write(folder.path().join("nginx.conf"), frame(folder.path())).unwrap();
        let mut child = Command::new(nginx)
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..200 {
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            if TcpStream::connect(http).is_ok() && TcpStream::connect(https).is_ok() {
                return Some(Self {
                    child,
                    folder,
                    http,
                    https,
                });
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        let _ = child.kill().and_then(|()| child.wait());
        None
    }

    /// Both logs, one after the other.
    pub(crate) fn logs(&self) -> String {
        ["jsdkd.access.log", "jsdkd.error.log"]
            .map(|name| fs::read_to_string(self.folder.path().join(name)).unwrap())
            .concat()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// The sample configuration with its marked lines adapted to this machine.
fn adapted(folder: &Path, upstream: SocketAddr, http: SocketAddr, https: SocketAddr) -> String {
    let folder = folder.to_str().unwrap();
    let adapt = |line: &str| {
        if !line.ends_with("# yours") {
            return line.to_owned();
        }
        line.replace("127.0.0.1:3030", &upstream.to_string())
            .replace("listen 80;", &format!("listen {http};"))
            .replace("listen 443 ", &format!("listen {https} "))
            .replace("/var/log/nginx", folder)
            .replace("/etc/nginx/certs", folder)
    };
    SAMPLE.lines().map(|line| adapt(line) + "\n").collect()
}

/// The relevant part of Debian's nginx.conf, without a second process that would survive a kill.
fn frame(folder: &Path) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("    {what}_temp_path {}/{what};\n", folder.display()))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid {0}/pid;\nevents {{}}\nhttp {{\n{temporary}    include {0}/jsdkd.conf;\n}}\n",
        folder.display()
    )
}

fn certify(openssl: &Path, folder: &Path) {
    let made = Command::new(openssl)
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=example.com",
            "-addext",
            "subjectAltName=DNS:example.com",
        ])
        .args(["-keyout", "privkey.pem", "-out", "fullchain.pem"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

fn free_port() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
}
