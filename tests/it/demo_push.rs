//! Runs the lines that `jsdkd demo` prints for a follower's message.

use crate::support::process::{Process, folder, run};

#[tokio::test]
async fn the_demo_answers_the_messages_whose_lines_it_prints() {
    let folder = folder();
    let demo = Process::start(folder.path(), &["demo", "--port", "0"], &[]);
    let printed = demo.said("--push text").await;
    demo.said("Ctrl-C").await;
    let lines: Vec<String> = demo
        .out()
        .lines()
        .filter(|line| line.contains("--push"))
        .map(str::to_owned)
        .collect();
    assert_eq!(lines.len(), 2, "{printed}");
    for (line, told) in lines.iter().zip(["hi, o", "Welcome!"]) {
        let arguments: Vec<&str> = line
            .split_once("jsdkd ")
            .expect("a command")
            .1
            .split_whitespace()
            .collect();
        let pushed = run(folder.path(), &arguments, &[]).await;
        assert_eq!(pushed.code, Some(0), "{line}: {}{}", pushed.out, pushed.err);
        assert!(pushed.out.contains(told), "{}", pushed.out);
    }
}
