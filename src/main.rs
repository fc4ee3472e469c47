//! The `standpipe` command: see `standpipe --help`, and the library's map for how it works.

fn main() -> std::process::ExitCode {
    standpipe::cli::main()
}
