//! A small SOCKS proxy, versions 4, 4a and 5. It forwards every connection to one address and
//! records the requested destinations.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Stopped on drop.
pub(crate) struct Socks {
    pub(crate) address: SocketAddr,
    wanted: Arc<Mutex<Vec<String>>>,
    running: JoinHandle<()>,
}

impl Socks {
    /// Starts a proxy to `target`. `login` (`user:password`) is required if given.
    pub(crate) async fn leading_to(target: SocketAddr, login: Option<&'static str>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        let wanted = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&wanted);
        let running = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    // A client that disconnects early ends only its own connection.
                    if let Ok(Some(destination)) = greet(&mut client, login).await {
                        seen.lock().expect("nobody panics").push(destination);
                        let mut there = TcpStream::connect(target)
                            .await
                            .expect("the target listens");
                        drop(copy_bidirectional(&mut client, &mut there).await);
                    }
                });
            }
        });
        Self {
            address,
            wanted,
            running,
        }
    }

    /// The requested destinations.
    pub(crate) fn wanted(&self) -> Vec<String> {
        self.wanted.lock().expect("nobody panics").clone()
    }
}

impl Drop for Socks {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Reads the requested destination; `None` if the client was refused.
async fn greet(client: &mut TcpStream, login: Option<&str>) -> std::io::Result<Option<String>> {
    match client.read_u8().await? {
        4 => version_4(client).await.map(Some),
        5 => version_5(client, login).await,
        other => panic!("no version of SOCKS: {other}"),
    }
}

async fn version_4(client: &mut TcpStream) -> std::io::Result<String> {
    assert_eq!(client.read_u8().await?, 1, "CONNECT");
    let (port, address) = (client.read_u16().await?, client.read_u32().await?);
    until_zero(client).await?;
    let host = if address < 256 {
        until_zero(client).await?
    } else {
        Ipv4Addr::from(address).to_string()
    };
    client.write_all(&[0, 90, 0, 0, 0, 0, 0, 0]).await?;
    Ok(format!("{host}:{port}"))
}

async fn until_zero(client: &mut TcpStream) -> std::io::Result<String> {
    let mut text = Vec::new();
    loop {
        match client.read_u8().await? {
            0 => return Ok(String::from_utf8(text).expect("a text")),
            byte => text.push(byte),
        }
    }
}

async fn version_5(client: &mut TcpStream, login: Option<&str>) -> std::io::Result<Option<String>> {
    let methods = counted(client).await?;
    let method = if login.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        client.write_all(&[5, 255]).await?;
        return Ok(None);
    }
    client.write_all(&[5, method]).await?;
    if let Some(login) = login {
        client.read_u8().await?;
        let (user, password) = (counted(client).await?, counted(client).await?);
        let is_known = [user, b":".to_vec(), password].concat() == login.as_bytes();
        client.write_all(&[1, u8::from(!is_known)]).await?;
        if !is_known {
            return Ok(None);
        }
    }
    let mut head = [0; 4];
    client.read_exact(&mut head).await?;
    let host = match head[3] {
        1 => Ipv4Addr::from(client.read_u32().await?).to_string(),
        3 => String::from_utf8(counted(client).await?).expect("a name"),
        other => panic!("no kind of address that is asked for here: {other}"),
    };
    let port = client.read_u16().await?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    Ok(Some(format!("{host}:{port}")))
}

async fn counted(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; client.read_u8().await?.into()];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}
