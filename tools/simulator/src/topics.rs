//! Clients that change topics: make and delete them, delete records, give them partitions and configs.
//!
//! Every change is repeated until the node has answered it, so that what must be there afterwards is known.

use crate::plan::Client;
use crate::producer::{build, send_once};
use crate::shared::{RETRY_PAUSE, Run, text, topic_name};
use crate::wire::{Connection, Lost};
use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    MetadataRequest,
};
use protocol::{ApiRequest, ErrorCode, StrBytes};
use record::ProducerFields;
use runtime::time::sleep;
use std::rc::Rc;
use std::time::Duration;

/// Partitions that a topic grows to.
const PARTITIONS_MAX: i32 = 8;
/// A config that a run without large batches does not feel.
const CONFIG: &str = "max.message.bytes";
/// Kafka's number for topics.
const TOPIC: i8 = 2;

/// Makes a topic; repeated until it is there.
pub async fn create_topic(
    run: &Run,
    name: &str,
    partitions: i32,
    configs: Vec<(&'static str, String)>,
) -> Result<(), String> {
    let configs = configs.into_iter().map(|(key, value)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str(key))
            .with_value(Some(StrBytes::from_string(value)))
    });
    let topic = CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.collect());
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

/// Makes topics, writes to them and deletes some.
pub async fn churn(run: Rc<Run>) {
    let mut nth = 0u64;
    while !run.quiet.get() && nth < 20 {
        // A name comes again now and then: its new directory must not be taken for the old one.
        let name = format!("churn{}", run.below(nth + 1));
        nth += 1;
        let configs = run.plan.topic_configs(run.plan.topics.len());
        if let Err(refused) = create_topic(&run, &name, 1 + run.below(3) as i32, configs).await {
            return run.violation(refused);
        }
        let mut connection = run.connect().await;
        let records = build(&[run.value()], ProducerFields::default(), run.plan.value_bytes);
        let _ = send_once(&mut connection, &(name.clone(), 0), records).await;
        if run.below(3) > 0 {
            delete(&run, &name).await;
        }
        sleep(Duration::from_millis(run.below(500))).await;
    }
}

pub async fn delete(run: &Run, name: &str) {
    run.expected.borrow_mut().remove(name);
    let topic = DeleteTopicState::default().with_name(Some(topic_name(name)));
    let request = DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    let mut connection = run.connect().await;
    loop {
        match connection.call(&request).await {
            Err(Lost) => connection = run.connect().await,
            Ok(answer) => match ErrorCode::from_code(answer.responses[0].error_code) {
                Some(ErrorCode::None | ErrorCode::UnknownTopicOrPartition) => break,
                _ => sleep(RETRY_PAUSE).await,
            },
        }
    }
    run.mark("a topic was deleted");
    run.expected.borrow_mut().insert(name.to_owned(), false);
}

/// Deletes records from the start of partitions on.
pub async fn delete_records(run: Rc<Run>) {
    let mut connection = run.connect().await;
    while !run.quiet.get() {
        sleep(Duration::from_millis(run.below(1_500))).await;
        let ends: Vec<_> = run.ends.borrow().clone().into_iter().collect();
        if ends.is_empty() {
            continue;
        }
        let (at, end) = ends[run.below(ends.len() as u64) as usize].clone();
        // All of it, or up to somewhere that is known to be committed.
        let before = if run.below(5) == 0 { -1 } else { run.below(end.max(0) as u64 + 1) as i64 };
        let asked = if before < 0 { i64::MAX } else { before };
        let most = run.deletions.borrow().get(&at).map_or(0, |deletion| deletion.asked);
        run.deletions.borrow_mut().entry(at.clone()).or_default().asked = most.max(asked);
        let part = DeleteRecordsPartition::default().with_partition_index(at.1).with_offset(before);
        let topic =
            DeleteRecordsTopic::default().with_name(topic_name(&at.0)).with_partitions(vec![part]);
        let request =
            DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        let code = |answer: &protocol::messages::DeleteRecordsResponse| {
            answer.topics[0].partitions[0].error_code
        };
        let answer = match until(&run, &mut connection, &request, code).await {
            Ok(answer) => answer,
            // The log start went past it meanwhile, or all behind it: then it is not what was asked for.
            Err(Some(ErrorCode::OffsetOutOfRange)) if run.is_retained(&at) => continue,
            Err(error) => {
                return run.violation(format!("DeleteRecords {at:?} to {before}: {error:?}"));
            }
        };
        let start = answer.topics[0].partitions[0].low_watermark;
        if start < before || (start > asked.max(most) && !run.is_retained(&at)) {
            run.violation(format!("DeleteRecords {at:?} to {before} left {start}"));
        }
        run.mark("records were deleted");
        let mut deletions = run.deletions.borrow_mut();
        let deletion = deletions.entry(at).or_default();
        deletion.done = deletion.done.max(start);
    }
}

