//! The client commands of the `millrace` binary itself, as a person types them.

use crate::clients::java_program;
use crate::outcome::Report;
use crate::process::{Line, Process};
use crate::run::Suites;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

struct Shell<'a> {
    suites: &'a Suites,
    bootstrap: String,
}

type Check = (&'static str, fn(&Shell<'_>) -> Result<()>);

const CHECKS: [Check; 8] = [
    ("topic create, list", create),
    ("topic describe", describe),
    ("produce, consume", produce_and_consume),
    ("produce --codec, --header", codecs),
    ("consume --from", places),
    ("group list, describe", groups),
    ("topic delete", delete),
    ("refusals", refusals),
];

pub fn run(suites: &Suites, report: &mut Report) -> Result<()> {
    let mut node = suites.brokers.fresh()?;
    let shell = Shell { suites, bootstrap: node.bootstrap.clone() };
    for (name, check) in CHECKS {
        report.note(name, check(&shell));
        node.check_alive()?;
    }
    Ok(())
}

impl Shell<'_> {
    /// Standard output if it exits with 0, else what it told.
    fn run(&self, words: &str, input: &str) -> Result<String> {
        let mut command = Command::new(&self.suites.brokers.millrace);
        command.args(words.split(' ')).args(["--bootstrap", &self.bootstrap]);
        let mut process = Process::start(&mut command)?;
        let _ = process.write(input.as_bytes());
        process.end_input();
        let mut output = String::new();
        let end = Instant::now() + PATIENCE;
        loop {
            match process.line(Duration::from_millis(50)) {
                Line::Text(line) => output = output + &line + "\n",
                Line::Ended => break,
                Line::NotYet if Instant::now() > end => bail!("`{words}` does not end"),
                Line::NotYet => {}
            }
        }
        let status = process.wait(PATIENCE)?;
        ensure!(status.success(), "{}", process.last_words());
        Ok(output)
    }

    fn json(&self, words: &str) -> Result<Value> {
        let output = self.run(&format!("{words} -o json"), "")?;
        serde_json::from_str(&output).with_context(|| format!("`{words}` printed: {output}"))
    }

    /// The records that a consume command prints.
    fn consume(&self, words: &str) -> Result<Vec<Value>> {
        let output = self.run(&format!("consume {words} -o json"), "")?;
        output.lines().map(|line| serde_json::from_str(line).context("not JSON")).collect()
    }

    /// The command fails and says this.
    fn refuses(&self, words: &str, expected: &str) -> Result<()> {
        match self.run(words, "") {
            Ok(output) => bail!("`{words}` succeeds: {output}"),
            Err(told) if told.to_string().contains(expected) => Ok(()),
            Err(told) => bail!("`{words}` tells: {told}"),
        }
    }
}

fn create(shell: &Shell<'_>) -> Result<()> {
    let words = "topic create orders --partitions 3 --config retention.ms=3600000";
    shell.run(words, "")?;
    let table = shell.run("topic list", "")?;
    ensure!(table.lines().any(|line| line.starts_with("orders")), "not listed: {table}");
    let list = shell.json("topic list")?;
    ensure!(list[0]["topic"] == "orders" && list[0]["partitions"] == 3, "{list}");
    Ok(())
}

fn describe(shell: &Shell<'_>) -> Result<()> {
    let told = shell.json("topic describe orders")?;
    ensure!(told["partitions"].as_array().is_some_and(|all| all.len() == 3), "{told}");
    ensure!(told["configs"] == json!({"retention.ms": "3600000"}), "{told}");
    shell.run("topic describe orders", "").map(drop)
}

fn produce_and_consume(shell: &Shell<'_>) -> Result<()> {
    let lines: String = (0..100).map(|i| format!("k{i}:v{i}\n")).collect();
    shell.run("produce orders --key-separator :", &lines)?;
    let records = shell.consume("orders")?;
    ensure!(records.len() == 100, "{} of 100 records came", records.len());
    let odd = records.iter().find(|record| {
        let key = record["key"].as_str().unwrap_or_default();
        record["value"].as_str() != Some(&key.replacen('k', "v", 1))
    });
    ensure!(odd.is_none(), "{odd:?}");
    let text = shell.run("consume orders --count 7", "")?;
    ensure!(text.lines().count() == 7, "{text}");
    Ok(())
}

fn codecs(shell: &Shell<'_>) -> Result<()> {
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        let lines = format!("{}\n", "x".repeat(1000)).repeat(20);
        shell.run(&format!("produce {codec} --codec {codec} --header a=b"), &lines)?;
        let records = shell.consume(codec)?;
        let whole = records.iter().all(|record| record["headers"] == json!([["a", "b"]]));
        ensure!(records.len() == 20 && whole, "{codec}: {} records", records.len());
    }
    Ok(())
}

fn places(shell: &Shell<'_>) -> Result<()> {
    shell.run("produce places --partition 0", "a\nb\nc\n")?;
    ensure!(shell.consume("places --partition 0 --from 2")?.len() == 1, "from offset 2");
    ensure!(shell.consume("places --from 2020-01-01")?.len() == 3, "from 2020");
    ensure!(shell.consume("places --from 2120-01-01T00:00:00Z")?.is_empty(), "from 2120");
    Ok(())
}

/// Of a group that another client has left.
fn groups(shell: &Shell<'_>) -> Result<()> {
    let request = json!({"command": "member", "bootstrap": shell.bootstrap, "topic": "orders", "group": "readers"});
    let mut member = java_program(&shell.suites.jars).start(&request)?;
    let end = Instant::now() + PATIENCE;
    let mut read = 0;
    while read < 100 {
        match member.line(Duration::from_millis(100)) {
            Line::Text(line) => read += i32::from(line.contains("\"record\"")),
            _ => ensure!(Instant::now() < end, "{read} of 100 records came"),
        }
    }
    let described = shell.json("group describe readers")?;
    ensure!(described["state"] == "Stable", "{described}");
    member.end_input();
    member.wait(PATIENCE)?;
    let described = shell.json("group describe readers")?;
    let rows = described["offsets"].as_array().cloned().unwrap_or_default();
    ensure!(rows.len() == 3 && rows.iter().all(|row| row["lag"] == 0), "{described}");
    let list = shell.json("group list")?;
    ensure!(list[0]["group"] == "readers" && list[0]["state"] == "Empty", "{list}");
    shell.run("group describe readers", "").map(drop)
}

fn delete(shell: &Shell<'_>) -> Result<()> {
    shell.run("topic delete orders", "")?;
    let table = shell.run("topic list", "")?;
    ensure!(!table.lines().any(|line| line.starts_with("orders")), "still listed: {table}");
    Ok(())
}

fn refusals(shell: &Shell<'_>) -> Result<()> {
    shell.refuses("topic create places", "TOPIC_ALREADY_EXISTS")?;
    shell.refuses("topic delete absent", "UNKNOWN_TOPIC_OR_PARTITION")?;
    shell.refuses("topic create t --config no.such=1", "INVALID_CONFIG")?;
    shell.refuses("consume absent", "does not exist")?;
    shell.refuses("consume places --partition 9", "has no partition 9")?;
    shell.refuses("group describe absent", "does not exist")
}
