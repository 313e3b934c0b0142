//! Log output: text for people, JSON lines for machines, both on standard error.

use config::LogFormat;
use tracing_subscriber::EnvFilter;

/// Installs the subscriber. `level` is a filter such as `info` or `info,server=debug`; the environment variable
/// `MILLRACE_LOG` wins over it.
///
/// # Errors
/// One sentence if the filter does not parse.
pub fn install(format: LogFormat, level: &str) -> Result<(), String> {
    let text = std::env::var("MILLRACE_LOG").unwrap_or_else(|_| level.to_owned());
    let filter = EnvFilter::try_new(&text)
        .map_err(|e| format!("`{text}` is not a log level or filter ({e}); try `info`"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => {
            use std::io::IsTerminal;
            builder.with_ansi(std::io::stderr().is_terminal()).try_init()
        }
    };
    installed.map_err(|e| format!("logging is already set up: {e}"))
}
