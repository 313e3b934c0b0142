//! Tables and JSON on standard output.

use anyhow::Result;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;
use std::fmt::Display;
use std::io::Write;

/// A table without lines, so that it can be cut and sorted; the first row names the columns.
pub fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<()> {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(columns.to_vec());
    for row in rows {
        table.add_row(row);
    }
    // No padding on the left and no blanks at the ends of lines.
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut out = std::io::stdout().lock();
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

pub fn json(value: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string_pretty(value)?)?;
    Ok(())
}

/// Plain lines; an output that is closed is an error, as it is everywhere here, and no panic as in `println!`.
pub fn lines<T: Display>(lines: impl IntoIterator<Item = T>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// What was done, in one line.
pub fn done(output: crate::command::Output, sentence: &str, value: &Value) -> Result<()> {
    match output {
        crate::command::Output::Json => json(value),
        crate::command::Output::Table => {
            writeln!(std::io::stdout().lock(), "{sentence}")?;
            Ok(())
        }
    }
}

/// Something beside the result, for a person; if nobody listens, that is no failure.
pub fn note(sentence: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{sentence}");
}

pub fn list(numbers: &[i32]) -> String {
    numbers.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}
