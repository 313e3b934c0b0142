//! What a shard remembers between administrative requests: its block of producer ids, and topics being created on
//! demand.
//!
//! Lives on: every shard. Producer ids are taken from the metadata log in blocks, so that a new producer costs a
//! commit only once in `PRODUCER_ID_BLOCK` times; what is left of a block is lost with the process (Kafka's
//! `ProducerIdManager`).

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use runtime::sync::Semaphore;

use super::{Change, ChangeError, Shard};
use crate::metadata::MetadataRecord;

/// Ids that a shard takes at a time.
const PRODUCER_ID_BLOCK: i64 = 1000;
/// Topics that one shard creates on demand at a time; others are created when they are asked for again.
const CREATING_MAX: usize = 1000;

/// See the module.
pub struct Admin {
    producer_ids: Cell<(i64, i64)>,
    /// One block is taken at a time.
    refill: Semaphore,
    creating: RefCell<BTreeSet<String>>,
}

impl Default for Admin {
    fn default() -> Admin {
        Admin {
            producer_ids: Cell::new((0, 0)),
            refill: Semaphore::new(1),
            creating: RefCell::default(),
        }
    }
}

impl Admin {
    /// Marks topics as being created; returns those that were not, within the bound.
    pub fn begin_creating<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<String> {
        let mut creating = self.creating.borrow_mut();
        let mut begun = Vec::new();
        for name in names {
            if creating.len() >= CREATING_MAX {
                break;
            }
            if creating.insert(name.to_owned()) {
                begun.push(name.to_owned());
            }
        }
        begun
    }

    /// They are created, or cannot be.
    pub fn end_creating(&self, names: &[String]) {
        let mut creating = self.creating.borrow_mut();
        for name in names {
            creating.remove(name);
        }
    }

    fn take_producer_id(&self) -> Option<i64> {
        let (next, end) = self.producer_ids.get();
        if next >= end {
            return None;
        }
        self.producer_ids.set((next + 1, end));
        Some(next)
    }

    fn set_producer_ids(&self, block: Range<i64>) {
        self.producer_ids.set((block.start, block.end));
    }
}

impl Shard {
    /// A producer id that no producer ever had. Durable in the sense that it is never given again.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn next_producer_id(self: &Rc<Self>) -> Result<i64, ChangeError> {
        loop {
            if let Some(id) = self.admin.take_producer_id() {
                return Ok(id);
            }
            let _turn = self.admin.refill.acquire(1).await;
            if let Some(id) = self.admin.take_producer_id() {
                return Ok(id);
            }
            let block = self.change_metadata(|image| {
                let begin = image.next_producer_id;
                let next = begin + PRODUCER_ID_BLOCK;
                let records = vec![MetadataRecord::ProducerIds { next }];
                Change { records, answer: begin..next }
            });
            let block = block.await?;
            self.admin.set_producer_ids(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_created_once_at_a_time_and_within_the_bound() {
        let admin = Admin::default();
        assert_eq!(admin.begin_creating(["a", "b"].into_iter()), ["a", "b"]);
        assert_eq!(admin.begin_creating(["b", "c"].into_iter()), ["c"]);
        admin.end_creating(&["b".into()]);
        assert_eq!(admin.begin_creating(["a", "b"].into_iter()), ["b"]);
        let many: Vec<String> = (0..2 * CREATING_MAX).map(|i| i.to_string()).collect();
        let begun = admin.begin_creating(many.iter().map(String::as_str));
        assert_eq!(begun.len(), CREATING_MAX - 3);
    }

    #[test]
    fn an_id_is_given_once_and_an_empty_block_gives_none() {
        let admin = Admin::default();
        assert_eq!(admin.take_producer_id(), None);
        admin.set_producer_ids(7..9);
        let ids: Vec<_> = (0..3).map(|_| admin.take_producer_id()).collect();
        assert_eq!(ids, [Some(7), Some(8), None]);
        assert_eq!(admin.take_producer_id(), None);
    }
}
