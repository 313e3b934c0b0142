//! One run: topics, clients and faults, then healing, then the judgement.

use crate::consumer::{Consumer, consume};
use crate::faults::{self, start};
use crate::group;
use crate::plan::{Client, Plan};
use crate::producer::produce;
use crate::shared::Run;
use crate::topics::{self, create_topic};
use checker::{Anomaly, Assignment};
use runtime::sim::{DiskFaults, World};
use runtime::task::{Class, spawn};
use runtime::time::{sleep, timeout};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// After healing, everything must be done in so much virtual time.
const HEALED: Duration = Duration::from_secs(300);

/// Files of what was deleted must be gone then.
const LEFT_OVERS_GONE: Duration = Duration::from_secs(20);

/// What a run showed.
#[derive(Debug)]
pub struct Verdict {
    pub trace_hash: u64,
    pub virtual_time: Duration,
    pub crashes: u64,
    pub acknowledged: u64,
    pub marks: BTreeMap<&'static str, u64>,
    /// Nothing if all is well.
    pub failure: Option<String>,
}

/// Runs a seed.
pub fn run(seed: u64) -> Verdict {
    let world = World::with_seed(seed);
    let plan = Plan::draw(&world);
    let disk = DiskFaults { ordered_metadata: !plan.strict_names, ..DiskFaults::default() };
    let node = world.add_node("node", disk);
    let run = Run::new(world.clone(), node, plan);
    let finished = world.run(live(run.clone()));
    let history = run.history.take().finish();
    faults::check_last_life(&run);
    let mut report = checker::check(&history);
    report.anomalies.retain(|anomaly| match anomaly {
        // A run is short: it may try something once, lose the connection and never come to try it again. That clients
        // get anywhere at all is said by the sum of many seeds, which counts what was acknowledged.
        Anomaly::NeverOk { .. } => false,
        // Retention that no checkpoint knew of is undone by a crash, as in Kafka; the records are there again.
        Anomaly::OffsetRegression { partition, which: "log start", .. } => {
            run.plan.retention.is_none() || !history.partition_name(*partition).starts_with("t0-")
        }
        _ => true,
    });
    let mut failures = run.violations.take();
    failures.extend(finished.err());
    if !report.is_valid() {
        failures.push(report.describe(&history, 5));
    }
    Verdict {
        trace_hash: world.trace_hash(),
        virtual_time: world.now() - runtime::time::Instant::from_nanos(0),
        crashes: run.crashes.get(),
        acknowledged: run.acknowledged.get(),
        marks: run.marks.take(),
        failure: (!failures.is_empty()).then(|| format!("{}\n{:?}", failures.join("\n"), run.plan)),
    }
}

async fn live(run: Rc<Run>) -> Result<(), String> {
    start(&run);
    for (t, partitions) in run.plan.topics.iter().enumerate() {
        create_topic(&run, &format!("t{t}"), *partitions, run.plan.topic_configs(t)).await?;
    }
    let mut producers = Vec::new();
    for _ in 0..run.plan.producers {
        producers.push(spawn(Class::Latency, produce(run.clone())));
    }
    let mut readers = Vec::new();
    for _ in 0..run.plan.consumers {
        readers.push(spawn(Class::Latency, consume(run.clone())));
    }
    for _ in 0..run.plan.members {
        readers.push(spawn(Class::Latency, group::member(run.clone())));
    }
    readers.extend(topics::clients(&run));
    if run.with(Client::Loner) {
        readers.push(spawn(Class::Latency, group::loner(run.clone())));
    }
    faults::break_things(&run).await;
    sleep(Duration::from_millis(run.below(3_000))).await;
    faults::heal(&run).await;
    run.quiet.set(true);
    let ended = async {
        for client in producers.into_iter().chain(readers) {
            client.await;
        }
    };
    let stuck = |what: &str| format!("{what} in {HEALED:?} after healing");
    timeout(HEALED, ended).await.map_err(|_| stuck("clients did not come to an end"))?;
    timeout(HEALED, judge(run)).await.map_err(|_| stuck("the last read did not end"))?
}

async fn judge(run: Rc<Run>) -> Result<(), String> {
    let next = run.partitions().into_iter().map(|at| (at, 0)).collect();
    let mut consumer = Consumer::new(run.clone(), next, Assignment::Assigned).await;
    if !consumer.read_to_the_end().await {
        return Err("the last read never came to the end".to_owned());
    }
    run.history.borrow_mut().read_to_the_end_by(consumer.process);
    if run.plan.members > 0 {
        group::fetch_committed(&run).await;
    }
    topics::judge_topics(&run).await;
    sleep(LEFT_OVERS_GONE).await;
    for left_over in ["removed-", "-delete/"] {
        let found = run.node.with_disk(|disk| disk.files(left_over));
        if let Some(path) = found.first() {
            run.violation(format!("{} was deleted and is still there", path.display()));
        }
    }
    Ok(())
}
