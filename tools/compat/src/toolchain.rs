//! The package managers that clients come from. Each missing one is told in one sentence with what to install.

use anyhow::{Context, Result, bail};
use std::process::Command;

/// A program and how a person gets it.
pub struct Tool {
    pub program: &'static str,
    pub remedy: &'static str,
}

pub const JAVA: Tool = Tool {
    program: "javac",
    remedy: "install a JDK 17 or later (apt-get install default-jdk-headless)",
};
pub const MAVEN: Tool = Tool { program: "mvn", remedy: "install Maven (apt-get install maven)" };
pub const PYTHON: Tool = Tool {
    program: "python3",
    remedy: "install Python 3.9 or later (apt-get install python3-venv)",
};
pub const NPM: Tool = Tool {
    program: "npm",
    remedy: "install Node.js 18 or later with npm (apt-get install nodejs npm)",
};
pub const GO: Tool = Tool { program: "go", remedy: "install Go 1.21 or later (https://go.dev/dl)" };
pub const KCAT: Tool = Tool { program: "kcat", remedy: "install kcat (apt-get install kcat)" };
pub const CARGO: Tool = Tool { program: "cargo", remedy: "install Rust (https://rustup.rs)" };

impl Tool {
    /// A command of this tool, or one sentence if it is not on the PATH.
    pub fn command(&self) -> Result<Command> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|dir| dir.join(self.program).is_file()) {
            bail!("{} is missing: {}", self.program, self.remedy);
        }
        Ok(Command::new(self.program))
    }
}

/// Runs an installation step; its output is shown only if it fails.
pub fn must(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {program}"))?;
    if output.status.success() {
        return Ok(());
    }
    let told = [output.stdout, output.stderr].concat();
    bail!("{program} ended with {}:\n{}", output.status, String::from_utf8_lossy(&told).trim())
}
