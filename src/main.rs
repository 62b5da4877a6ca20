//! The program: everything it does is the library's, whose commands it runs.

fn main() -> std::process::ExitCode {
    jsdkd::main()
}
