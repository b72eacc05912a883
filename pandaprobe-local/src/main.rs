//! The program `pandaprobe-local`: traces on this machine, stored, served and shown.

use std::process::ExitCode;

fn main() -> ExitCode {
    pandaprobe_local::cli::main()
}
