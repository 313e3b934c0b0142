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
pub const METADATA_GROUP: &str = "metadata are kept in Millrace's own Raft group, whose files, \
                                  snapshots and timing are its own";
pub const OPEN_WHEN_READY: &str = "every listener opens when the node is ready, and no authorizer \
                                   has to be reached before";
pub const JOINING: &str = "a node waits for its cluster as long as it takes, and says what for";
pub const LINKS: &str = "nodes talk over Millrace's own links, whose deadlines and buffers are \
                         their own";
pub const MEETING: &str = "nodes meet at the controller listener, or where millrace.peer.listener \
                           says";
pub const PEERS_IN_THE_CLEAR: &str = "nodes talk to each other in the clear in this release, and \
                                      one that was asked to protect that does not start without";
pub const SENT_AT_ONCE: &str = "a leader sends its replicas what they lack as soon as it is \
                                there; they do not fetch";
pub const COMMIT_INDEX: &str = "how far a partition is committed stands in the WAL and its \
                                checkpoints";
pub const HANDED_OVER: &str = "a node that is stopped always hands over first what it leads";
pub const GIVEN_BACK: &str = "a preferred leader gets its partitions back some seconds after it \
                              is in sync again, without a periodic look";
pub const BY_MAJORITY: &str = "a majority elects leaders, and only replicas that have everything \
                               committed can win";
pub const NO_WINDOWS: &str =
    "what is copied too fast is made up for at once, not in windows of time";
pub const PER_LISTENER: &str = "such settings hold for all listeners of a node; set the key \
                                without its prefix";
pub const OFFSETS_AS_COMMITTED: &str = "committed offsets are stored in small batches, which are \
                                        not compressed";
pub const QUOTAS: &str = "quotas are not part of this release";
pub const METRICS: &str = "metrics are offered to Prometheus (millrace.metrics.listen), not to \
                           reporter classes";
pub const TELEMETRY: &str = "client telemetry is not part of this release";
pub const JAVA_CLASS: &str = "Millrace does not load Java classes";
pub const PROVIDERS: &str = "configuration providers are Java classes, which Millrace does not \
                             load";
pub const UNSTABLE: &str = "Millrace offers stable versions only";
