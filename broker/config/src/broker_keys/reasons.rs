//! Why a key of Kafka has no effect here: one sentence each, read by people in a start-up log.

pub const THREADS: &str = "a Millrace node runs one thread per core (millrace.shards); there is \
                           no such thread pool or queue to size";
pub const REQUEST_BUDGET: &str = "requests in flight are bounded per shard by \
                                  millrace.request.memory.bytes";
pub const PURGATORY: &str = "a waiting request is parked at its partition and leaves nothing to \
                             purge";
pub const TIERED: &str = "tiered storage is not part of this release";
pub const SASL: &str = "SASL is not part of this release; a listener that asks for it is refused";
pub const LOGIN: &str = "no listener of this release asks for a login";
pub const JITTER: &str = "segments are closed one after the other by the one task of their shard, \
                          so there is no rush to spread";
pub const TLS: &str = "TLS is not part of this release; a listener that asks for it is refused";
pub const TOKENS: &str = "delegation tokens are not part of this release";
pub const AUTHORIZER: &str = "this release has no authorizer, and a node that was asked to check \
                              access does not start without checking; remove the key to run \
                              without access control";
pub const TRANSACTIONS: &str = "transactions are not part of this release";
pub const CONSUMER_PROTOCOL: &str = "this release serves the classic group protocol only";
pub const SHARE: &str = "share groups are not part of this release";
pub const STREAMS: &str = "streams groups are not part of this release";
pub const COORDINATOR_LOG: &str = "a coordinator lives on the shard that owns its partition and \
                                   shares that shard's log and commit windows";
pub const FLUSH: &str = "syncing is set by millrace.durability: acknowledged data are synced \
                         before the answer (disk) or milliseconds after it (memory)";
pub const CLEANER: &str = "compaction is paced by its shard, not by buffers and rates";
pub const PREALLOCATE: &str = "segments are written in large pieces from the WAL and need no \
                               preallocation";
pub const ONE_DIRECTORY: &str = "a node keeps its data in one directory";
pub const PACED: &str = "background work is paced by its shard";
pub const METADATA_GROUP: &str = "metadata are kept in Millrace's own Raft group, which does not \
                                  use Kafka's quorum, controller or heartbeat settings";
pub const ONE_NODE: &str = "this release runs single nodes: nothing is replicated or moved \
                            between brokers";
pub const QUOTAS: &str = "quotas are not part of this release";
pub const METRICS: &str = "metrics are offered to Prometheus (millrace.metrics.listen), not to \
                           reporter classes";
pub const TELEMETRY: &str = "client telemetry is not part of this release";
pub const JAVA_CLASS: &str = "Millrace does not load Java classes";
pub const PROVIDERS: &str = "configuration providers are Java classes, which Millrace does not \
                             load";
pub const UNSTABLE: &str = "Millrace offers stable versions only";
