//! Which suites run, how many at a time, and what their results come to.

use crate::args::{Args, Broker};
use crate::cache::Cache;
use crate::clients::{CLIENTS, Client, java_program};
use crate::jars::Jars;
use crate::node::Brokers;
use crate::outcome::{Kind, Outcome, Report};
use crate::process::stop_children_when_interrupted;
use crate::scenarios::{self, Bench};
use crate::{cluster_tools, differential, failover, matrix, own_client, segment_files, tools};
use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Mutex;

/// A suite is a client with all its scenarios, or a list of checks around Kafka's own programs.
enum Suite {
    Client(&'static Client),
    List { name: &'static str, title: &'static str, run: fn(&Suites, &mut Report) -> Result<()> },
}

/// With one node: its files are looked at, and the tools are those of daily use.
const LISTS: [Suite; 3] = [
    Suite::List { name: "millrace-client", title: "`millrace` as a client", run: own_client::run },
    Suite::List {
        name: "kafka-tools",
        title: "Apache Kafka's command-line tools",
        run: tools::run,
    },
    Suite::List { name: "segment-files", title: "Segment files", run: segment_files::run },
];

/// With several.
const CLUSTER_LISTS: [Suite; 3] = [
    Suite::List { name: "millrace-client", title: "`millrace` as a client", run: own_client::run },
    Suite::List {
        name: "kafka-tools",
        title: "Apache Kafka's command-line tools",
        run: tools::run,
    },
    Suite::List {
        name: "cluster-tools",
        title: "Apache Kafka's tools for clusters",
        run: cluster_tools::run,
    },
];

/// What every suite needs.
pub struct Suites {
    pub brokers: Brokers,
    pub jars: Jars,
    cache: Cache,
}

impl Suite {
    fn name(&self) -> &'static str {
        match self {
            Suite::Client(client) => client.name,
            Suite::List { name, .. } => name,
        }
    }

    fn run(&self, suites: &Suites) -> Report {
        let (mut report, done) = match self {
            Suite::Client(client) => {
                let title = client.full_title().unwrap_or_else(|_| client.title.to_owned());
                let mut report = Report::new(client.name, &title, Kind::Client);
                let done = run_client(client, suites, &mut report);
                (report, done)
            }
            Suite::List { name, title, run } => {
                let mut report = Report::new(name, title, Kind::List);
                let done = run(suites, &mut report);
                (report, done)
            }
        };
        if let Err(error) = done {
            report.note("the suite itself", Err(error));
        }
        report
    }
}

fn run_client(client: &Client, suites: &Suites, report: &mut Report) -> Result<()> {
    let program = client.install(&suites.cache)?;
    let mut node = suites.brokers.fresh()?;
    let fallback = java_program(&suites.jars);
    scenarios::run(&Bench { client, program: &program, fallback: &fallback, node: &node }, report);
    if suites.brokers.nodes > 1 {
        let (program, fallback, node) = (&program, &fallback, &mut node);
        let millrace = &suites.brokers.millrace;
        failover::run(failover::Victim { client, program, fallback, node, millrace }, report);
    }
    node.check_alive()
}

fn chosen(args: &Args) -> Vec<Suite> {
    // The lists first: they are the longest.
    let lists = if args.nodes > 1 { CLUSTER_LISTS } else { LISTS };
    let all = lists.into_iter().chain(CLIENTS.iter().map(Suite::Client));
    all.filter(|suite| {
        args.only.is_empty() || args.only.iter().any(|only| suite.name().contains(only.as_str()))
    })
    .collect()
}

pub fn run(args: &Args) -> Result<bool> {
    let chosen = chosen(args);
    if args.list {
        chosen.iter().for_each(|suite| println!("{}", suite.name()));
        return Ok(true);
    }
    stop_children_when_interrupted()?;
    let cache = Cache::open()?;
    let jars = Jars::install(&cache)?;
    let brokers = Brokers {
        kind: args.broker,
        bootstrap: args.bootstrap.clone(),
        nodes: usize::from(args.nodes),
        keep: args.keep,
        millrace: binary(),
        jars: Some(jars.clone()),
    };
    if args.differential {
        return differential::run(&brokers, &jars, args.seed);
    }
    let suites = Suites { brokers, jars, cache };
    install(&chosen, &suites.cache);
    let reports = run_all(chosen, &suites, args.jobs.max(1));
    matrix::save(args.broker, suites.brokers.nodes, &reports, args.update)?;
    tell(args.broker, suites.brokers.nodes, &reports)
}

/// The binary that `cargo xtask compat` has built, or the release build of this checkout.
fn binary() -> PathBuf {
    std::env::var_os("MILLRACE_BIN")
        .map_or_else(|| matrix::root().join("target/release/millrace"), PathBuf::from)
}

/// One after the other: several share a folder. What cannot be installed is told again where its suite runs.
fn install(chosen: &[Suite], cache: &Cache) {
    for suite in chosen {
        if let Suite::Client(client) = suite
            && let Err(error) = client.install(cache)
        {
            eprintln!("{}: {error:#}", client.name);
        }
    }
}

fn run_all(chosen: Vec<Suite>, suites: &Suites, jobs: usize) -> Vec<Report> {
    let order: Vec<&str> = chosen.iter().map(Suite::name).collect();
    let open = Mutex::new(VecDeque::from_iter(&chosen));
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                let next =
                    || open.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop_front();
                while let Some(suite) = next() {
                    let report = suite.run(suites);
                    done.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(report);
                }
            });
        }
    });
    let mut reports: Vec<Report> =
        done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    reports.sort_by_key(|report| order.iter().position(|name| *name == report.suite));
    reports
}

/// The failures once more, and the count. What Apache Kafka fails too is the client's own and counts for nothing.
fn tell(broker: Broker, nodes: usize, reports: &[Report]) -> Result<bool> {
    let reference = matrix::reference(nodes).context("the results of Apache Kafka")?;
    let (mut passed, mut failed) = (0, 0);
    for report in reports {
        for scenario in &report.scenarios {
            match &scenario.outcome {
                Outcome::Passed => passed += 1,
                Outcome::Absent => {}
                Outcome::Failed(why)
                    if broker != Broker::Kafka
                        && matrix::fails_on_kafka(&reference, report, scenario) =>
                {
                    println!("as on Kafka: {} {}: {why}", report.suite, scenario.name);
                }
                Outcome::Failed(why) => {
                    failed += 1;
                    println!("FAILED: {} {}: {why}", report.suite, scenario.name);
                }
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}
