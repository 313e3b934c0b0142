//! Order among requests that wait for room: one shard whose commit loop runs only when a test lets it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use config::NodeConfig;
use protocol::ErrorCode;
use raft_group::{Leadership, LeadershipChange, NoPeers, Term};
use record::{BatchBuilder, ProducerFields};
use runtime::shards::Context;
use storage::wal::Wal;

use super::append::{AppendAnswer, AppendPart, Origin};
use super::{Applier, Message, Shard};
use crate::error_codes::KafkaCode;
use crate::ids::{NodeId, PartitionId, RaftGroupId, TopicId};
use crate::metadata::{MetadataRecord, PartitionRecord, encode_records};
use crate::node::recovery::{read_stream, wal_options};
use crate::node::{Identity, NodeContext};

const TOPIC: TopicId = TopicId([7; 16]);
const MIB: usize = 1 << 20;

/// A shard that leads two partitions, and its commit loop.
struct Bench {
    shard: Rc<Shard>,
    commit: RefCell<Pin<Box<dyn Future<Output = ()>>>>,
}

type Answers = Pin<Box<dyn Future<Output = Vec<AppendAnswer>>>>;

impl Bench {
    async fn begin(context: Context<Message>, dir: &std::path::Path) -> Bench {
        let file = format!("node.id=1\nlog.dirs={}", dir.display());
        let (config, _) = NodeConfig::from_properties(&file).unwrap();
        let node = NodeContext::new(config, 1, |_| ());
        let directory = TopicId([1; 16]);
        let identity = Identity { cluster_id: "c".to_owned(), node_id: 1, directory };
        node.identity.set(identity).unwrap();
        let mut stream = read_stream(dir, 0, &node.config).await.unwrap();
        assert!(stream.reader.next().await.unwrap().is_none());
        let wal = Wal::start(stream.reader, wal_options(&node.config)).await.unwrap();
        let shard = Shard::new(context.id, context.count, node, context.mailbox, wal);
        let of_loop = shard.clone();
        let commit = async move {
            of_loop.raft.run(Applier::new(&of_loop), NoPeers).await.unwrap();
        };
        let bench = Bench { shard, commit: RefCell::new(Box::pin(commit)) };
        bench.create_topic().await;
        bench.run_until(|| bench.leads(0) && bench.leads(1)).await;
        bench
    }

    async fn create_topic(&self) {
        let group = RaftGroupId(1);
        let partition = PartitionRecord { group, epoch_base: 0 };
        let records = [
            MetadataRecord::CreateRaftGroup { group, voters: vec![NodeId(1)] },
            MetadataRecord::CreateTopic {
                topic: TOPIC,
                name: "t".to_owned(),
                partitions: vec![partition; 2],
                configs: vec![("max.message.bytes".to_owned(), (16 * MIB).to_string())],
            },
        ];
        let payload = Bytes::from(encode_records(&records));
        self.shard.metadata_writer().apply(1, 1, &payload);
        self.shard.publish_metadata().await;
    }

    fn leads(&self, index: i32) -> bool {
        let partition = self.shard.partition(PartitionId { topic: TOPIC, index });
        partition.is_some_and(|partition| partition.state.borrow().leads)
    }

