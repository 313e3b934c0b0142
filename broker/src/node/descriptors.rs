//! How the descriptors that the process may have are shared out between segment files and connections.
//!
//! Decided once, before the shards start. Without it a node whose limit is low would take connections until nothing is left
//! for a WAL file or a segment; with it the connections that are too many are refused, and the log says what to raise.

/// Segment files that one shard keeps open where the limit allows it.
const SEGMENT_FILES_MAX: usize = 1024;
/// Rings, WAL files, listeners, links to other nodes and files of checkpoints.
const OTHERS_PER_SHARD: usize = 64;

/// The share of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// Segment files that a shard may keep open.
    pub segment_files_per_shard: usize,
    /// Connections of clients to the whole node.
    pub connections: usize,
}

impl Default for Descriptors {
    fn default() -> Descriptors {
        Descriptors { segment_files_per_shard: SEGMENT_FILES_MAX, connections: usize::MAX }
    }
}

impl Descriptors {
    /// Shares out `limit` descriptors among `shards` shards.
    pub fn share(limit: usize, shards: usize) -> Descriptors {
        let shards = shards.max(1);
        let files = SEGMENT_FILES_MAX.min(limit / 2 / shards).max(1);
        let taken = shards.saturating_mul(files + OTHERS_PER_SHARD);
        Descriptors { segment_files_per_shard: files, connections: limit.saturating_sub(taken) }
    }

    /// What to say if there are fewer than `wanted` connections.
    pub fn shortage(&self, limit: usize, wanted: usize) -> Option<String> {
        let Descriptors { connections, .. } = *self;
        (connections < wanted).then(|| {
            format!(
                "the limit of {limit} open files leaves room for {connections} of max.connections={wanted} \
                 connections; set `LimitNOFILE={}` or more in the systemd unit or run `ulimit -n`, or lower \
                 max.connections",
                wanted.saturating_add(limit - connections).next_power_of_two()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_limit_leaves_room_for_everything() {
        let shared = Descriptors::share(1 << 20, 8);
        assert_eq!(shared.segment_files_per_shard, SEGMENT_FILES_MAX);
        assert_eq!(shared.shortage(1 << 20, 10_000), None);
        assert_eq!(Descriptors::share(20_000, 2).shortage(20_000, 10_000), None);
    }

    #[test]
    fn a_low_limit_is_never_exceeded_by_all_together_and_the_remedy_suffices() {
        for limit in [1024, 1100, 4096, 10_000] {
            for shards in [1, 2, 4] {
                let shared = Descriptors::share(limit, shards);
                let files = shards * (shared.segment_files_per_shard + OTHERS_PER_SHARD);
                assert_eq!(files + shared.connections, limit);
                assert!(shared.connections >= 128, "{limit} {shards}");
                let said = shared.shortage(limit, 10_000).expect("too few for the default");
                let remedy = said.split_once("LimitNOFILE=").expect("a remedy").1;
                let remedy: usize = remedy.split('`').next().unwrap().parse().unwrap();
                assert_eq!(Descriptors::share(remedy, shards).shortage(remedy, 10_000), None);
            }
        }
    }
}
