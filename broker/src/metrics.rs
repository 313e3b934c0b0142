//! Counters and latencies of one shard, readable from the side thread that serves `/metrics`.
//!
//! Lives on: written by the owning shard only (relaxed stores, no contention); read by anybody.
//! Latencies are HDR histograms (1 us to 60 s, two digits) behind a lock that the owner holds for nanoseconds and
//! a reader while it copies; percentiles are never averaged, shards are merged.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use hdrhistogram::Histogram;

/// A number that its shard counts.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; only the owning shard calls it.
    pub fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    /// Sets a gauge; only the owning shard calls it.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A latency distribution in microseconds.
#[derive(Debug)]
pub struct Latency(Mutex<Histogram<u32>>);

impl Default for Latency {
    fn default() -> Latency {
        let bounds = Histogram::new_with_bounds(1, 60_000_000, 2);
        Latency(Mutex::new(bounds.expect("constant bounds are valid")))
    }
}

impl Latency {
    /// Adds one observation.
    pub fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        if let Ok(mut h) = self.0.lock() {
            h.saturating_record(us);
        }
    }

    /// Adds what is known here to `all`.
    pub fn merge_into(&self, all: &mut Histogram<u32>) {
        if let Ok(h) = self.0.lock() {
            let _ = all.add(&*h);
        }
    }
}

macro_rules! shard_metrics {
    (counters: $($(#[$cdoc:meta])* $counter:ident $cname:literal),* ;
     gauges: $($(#[$gdoc:meta])* $gauge:ident $gname:literal),* ;
     latencies: $($(#[$ldoc:meta])* $latency:ident $lname:literal),* $(,)?) => {
        /// Everything one shard counts.
        #[derive(Debug, Default)]
        pub struct ShardMetrics {
            $($(#[$cdoc])* pub $counter: Counter,)*
            $($(#[$gdoc])* pub $gauge: Counter,)*
            $($(#[$ldoc])* pub $latency: Latency,)*
            /// What the shard's server counts; there once it listens.
            pub network: OnceLock<Arc<server::Counters>>,
        }

        impl ShardMetrics {
            /// Counters with their exported names.
            pub fn counters(&self) -> Vec<(&'static str, u64)> {
                let mut all = vec![$(($cname, self.$counter.get())),*];
                all.extend(self.network.get().cloned().unwrap_or_default().counters());
                all
            }

            /// Gauges with their exported names.
            pub fn gauges(&self) -> Vec<(&'static str, u64)> {
                let mut all = vec![$(($gname, self.$gauge.get())),*];
                all.extend(self.network.get().cloned().unwrap_or_default().gauges());
                all
            }

            /// Latencies with their exported names.
            pub fn latencies(&self) -> Vec<(&'static str, &Latency)> {
                vec![$(($lname, &self.$latency)),*]
            }
        }
    };
}

shard_metrics! {
    counters:
        /// Requests answered.
        requests "requests",
        /// Produce requests.
        produce_requests "produce_requests",
        /// Bytes of record batches appended.
        produce_bytes "produce_bytes",
        /// Record batches appended.
        produce_batches "produce_batches",
        /// Partitions of produce requests that were refused.
        produce_refused "produce_refused",
        /// Batches recognised as repeated.
        produce_duplicates "produce_duplicates",
        /// Fetch requests.
        fetch_requests "fetch_requests",
        /// Bytes of records handed out.
        fetch_bytes "fetch_bytes",
        /// Partition reads served from the tail cache.
        tail_cache_hits "tail_cache_hits",
        /// Partition reads served from segments.
        segment_reads "segment_reads",
        /// Entries committed.
        entries_committed "entries_committed",
        /// Bytes moved from the WAL to segments.
        destaged_bytes "destaged_bytes",
        /// Checkpoints written.
        checkpoints "checkpoints",
        /// Segments removed by retention.
        segments_deleted "segments_deleted",
        /// Bytes that compaction freed.
        compacted_bytes "compacted_bytes" ;
    gauges:
        /// Partitions owned.
        partitions "partitions",
        /// Bytes held by tail caches.
        tail_cache_bytes "tail_cache_bytes",
        /// Bytes not yet in segments.
        undestaged_bytes "undestaged_bytes",
        /// Fetch sessions open.
        fetch_sessions "fetch_sessions",
        /// Consumer groups known.
        consumer_groups "consumer_groups",
        /// Bytes free on the data directory's file system.
        disk_available_bytes "disk_available_bytes",
        /// 1 while produce is refused because the disk is nearly full.
        disk_full "disk_full" ;
    latencies:
        /// From a produce request parsed to its answer ready.
        produce_latency "produce_latency",
        /// From a fetch request parsed to its answer ready, long polls included.
        fetch_latency "fetch_latency",
}

/// The metrics of all shards of a node.
#[derive(Clone, Debug, Default)]
pub struct NodeMetrics {
    /// In shard order.
    pub shards: Arc<Vec<Arc<ShardMetrics>>>,
}

impl NodeMetrics {
    /// Metrics for `count` shards.
    pub fn new(count: usize) -> NodeMetrics {
        let shards = (0..count).map(|_| Arc::new(ShardMetrics::default())).collect();
        NodeMetrics { shards: Arc::new(shards) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_merge_into_one_distribution() {
        let metrics = NodeMetrics::new(2);
        metrics.shards[0].produce_latency.record(Duration::from_micros(100));
        metrics.shards[1].produce_latency.record(Duration::from_micros(300));
        metrics.shards[1].produce_latency.record(Duration::ZERO);
        let mut all = Histogram::<u32>::new_with_bounds(1, 60_000_000, 2).unwrap();
        for shard in metrics.shards.iter() {
            shard.produce_latency.merge_into(&mut all);
        }
        assert_eq!(all.len(), 3);
        assert!(all.max() >= 300);
    }

    #[test]
    fn every_metric_has_a_name_of_its_own() {
        let m = ShardMetrics::default();
        m.requests.add(2);
        let mut names: Vec<_> = m.counters().iter().chain(&m.gauges()).map(|c| c.0).collect();
        names.extend(m.latencies().iter().map(|l| l.0));
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        assert_eq!(m.counters()[0], ("requests", 2));
    }
}
