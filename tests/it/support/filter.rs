//! A proxy in front of a real Redis that refuses commands, as managed services do. It parses
//! requests and answers, and forwards one at a time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the proxy does with a command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Treatment {
    Pass,
    /// Answers with this error instead of Redis.
    Say(&'static str),
    /// Closes the connection.
    Close,
}

/// Decides about a command; its name is in upper case.
pub(crate) type Rule = fn(&[String]) -> Treatment;

/// A proxy to one server, closed on drop.
pub(crate) struct Filter {
    address: SocketAddr,
    rule: watch::Sender<Rule>,
    seen: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

impl Filter {
    /// Creates a proxy to the server at `port` of this machine.
    pub(crate) async fn to(port: u16, rule: Rule) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let (rule, seen) = (
            watch::Sender::new(rule),
            Arc::<Mutex<Vec<String>>>::default(),
        );
        let (rules, noted) = (rule.subscribe(), Arc::clone(&seen));
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((near, _)) = listener.accept().await else {
                    continue;
                };
                let (rules, noted) = (rules.clone(), Arc::clone(&noted));
                tokio::spawn(async move {
                    let mut changed = rules.clone();
                    changed.borrow_and_update();
                    tokio::select! {
                        _ = changed.changed() => {}
                        _ = serve(near, port, &rules, &noted) => {}
                    }
                });
            }
        });
        Self {
            address,
            rule,
            seen,
            accepting,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Closes all connections and applies another rule to new ones.
    pub(crate) fn change(&self, rule: Rule) {
        self.rule.send_replace(rule);
    }

    /// How often this command was sent, including refused ones.
    pub(crate) fn count(&self, command: &str) -> usize {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .filter(|seen| *seen == command)
            .count()
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    near: TcpStream,
    port: u16,
    rules: &watch::Receiver<Rule>,
    seen: &Mutex<Vec<String>>,
) -> Option<()> {
    let far = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    near.set_nodelay(true).and(far.set_nodelay(true)).ok()?;
    let (mut near, mut far) = (BufReader::new(near), BufReader::new(far));
    loop {
        let (raw, words) = request(&mut near).await?;
        seen.lock().unwrap().push(words[0].clone());
        let treatment = rules.borrow()(&words);
        match treatment {
            Treatment::Close => return None,
            Treatment::Say(error) => near
                .write_all(format!("-{error}\r\n").as_bytes())
                .await
                .ok()?,
            Treatment::Pass => {
                far.write_all(&raw).await.ok()?;
                let mut answer = Vec::new();
                reply(&mut far, &mut answer).await?;
                near.write_all(&answer).await.ok()?;
                if words[0] == "SUBSCRIBE" {
                    return copy_bidirectional(&mut near, &mut far).await.ok().map(drop);
                }
            }
        }
    }
}

/// Reads a request; returns its bytes and its words.
async fn request(from: &mut (impl AsyncBufRead + Unpin)) -> Option<(Vec<u8>, Vec<String>)> {
    let (mut raw, mut words) = (Vec::new(), Vec::new());
    let count = line(from, &mut raw)
        .await?
        .strip_prefix('*')?
        .parse::<usize>()
        .ok()?;
    for _ in 0..count {
        let begun = raw.len();
        reply(from, &mut raw).await?;
        let text = String::from_utf8_lossy(&raw[begun..]).into_owned();
        words.push(
            text.split_once("\r\n")?
                .1
                .trim_end_matches("\r\n")
                .to_owned(),
        );
    }
    words.first_mut()?.make_ascii_uppercase();
    Some((raw, words))
}

/// Appends one complete answer.
async fn reply(from: &mut (impl AsyncBufRead + Unpin), to: &mut Vec<u8>) -> Option<()> {
    let mut wanted = 1;
    while wanted > 0 {
        wanted -= 1;
        let head = line(from, to).await?;
        let (kind, rest) = head.split_at_checked(1)?;
        let length = rest.parse::<i64>().unwrap_or(0);
        match kind {
            "$" if length >= 0 => {
                let begun = to.len();
                to.resize(begun + usize::try_from(length).ok()? + 2, 0);
                from.read_exact(&mut to[begun..]).await.ok()?;
            }
            "*" => wanted += usize::try_from(length).unwrap_or(0),
            _ => {}
        }
    }
    Some(())
}

/// Appends one line and returns it without its end.
async fn line(from: &mut (impl AsyncBufRead + Unpin), to: &mut Vec<u8>) -> Option<String> {
    let begun = to.len();
    let read = from.read_until(b'\n', to).await.ok()?;
    (read > 0).then(|| String::from_utf8_lossy(&to[begun..]).trim_end().to_owned())
}
