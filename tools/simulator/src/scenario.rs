//! One run: topics, clients and faults, then healing, then the judgement.

use crate::consumer::{Consumer, consume};
use crate::faults::{self, start};
use crate::group;
use crate::plan::Plan;
use crate::producer::produce;
use crate::shared::{RETRY_PAUSE, Run, topic_name};
use crate::wire::Lost;
use checker::{AnomalyKind, Assignment};
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::{CreateTopicsRequest, MetadataRequest};
use protocol::{ErrorCode, StrBytes};
use runtime::sim::{DiskFaults, World};
use runtime::task::{Class, spawn};
use runtime::time::{sleep, timeout};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// After healing, everything must be done in so much virtual time.
const HEALED: Duration = Duration::from_secs(300);

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
    let disk = DiskFaults { ordered_metadata: true, ..DiskFaults::default() };
    let node = world.add_node("node", disk);
    let plan = Plan::draw(&world);
    let run = Run::new(world.clone(), node, plan);
    let finished = world.run(live(run.clone()));
    let history = run.history.take().finish();
    faults::check_last_life(&run);
    let mut report = checker::check(&history);
    // A short run may well try something once and in vain.
    report.anomalies.retain(|anomaly| anomaly.kind() != AnomalyKind::NeverOk);
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
        create_topic(&run, &format!("t{t}"), *partitions).await?;
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
    if run.plan.churn {
        readers.push(spawn(Class::Latency, group::churn(run.clone())));
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
    run.history.borrow_mut().read_to_the_end();
    if run.plan.members > 0 {
        group::fetch_committed(&run).await;
    }
    let mut connection = run.connect().await;
    let answer = loop {
        match connection.call(&MetadataRequest::default().with_topics(None)).await {
            Ok(answer) => break answer,
            Err(Lost) => connection = run.connect().await,
        }
    };
    for (topic, there) in run.expected.borrow().iter() {
        let name = topic_name(topic);
        if answer.topics.iter().any(|has| has.name.as_ref() == Some(&name)) != *there {
            let what = if *there { "was created and is gone" } else { "was deleted and is there" };
            run.violation(format!("topic {topic} {what}"));
        }
    }
    Ok(())
}

pub async fn create_topic(run: &Run, name: &str, partitions: i32) -> Result<(), String> {
    let config = CreatableTopicConfig::default()
        .with_name(StrBytes::from_static_str("internal.segment.bytes"))
        .with_value(Some(StrBytes::from_string(run.plan.segment_bytes.to_string())));
    let topic = CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(vec![config]);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    let mut connection = run.connect().await;
    loop {
        match connection.call(&request).await {
            Err(Lost) => connection = run.connect().await,
            Ok(answer) => {
                let error = ErrorCode::from_code(answer.topics[0].error_code);
                match error {
                    Some(ErrorCode::None | ErrorCode::TopicAlreadyExists) => break,
                    Some(error) if error.is_retriable() => sleep(RETRY_PAUSE).await,
                    _ => return Err(format!("topic {name} was not created: {error:?}")),
                }
            }
        }
    }
    run.expected.borrow_mut().insert(name.to_owned(), true);
    Ok(())
}
