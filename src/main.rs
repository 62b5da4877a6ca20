//! The program: everything it does is the library's, whose commands it runs.

/// Returns freed memory to the system, a second after the last use (`.cargo/config.toml`). The system's
/// own allocator keeps what a crowd of connections needed.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    jsdkd::main()
}
