//! The lines of README.md that a newcomer would paste, run against the demo as they stand but for the port.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::programs;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PROGRAM: &str = env!("CARGO_BIN_EXE_jsdkd");

/// `jsdkd demo` on a port of its own.
struct Demo {
    child: Child,
    port: u16,
}

impl Demo {
    fn start() -> Self {
        // Another process may take the port before the demo does.
        (0..5).find_map(|_| Self::try_start()).expect("the demo starts in one of five attempts")
    }

    fn try_start() -> Option<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut demo = Command::new(PROGRAM);
        demo.args(["demo", "--port", &port.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = demo.spawn().unwrap();
        let output = child.stdout.take().unwrap();
        // Read to its end, or the demo would stop at a full pipe.
        std::thread::spawn(move || BufReader::new(output).lines().count());
        for _ in 0..400 {
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(Self { child, port });
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        let _ = child.kill().and_then(|()| child.wait());
        None
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// The page's shell blocks that ask the demo something; those that build and start it are not among them.
fn blocks(page: &str) -> Vec<String> {
    let shell = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let asking = shell.filter(|block| block.contains("curl ") || block.contains("clients/"));
    asking.filter(|block| !block.contains("docker ")).map(str::to_owned).collect()
}

#[test]
fn every_line_of_the_readme_works_against_the_demo() {
    let (Some(bash), Some(_), Some(_)) = (programs::require("bash"), programs::require("curl"), programs::require("openssl"))
    else {
        return;
    };
    let Some(_) = programs::require("python3") else { return };
    let demo = Demo::start();
    let page = fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    let blocks = blocks(&page);
    assert!(blocks.len() > 8, "{blocks:?}");
    for block in blocks {
        // The section on errors shows one; everywhere else an error is a fault of the page.
        let shows_an_error = block.contains("/jsapi/wxunknown/");
        let script = block
            .replace("127.0.0.1:3030", &format!("127.0.0.1:{}", demo.port))
            .replace("target/release/jsdkd", PROGRAM)
            .replace("curl ", if shows_an_error { "curl -sS " } else { "curl -sS --fail-with-body " });
        let ran = Command::new(&bash).args(["-euo", "pipefail", "-c", &script]).current_dir(ROOT).output().unwrap();
        let told = format!("{block}{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{told}");
        assert_eq!(shows_an_error, told.contains(r#""code":"unknown_app""#), "{told}");
    }
}
