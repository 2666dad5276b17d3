//! The `creta` command.

/// A server allocates on many threads and frees on others; the system's allocator keeps what it got for each thread, so that a
/// busy server grows by a hundred megabytes a minute while it uses seventy.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    let code = creta_cli::main(std::env::args_os());
    std::process::ExitCode::from(u8::try_from(code).unwrap_or(1))
}
