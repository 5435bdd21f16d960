//! The `broker` command: parses arguments, calls [`broker::cli`], turns the outcome into an exit code.

/// Messages are allocated by the threads of connections and freed by those of the store, and most are
/// larger than what glibc keeps per thread: with its allocator those threads wait for each other, and
/// give pages back to ask for them again. Measured: 15 to 20 % less CPU per message.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    broker::cli::run(std::env::args_os())
}