    /// Lets the commit loop go on until something is so.
    async fn run_until(&self, is_so: impl Fn() -> bool) {
        while !is_so() {
            poll_fn(|cx| {
                let _ = self.commit.borrow_mut().as_mut().poll(cx);
                Poll::Ready(())
            })
            .await;
            runtime::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Begins to append a batch of this size to each of these partitions.
    async fn append(&self, indexes: &[i32], bytes: usize) -> (Answers, Option<Vec<i64>>) {
        let mut batch = BatchBuilder::new();
        batch.push(1_000, None, Some(&vec![b'v'; bytes]), &[]).unwrap();
        let records = Bytes::copy_from_slice(batch.finish().unwrap());
        let part = |(slot, index): (usize, &i32)| {
            let partition = PartitionId { topic: TOPIC, index: *index };
            AppendPart { slot: slot as u32, partition, records: records.clone(), missing: None }
        };
        let parts = indexes.iter().enumerate().map(part).collect();
        let (shard, origin) = (self.shard.clone(), Origin::Client { api_version: 9, all: true });
        let mut answers: Answers = Box::pin(async move { shard.append(parts, origin, None).await });
        let done = offsets_now(&mut answers).await;
        (answers, done)
    }

    /// Appends one record of producer 7 to partition 0; its place in the log, or the error.
    async fn append_sequence(&self, base_sequence: i32) -> Result<i64, ErrorCode> {
        let fields = ProducerFields { producer_id: 7, producer_epoch: 0, base_sequence };
        let mut batch = BatchBuilder::new().producer(fields);
        batch.push(1_000, None, Some(b"v"), &[]).unwrap();
        let records = Bytes::copy_from_slice(batch.finish().unwrap());
        let partition = PartitionId { topic: TOPIC, index: 0 };
        let part = AppendPart { slot: 0, partition, records, missing: None };
        let origin = Origin::Client { api_version: 9, all: true };
        let (_, answer) = self.shard.append(vec![part], origin, None).await.remove(0);
        answer.map(|appended| appended.base_offset).map_err(|refused| refused.error.code())
    }

    fn log_end(&self, index: i32) -> i64 {
        let partition = self.shard.partition(PartitionId { topic: TOPIC, index }).unwrap();
        partition.state.borrow().log_end_offset()
    }

    /// Lets everything go on until these are answered; their base offsets.
    async fn offsets(&self, answers: &mut Answers) -> Vec<i64> {
        loop {
            if let Some(done) = offsets_now(answers).await {
                return done;
            }
            let once = std::cell::Cell::new(false);
            self.run_until(|| once.replace(true)).await;
        }
    }
}

/// The base offsets if everything has its place.
async fn offsets_now(answers: &mut Answers) -> Option<Vec<i64>> {
    let done = poll_fn(|cx| match answers.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    });
    let done = done.await?;
    Some(done.into_iter().map(|(_, answer)| answer.unwrap().base_offset).collect())
}

/// Runs a test on a shard of its own.
fn on_a_shard<F>(test: fn(Bench) -> F)
where
    F: Future<Output = ()> + 'static,
{
    let dir = tempfile::tempdir().unwrap();
    let (path, done) = (dir.path().to_path_buf(), Arc::new(AtomicBool::new(false)));
    let finished = done.clone();
    let main = move |context: Context<Message>| {
        let (path, finished) = (path.clone(), finished.clone());
        async move {
            test(Bench::begin(context, &path).await).await;
            finished.store(true, Ordering::Release);
        }
    };
    runtime::shards::run(runtime::shards::Options::default(), main).unwrap();
    assert!(done.load(Ordering::Acquire));
}

#[test]
fn a_batch_that_waits_for_room_holds_back_its_own_partition_and_no_other() {
    on_a_shard(|bench| async move {
        let (_, first) = bench.append(&[0], 7 * MIB).await;
        assert_eq!(first, Some(vec![0]));
        let (mut large, now) = bench.append(&[0], 2 * MIB).await;
        assert_eq!(now, None, "the window has no room for it");
        let (mut behind, now) = bench.append(&[0], 10).await;
        assert_eq!(now, None, "it would fit, but it came later");
        let (_, other) = bench.append(&[1], 10).await;
        assert_eq!(other, Some(vec![0]), "nobody waits on this partition");
        assert_eq!(bench.offsets(&mut large).await, [1]);
        assert_eq!(bench.offsets(&mut behind).await, [2]);
    });
}

#[test]
fn requests_that_share_a_partition_keep_their_order_on_each_of_them() {
    on_a_shard(|bench| async move {
        let _large = bench.append(&[0], 7 * MIB).await;
        let (mut first, now) = bench.append(&[0, 1], 2 * MIB).await;
        assert_eq!((now, bench.log_end(1)), (None, 0), "neither part fits");
        let (mut second, now) = bench.append(&[1, 0], 10).await;
        assert_eq!((now, bench.log_end(1)), (None, 0), "the first request is before it on both");
        assert_eq!(bench.offsets(&mut first).await, [1, 0]);
        assert_eq!(bench.offsets(&mut second).await, [1, 2]);
    });
}

#[test]
fn a_request_that_gives_up_waiting_makes_way() {
    on_a_shard(|bench| async move {
        let _large = bench.append(&[0], 7 * MIB).await;
        let (given_up, now) = bench.append(&[0], 2 * MIB).await;
        assert_eq!(now, None);
        let (mut behind, now) = bench.append(&[0], 10).await;
        assert_eq!(now, None);
        drop(given_up);
        assert_eq!(offsets_now(&mut behind).await, Some(vec![1]));
    });
}

#[test]
fn a_batch_that_follows_a_refused_one_is_refused_until_that_one_has_come_again() {
    on_a_shard(|bench| async move {
        bench.shard.disk_full.set(true);
        assert_eq!(bench.append_sequence(0).await, Err(ErrorCode::KafkaStorageError));
        bench.shard.disk_full.set(false);
        // nothing is known of the producer, so it might begin anywhere
        assert_eq!(bench.append_sequence(1).await, Err(ErrorCode::NotLeaderOrFollower));
        assert_eq!(bench.append_sequence(0).await, Ok(0));
        assert_eq!(bench.append_sequence(1).await, Ok(1));
        assert_eq!(bench.append_sequence(3).await, Err(ErrorCode::OutOfOrderSequenceNumber));

        bench.shard.disk_full.set(true);
        assert_eq!(bench.append_sequence(2).await, Err(ErrorCode::KafkaStorageError));
        bench.shard.disk_full.set(false);
        assert_eq!(bench.append_sequence(3).await, Err(ErrorCode::NotLeaderOrFollower));
        assert_eq!(bench.append_sequence(1).await, Ok(1), "it stands there");
        assert_eq!(bench.append_sequence(2).await, Ok(2));
        assert_eq!(bench.append_sequence(3).await, Ok(3));
    });
}

#[test]
fn a_batch_that_follows_one_lost_with_the_lead_waits_for_it() {
    on_a_shard(|bench| async move {
        assert_eq!(bench.append_sequence(0).await, Ok(0));
        let (group, term) = (RaftGroupId(1), Term(1));
        let leadership = Leadership::Following(None);
        let change = LeadershipChange { raft_group: group, leadership, term };
        bench.shard.leadership_changed(change);
        let partition = bench.shard.partition(PartitionId { topic: TOPIC, index: 0 }).unwrap();
        assert!(!partition.state.borrow().leads);
        partition.state.borrow_mut().leads = true;
        assert_eq!(bench.append_sequence(1).await, Err(ErrorCode::NotLeaderOrFollower));
        // the log has it all the same
        bench.run_until(|| bench.log_end(0) == 1).await;
        assert_eq!(bench.append_sequence(1).await, Ok(1));
    });
}
