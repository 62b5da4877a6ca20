//! An open-loop load: one request in so many connections, each due at its own moment whether or not those before it are answered. A moment
//! at which every connection still waits for its answer is counted and skipped, as by a caller who gives up at once. It knows nothing of
//! jsdkd but an address and the bytes of a request.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

const USAGE: &str = "usage: flood HOST:PORT RATE SECONDS CONNECTIONS FILE (the request as it is sent)";

/// How often those who are due set out.
const TICK: Duration = Duration::from_millis(1);

/// What all connections share: who is idle, and what came of the rest.
#[derive(Default)]
struct Shared {
    idle: RefCell<VecDeque<Rc<Notify>>>,
    statuses: RefCell<BTreeMap<u16, u64>>,
    /// Answers by their latency in steps of 100 µs.
    latencies: RefCell<BTreeMap<u64, u64>>,
    broken: Cell<u64>,
    skipped: Cell<u64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, rate, seconds, connections, file] = arguments.as_slice() else { panic!("{USAGE}") };
    let [rate, seconds, connections] = [rate, seconds, connections].map(|number| number.parse::<u64>().expect(USAGE));
    let request: Rc<[u8]> = std::fs::read(file).expect("the file of the request").into();
    let shared = Rc::new(Shared::default());
    let local = tokio::task::LocalSet::new();
    local.run_until(run(address, rate, Duration::from_secs(seconds), connections, &request, &shared)).await;
    print(&shared, seconds);
}

async fn run(address: &str, rate: u64, span: Duration, connections: u64, request: &Rc<[u8]>, shared: &Rc<Shared>) {
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("a fresh connection");
        tokio::task::spawn_local(talk(stream, address.to_owned(), Rc::clone(request), Rc::clone(shared)));
    }
    let (begun, mut dispatched) = (Instant::now(), 0);
    let mut ticks = tokio::time::interval(TICK);
    while begun.elapsed() < span {
        ticks.tick().await;
        let due = (begun.elapsed().as_micros() as u64 * rate) / 1_000_000;
        while dispatched < due {
            let Some(one) = shared.idle.borrow_mut().pop_front() else { break };
            one.notify_one();
            dispatched += 1;
        }
        shared.skipped.set(shared.skipped.get() + due.saturating_sub(dispatched));
        dispatched = dispatched.max(due);
    }
}

/// One connection: idle, a request, its answer, idle again; a new connection when the old one breaks.
async fn talk(mut stream: TcpStream, address: String, request: Rc<[u8]>, shared: Rc<Shared>) {
    let (bell, mut buffer) = (Rc::new(Notify::new()), vec![0; 16 * 1024]);
    loop {
        shared.idle.borrow_mut().push_back(Rc::clone(&bell));
        bell.notified().await;
        let begun = Instant::now();
        match ask(&mut stream, &request, &mut buffer).await {
            Some(status) => {
                *shared.statuses.borrow_mut().entry(status).or_default() += 1;
                *shared.latencies.borrow_mut().entry(begun.elapsed().as_micros() as u64 / 100).or_default() += 1;
            }
            None => {
                shared.broken.set(shared.broken.get() + 1);
                let Ok(next) = TcpStream::connect(&address).await else { return };
                stream = next;
            }
        }
    }
}

/// The status of the answer, once it is whole.
async fn ask(stream: &mut TcpStream, request: &[u8], buffer: &mut [u8]) -> Option<u16> {
    stream.write_all(request).await.ok()?;
    let mut length = 0;
    loop {
        let read = stream.read(buffer.get_mut(length..).filter(|rest| !rest.is_empty())?).await.ok().filter(|read| *read > 0)?;
        length += read;
        let answer = &buffer[..length];
        let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        if length >= head + 4 + body_length(&answer[..head])? {
            return std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok();
        }
    }
}

fn body_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    length.map_or(Some(0), |(_, length)| length.trim().parse().ok())
}

/// One line: good answers a second, the 50th and the 99th of a hundred latencies in ms, moments skipped, connections broken, and each other
/// status with its count.
fn print(shared: &Shared, seconds: u64) {
    let statuses = shared.statuses.borrow();
    let good = statuses.get(&200).copied().unwrap_or_default();
    let latencies = shared.latencies.borrow();
    let all: u64 = latencies.values().sum();
    let percentile = |percent: u64| {
        let mut left = all * percent / 100;
        let found = latencies.iter().find(|(_, count)| {
            let reached = left < **count;
            left = left.saturating_sub(**count);
            reached
        });
        found.map_or(0.0, |(step, _)| *step as f64 / 10.0)
    };
    let others: Vec<String> =
        statuses.iter().filter(|(status, _)| **status != 200).map(|(status, count)| format!("{status}:{count}")).collect();
    let others = if others.is_empty() { "none".to_owned() } else { others.join(",") };
    println!(
        "{} {:.1} {:.1} {} {} {others}",
        good / seconds,
        percentile(50),
        percentile(99),
        shared.skipped.get(),
        shared.broken.get()
    );
}