/// Sets a config and reads it back.
pub async fn configure(run: Rc<Run>) {
    let mut connection = run.connect().await;
    // Values that may be set once more at any time.
    let mut late = Vec::new();
    while !run.quiet.get() {
        let value = 2_000_000 + run.below(1_000_000) as i64;
        let config = AlterableConfig::default()
            .with_name(text(CONFIG))
            .with_config_operation(0)
            .with_value(Some(text(&value.to_string())));
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text("t0"))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let code = |answer: &IncrementalAlterConfigsResponse| answer.responses[0].error_code;
        let mut given_up = false;
        let done = until_answered(&run, &mut connection, &request, code, &mut given_up);
        if let Err(error) = done.await {
            return run.violation(format!("a config was refused: {error:?}"));
        }
        let value = value.to_string();
        if given_up {
            late.push(value.clone());
        }
        run.mark("a config was changed");
        sleep(Duration::from_millis(run.below(1_500))).await;
        let told = config_of(&run, &mut connection).await;
        if !told.as_ref().is_some_and(|told| *told == value || late.contains(told)) {
            return run.violation(format!("{CONFIG} was set to {value} and is {told:?}"));
        }
    }
}

async fn config_of(run: &Run, connection: &mut Connection) -> Option<String> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text("t0"))
        .with_configuration_keys(Some(vec![text(CONFIG)]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let answer = until(run, connection, &request, |answer| answer.results[0].error_code).await;
    let answer = answer.ok()?;
    let config = answer.results[0].configs.first()?;
    Some(config.value.as_ref()?.to_string())
}

/// Gives topics partitions, one after the other.
pub async fn grow(run: Rc<Run>) {
    let mut connection = run.connect().await;
    for _ in 0..PARTITIONS_MAX {
        sleep(Duration::from_millis(run.below(4_000))).await;
        let nth = run.below(run.topics.borrow().len() as u64) as usize;
        let count = run.topics.borrow()[nth] + 1;
        if run.quiet.get() || count > PARTITIONS_MAX {
            return;
        }
        let topic = CreatePartitionsTopic::default()
            .with_name(topic_name(&format!("t{nth}")))
            .with_count(count)
            .with_assignments(None);
        let request =
            CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        let done = until(&run, &mut connection, &request, |answer| answer.results[0].error_code);
        match done.await {
            // An earlier attempt had done it.
            Ok(_) | Err(Some(ErrorCode::InvalidPartitions)) => {}
            Err(error) => return run.violation(format!("a partition was refused: {error:?}")),
        }
        run.mark("a topic got a partition");
        run.topics.borrow_mut()[nth] = count;
    }
}

/// Repeats a request until it is done, or refused for good.
async fn until<T: ApiRequest>(
    run: &Run,
    connection: &mut Connection,
    request: &T,
    code: impl Fn(&T::Response) -> i16,
) -> Result<T::Response, Option<ErrorCode>> {
    until_answered(run, connection, request, code, &mut false).await
}

/// Also tells whether an attempt was given up without an answer: what was sent may still arrive, when the network heals.
async fn until_answered<T: ApiRequest>(
    run: &Run,
    connection: &mut Connection,
    request: &T,
    code: impl Fn(&T::Response) -> i16,
    given_up: &mut bool,
) -> Result<T::Response, Option<ErrorCode>> {
    loop {
        match connection.call(request).await {
            Err(Lost) => {
                *given_up = true;
                *connection = run.connect().await;
            }
            Ok(answer) => match ErrorCode::from_code(code(&answer)) {
                Some(ErrorCode::None) => return Ok(answer),
                Some(error) if error.is_retriable() => sleep(RETRY_PAUSE).await,
                error => return Err(error),
            },
        }
    }
}

/// Starts the clients of this file that the plan has.
pub fn clients(run: &Rc<Run>) -> Vec<runtime::task::Task<()>> {
    use runtime::task::{Class, spawn};
    let mut tasks = Vec::new();
    if run.with(Client::Churn) {
        tasks.push(spawn(Class::Latency, churn(run.clone())));
    }
    if run.with(Client::Deleter) {
        tasks.push(spawn(Class::Latency, delete_records(run.clone())));
    }
    if run.with(Client::Configurer) {
        tasks.push(spawn(Class::Latency, configure(run.clone())));
    }
    if run.with(Client::Grower) {
        tasks.push(spawn(Class::Latency, grow(run.clone())));
    }
    tasks
}

/// Looks whether the topics are those that must be there, with all their partitions.
pub async fn judge_topics(run: &Run) {
    let mut connection = run.connect().await;
    let request = MetadataRequest::default().with_topics(None);
    let answer = loop {
        match connection.call(&request).await {
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
        // What is renamed goes later; see [`crate::scenario`].
        let files = run.node.with_disk(|disk| disk.files(&format!("/data/{topic}-")));
        let served = files.iter().find(|path| !path.to_string_lossy().contains("-delete/"));
        if let Some(path) = served.filter(|_| !there) {
            run.violation(format!("{} of a deleted topic is there", path.display()));
        }
    }
    for (nth, least) in run.topics.borrow().iter().enumerate() {
        let name = topic_name(&format!("t{nth}"));
        let found = answer.topics.iter().find(|has| has.name.as_ref() == Some(&name));
        let found = found.map_or(0, |topic| topic.partitions.len() as i32);
        if found < *least {
            run.violation(format!("topic t{nth} has {found} partitions instead of {least}"));
        }
    }
}
