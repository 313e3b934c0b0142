//! The files that a broker leaves behind, as Apache Kafka sees them.
//!
//! Its own DumpLogSegments reads every segment and checks every index. Then Apache Kafka itself adopts the partition
//! directories: it creates the same topic, so that it has an id for it, is stopped, gets the segment files in place of
//! its own empty ones, forgets that it was shut down cleanly, so that it recovers every segment (and rebuilds and compares what it
//! needs), and serves the records to its own client.

use crate::args::Broker;
use crate::clients::java_program;
use crate::node::{Node, fresh_folder};
use crate::outcome::Report;
use crate::program::{Program, Record};
use crate::run::Suites;
use crate::toolchain;
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

const TOPIC: &str = "files";
const PARTITIONS: i32 = 2;
const CODECS: [&str; 6] = ["", "gzip", "", "snappy", "lz4", "zstd"];
const PER_ROUND: i64 = 400;
const TOTAL: usize = CODECS.len() * PER_ROUND as usize;
/// Small enough for several segments per partition, and every 4 KiB has its index entry.
const SEGMENT_BYTES: &str = "segment.bytes=1048576";
/// What belongs to the broker that wrote it and may not move: the topic's id.
const OWN_FILE: &str = "partition.metadata";

pub fn run(suites: &Suites, report: &mut Report) -> Result<()> {
    let program = java_program(&suites.jars);
    let mut node = suites.brokers.fresh()?;
    let Some(data) = node.data.clone() else {
        report.absent("kafka-dump-log");
        return Ok(());
    };
    let written = write(suites, &program, &node)?;
    node.stop()?;
    let partitions = partition_folders(&data)?;
    report.note("kafka-dump-log reads every segment", dump(suites, &partitions, &written));
    report.note("kafka-dump-log finds every index sound", check_indexes(suites, &partitions));
    report.note(
        "Apache Kafka serves the files as its own",
        adopt(suites, &program, &partitions, &written),
    );
    Ok(())
}

/// Records of every codec, with and without headers, small and large.
fn write(suites: &Suites, program: &Program, node: &Node) -> Result<Vec<Record>> {
    create(suites, node)?;
    for (round, codec) in CODECS.into_iter().enumerate() {
        let first = round as i64 * PER_ROUND;
        let mut more = json!({"headers": round % 2 == 0, "size": 4000});
        if !codec.is_empty() {
            more["codec"] = json!(codec);
        }
        program.produce(&node.bootstrap, TOPIC, first..first + PER_ROUND, &more)?;
    }
    let mut records = program.consume(&node.bootstrap, TOPIC, TOTAL, None)?;
    sort(&mut records);
    Ok(records)
}

fn create(suites: &Suites, node: &Node) -> Result<()> {
    let mut topics = suites.jars.java("org.apache.kafka.tools.TopicCommand");
    topics.args(["--bootstrap-server", &node.bootstrap, "--create", "--topic", TOPIC]);
    topics.args(["--partitions", &PARTITIONS.to_string(), "--config", SEGMENT_BYTES]);
    toolchain::must(&mut topics)
}

fn sort(records: &mut [Record]) {
    records.sort_by_key(|record| (record.partition, record.offset));
}

/// The folder of each partition, wherever the broker keeps it under its data directory.
fn partition_folders(data: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![data.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "log") && !found.contains(&folder) {
                found.push(folder.clone());
            }
        }
    }
    let wanted = (0..PARTITIONS).map(|partition| format!("{TOPIC}-{partition}"));
    wanted
        .map(|name| {
            let folder = found
                .iter()
                .find(|folder| folder.file_name().is_some_and(|found| found == name.as_str()));
            folder
                .cloned()
                .with_context(|| format!("{name} has no segments under {}", data.display()))
        })
        .collect()
}

fn files(partitions: &[PathBuf], ends: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for partition in partitions {
        for entry in fs::read_dir(partition)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| ends.iter().any(|wanted| end == *wanted)) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn dump_log(suites: &Suites, files: &[PathBuf], more: &[&str]) -> Result<String> {
    let list = files.iter().map(|file| file.to_string_lossy()).collect::<Vec<_>>().join(",");
    let mut dump = suites.jars.java("org.apache.kafka.tools.DumpLogSegments");
    let output = dump
        .args(["--files", &list])
        .args(more)
        .output()
        .context("cannot start DumpLogSegments")?;
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    let bad = ["mismatch", "Found ", "isvalid: false", "Exception", "Could not find"];
    let complaint = told.lines().find(|line| bad.iter().any(|word| line.contains(word)));
    ensure!(
        output.status.success() && complaint.is_none(),
        "{}",
        complaint.unwrap_or("it failed without a word")
    );
    Ok(told)
}

fn dump(suites: &Suites, partitions: &[PathBuf], written: &[Record]) -> Result<()> {
    let logs = files(partitions, &["log"])?;
    ensure!(logs.len() > partitions.len(), "{} segments are too few for a test", logs.len());
    let told = dump_log(suites, &logs, &["--deep-iteration"])?;
    let records = told.lines().filter(|line| line.trim_start().starts_with("| offset:")).count();
    ensure!(
        records == written.len(),
        "{records} records in the files, {} were written",
        written.len()
    );
    Ok(())
}

/// With the sanity check, and once more entry by entry against the log beside it.
fn check_indexes(suites: &Suites, partitions: &[PathBuf]) -> Result<()> {
    let all = files(partitions, &["index", "timeindex", "txnindex", "snapshot"])?;
    let indexes = files(partitions, &["index", "timeindex"])?;
    ensure!(indexes.len() > partitions.len(), "{} indexes are too few for a test", indexes.len());
    let told = dump_log(suites, &indexes, &["--index-sanity-check"])?;
    let passed = told.lines().filter(|line| line.contains("passed sanity check")).count();
    ensure!(
        passed == indexes.len(),
        "{passed} of {} indexes passed the sanity check",
        indexes.len()
    );
    dump_log(suites, &indexes, &["--verify-index-only"])?;
    dump_log(suites, &all, &[]).map(drop)
}

fn adopt(
    suites: &Suites,
    program: &Program,
    partitions: &[PathBuf],
    written: &[Record],
) -> Result<()> {
    let data = fresh_folder()?;
    let mut kafka = suites.brokers.start(Broker::Kafka, &data)?;
    create(suites, &kafka)?;
    kafka.stop()?;
    for from in partitions {
        let name = from.file_name().context("a partition without a name")?;
        replace_segments(from, &data.join("data").join(name))?;
    }
    let clean = data.join("data/.kafka_cleanshutdown");
    fs::remove_file(&clean).with_context(|| format!("cannot remove {}", clean.display()))?;
    let kafka = suites.brokers.start(Broker::Kafka, &data)?;
    let mut read = program.consume(&kafka.bootstrap, TOPIC, written.len(), None)?;
    sort(&mut read);
    match read.iter().zip(written).find(|(read, written)| read != written) {
        None => Ok(()),
        Some((read, written)) => bail!("Kafka reads {read:?} where {written:?} was written"),
    }
}

fn replace_segments(from: &Path, to: &Path) -> Result<()> {
    let listed = |folder: &Path| -> Result<Vec<PathBuf>> {
        let entries =
            fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        let paths: Vec<PathBuf> =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        Ok(paths.into_iter().filter(|path| !path.ends_with(OWN_FILE)).collect())
    };
    for old in listed(to)? {
        fs::remove_file(old)?;
    }
    for file in listed(from)? {
        fs::copy(&file, to.join(file.file_name().context("a file without a name")?))?;
    }
    Ok(())
}
