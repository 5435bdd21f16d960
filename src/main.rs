//! The `broker` command: parses arguments, calls [`broker::cli`], turns the outcome into an exit code.
fn main() -> std::process::ExitCode {
    broker::cli::run(std::env::args_os())
}
