//! The `millrace` binary: a broker (`dev`, `start`), a look at the host (`check`), and a client.

use std::process::ExitCode;

fn main() -> ExitCode {
    broker::console::run()
}
