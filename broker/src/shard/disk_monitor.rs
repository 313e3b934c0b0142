//! Watches the free space of the data directory: below the reserve, or once a write has found no space, produce is
//! refused with a retriable error; everything else goes on, and produce heals when space returns.
//!
//! Lives on: shard 0, which tells the others. A shard whose write failed for want of space tells shard 0 at once
//! ([`Shard::found_disk_full`]): another program may take the whole reserve between two looks.
//! Source: nothing in Kafka does this; a Kafka broker ends when its disk is
//! full. The reserve keeps room for the WAL's next files, checkpoints and the destage of what was acknowledged.

use std::rc::Rc;
use std::time::Duration;

use config::NodeConfig;
use runtime::task::{self, Class};
use runtime::{fs, time};

use super::{METADATA_SHARD, Shard};

/// How often the free space is read.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Space must exceed the reserve by this share of it before produce is accepted again.
const HEAL_SHARE: u64 = 8;
/// The least reserve, whatever is configured: with less, the next checkpoint may not be written.
const RESERVE_BYTES_MIN: u64 = 1 << 20;

/// The reserve of a node that is not told another one, at least.
const RESERVE_BYTES: u64 = 256 << 20;

/// Free space that is kept for what goes on when the disk is full: each shard may need another file of its WAL.
fn reserve(config: &NodeConfig, shards: usize) -> u64 {
    let needed = config.wal_file_bytes.saturating_mul(shards as u64);
    config.disk_reserve_bytes.unwrap_or(needed.max(RESERVE_BYTES))
}

/// Whether the disk counts as full: it becomes so below `reserve` and stays so until clearly above.
pub fn is_full(was_full: bool, available: u64, reserve: u64) -> bool {
    let reserve = reserve.max(RESERVE_BYTES_MIN);
    let threshold = if was_full { reserve + reserve / HEAL_SHARE } else { reserve };
    available < threshold
}

/// Starts the watch; once per node.
pub fn start(shard: &Rc<Shard>) {
    let shard = Rc::downgrade(shard);
    let watch = async move {
        loop {
            let Some(strong) = shard.upgrade() else { return };
            look(&strong).await;
            drop(strong);
            time::sleep(LOOK_EVERY).await;
        }
    };
    task::spawn(Class::Background, watch).detach();
}

async fn look(shard: &Rc<Shard>) {
    let config = &shard.node.config;
    let space = match fs::disk_space(&config.data_dir).await {
        Ok(space) => space,
        Err(error) => {
            return tracing::warn!(%error, "the free space of the data directory is unknown");
        }
    };
    shard.metrics.disk_available_bytes.set(space.available);
    let was_full = shard.disk_full.get();
    let refused = shard.space_refused.take();
    let reserve = reserve(config, shard.count);
    let full = refused || is_full(was_full, space.available, reserve);
    if full == was_full {
        return;
    }
    if full {
        tracing::error!(
            "{} has {} bytes free, less than the reserve of {} (millrace.disk.reserve.bytes): produce is refused until \
             space returns",
            config.data_dir.display(),
            space.available,
            reserve
        );
    } else {
        tracing::warn!("{} has space again: produce is accepted", config.data_dir.display());
    }
    tell_all(shard, full);
}

fn tell_all(shard: &Rc<Shard>, full: bool) {
    for to in shard.shards() {
        shard.tell(to, move |there| {
            there.disk_full.set(full);
            there.metrics.disk_full.set(full as u64);
            if full {
                there.destage_is_stuck();
            }
        });
    }
}

impl Shard {
    /// A write found no space: produce is refused from now on and not only after the next look. It stays so until a
    /// look finds space and no write was refused since the one before.
    pub(super) fn found_disk_full(self: &Rc<Self>) {
        self.tell(METADATA_SHARD, |there| {
            there.space_refused.set(true);
            if !there.disk_full.get() {
                tracing::error!(
                    "a write into {} found no space: produce is refused until there is some",
                    there.node.config.data_dir.display()
                );
                tell_all(there, true);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_heals_only_clearly_above_the_reserve() {
        let mib = |n: u64| n << 20;
        assert!(!is_full(false, mib(800), mib(800)));
        assert!(is_full(false, mib(799), mib(800)));
        assert!(is_full(true, mib(899), mib(800)));
        assert!(!is_full(true, mib(900), mib(800)));
    }

    #[test]
    fn the_reserve_has_room_for_a_file_of_each_wal_unless_another_one_is_asked_for() {
        let of = |more: &str, shards| {
            let text = format!("node.id=1\nlog.dirs=/x\n{more}");
            reserve(&NodeConfig::from_properties(&text).unwrap().0, shards)
        };
        assert_eq!(of("", 1), 256 << 20);
        assert_eq!(of("", 16), 2 << 30);
        assert_eq!(of("millrace.disk.reserve.bytes=0", 16), 0);
        assert_eq!(of("millrace.disk.reserve.bytes=7", 16), 7);
    }

    #[test]
    fn without_a_reserve_a_disk_is_still_full_when_nothing_is_left() {
        assert!(is_full(false, 0, 0));
        assert!(!is_full(false, RESERVE_BYTES_MIN, 0));
    }
}
