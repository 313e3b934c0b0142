//! The coordinators of one shard: they follow the metadata image, and are found by group id from any shard.
//!
//! Lives on: every shard, in [`Shard::groups`]. One task per shard keeps the deadlines of all its coordinators; it
//! sleeps until the earliest, so a group without members costs no timer.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::NodeConfig;
use coordinator::{Event, GroupError, Request, Response, Settings};
use runtime::shards::ShardId;
use runtime::sync::Notify;
use runtime::task::{self, Class};

use super::offsets_topic::{OFFSETS_TOPIC, coordinator_of};
use super::seat::{Seat, clock};
use crate::ids::NodeId;
use crate::metadata::Image;
use crate::shard::Shard;

/// The coordinators of a shard.
#[derive(Default)]
pub struct Groups {
    seats: RefCell<BTreeMap<i32, Rc<Seat>>>,
    /// The moment until which the timer task sleeps; `i64::MAX` while it has none.
    sleeps_until: Cell<i64>,
    earlier: Notify,
    timer: OnceCell<()>,
}

/// The coordinator's settings from the node's.
pub(super) fn settings(config: &NodeConfig) -> Arc<Settings> {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    Arc::new(Settings {
        initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms,
        group_size_max: config.group_size_max,
        session_timeout_ms_min: config.group_min_session_timeout_ms,
        session_timeout_ms_max: config.group_max_session_timeout_ms,
        offset_metadata_max: config.offset_metadata_bytes_max,
        offsets_retention_ms: ms(config.offsets_retention),
        offsets_retention_check_interval_ms: ms(config.offsets_retention_check_interval),
        ..Settings::default()
    })
}

impl Groups {
    fn seat(&self, index: i32) -> Option<Rc<Seat>> {
        self.seats.borrow().get(&index).cloned()
    }

    fn all(&self) -> Vec<Rc<Seat>> {
        self.seats.borrow().values().cloned().collect()
    }

    /// A coordinator's next deadline is this; wakes the timer if it would sleep longer.
    pub(super) fn deadline_is(&self, deadline: Option<i64>) {
        if deadline.is_some_and(|at| at < self.sleeps_until.get()) {
            self.earlier.notify_one();
        }
    }

    fn next_deadline(&self) -> Option<i64> {
        self.seats.borrow().values().filter_map(|seat| seat.next_deadline()).min()
    }

    /// Groups known to the coordinators of this shard.
    pub fn count(&self) -> usize {
        self.seats.borrow().values().map(|seat| seat.groups()).sum()
    }
}

impl Shard {
    /// Coordinators appear with the partitions of `__consumer_offsets` that this shard owns, and go with them.
    /// Offsets of topics that were deleted go too.
    pub(crate) fn groups_follow(self: &Rc<Self>, before: &Image, image: &Image) {
        let topic = image.topic(OFFSETS_TOPIC);
        let owned: BTreeMap<i32, _> = topic
            .into_iter()
            .flat_map(|topic| (0..topic.partitions.len() as i32).map(move |index| (topic, index)))
            .filter_map(|(topic, index)| Some((index, image.placement(topic, index)?)))
            .filter(|(_, placement)| placement.shard == self.id)
            .filter(|(_, placement)| self.leads_as_told(image, placement.group))
            .filter(|(_, placement)| !image.is_sealed(placement.id))
            .map(|(index, placement)| (index, (placement.id, placement.leader_epoch)))
            .collect();
        self.groups.seats.borrow_mut().retain(|index, seat| {
            let stays = owned.get(index) == Some(&(seat.partition, seat.leader_epoch));
            if !stays {
                seat.close();
            }
            stays
        });
        for (index, (partition, leader_epoch)) in owned {
            if self.groups.seat(index).is_none() {
                let seat = Seat::new(partition, leader_epoch);
                self.groups.seats.borrow_mut().insert(index, seat.clone());
                task::spawn(Class::Latency, seat.load(self.clone())).detach();
                self.start_group_timer();
            }
        }
        let is_gone = |id| image.topic_by_id(id).is_none();
        let deleted: Vec<Arc<str>> =
            before.topics().filter(|t| is_gone(t.id)).map(|t| t.name.clone()).collect();
        if !deleted.is_empty() {
            for seat in self.groups.all() {
                seat.handle(self, Event::TopicsDeleted(deleted.clone()));
            }
        }
    }

    /// Asks the coordinator of a group, wherever on this node it lives.
    ///
    /// # Errors
    /// [`GroupError`] if there is no coordinator (yet).
    pub async fn ask_coordinator(
        self: &Rc<Self>,
        group_id: &str,
        request: Request,
    ) -> Result<Response, GroupError> {
        let placement =
            coordinator_of(&self.image(), group_id).ok_or(GroupError::NotCoordinator)?;
        self.ask_seat(placement.shard, placement.id.index, request).await
    }

    /// Which node coordinates a group; absent while that is not known.
    pub fn coordinator_leader(&self, group_id: &str) -> Option<NodeId> {
        coordinator_of(&self.image(), group_id)?.leader
    }

    async fn ask_seat(
        self: &Rc<Self>,
        to: ShardId,
        index: i32,
        request: Request,
    ) -> Result<Response, GroupError> {
        let ask = move |there: Rc<Shard>| async move {
            let seat = there.groups.seat(index).ok_or(GroupError::NotCoordinator)?;
            seat.ask(there, request).await
        };
        self.on(to, ask).await
    }

    /// Asks every coordinator of this shard the same; in the order of their partitions.
    pub async fn ask_seats_here(
        self: &Rc<Self>,
        request: Request,
    ) -> Vec<Result<Response, GroupError>> {
        let asks =
            self.groups.all().into_iter().map(|seat| seat.ask(self.clone(), request.clone()));
        futures_util::future::join_all(asks).await
    }

    /// Sends on whoever is parked in a join or sync, once everything that is being stored is stored: the node stops.
    pub(crate) async fn close_groups(self: Rc<Self>) {
        let retire = self.groups.all().into_iter().map(|seat| seat.retire());
        futures_util::future::join_all(retire).await;
    }

    fn start_group_timer(self: &Rc<Self>) {
        if self.groups.timer.set(()).is_ok() {
            let keep = self.clone().keep_group_deadlines();
            task::spawn(Class::Latency, keep).detach();
        }
    }

    async fn keep_group_deadlines(self: Rc<Self>) {
        loop {
            let next = self.groups.next_deadline();
            self.groups.sleeps_until.set(next.unwrap_or(i64::MAX));
            let now = clock().monotonic_ms;
            let earlier = self.groups.earlier.notified();
            match next {
                None => earlier.await,
                Some(at) if at > now => {
                    let wait = Duration::from_millis((at - now) as u64);
                    let _ = runtime::time::timeout(wait, earlier).await;
                }
                Some(_) => {}
            }
            let now = clock().monotonic_ms;
            for seat in self.groups.all() {
                if seat.next_deadline().is_some_and(|at| at <= now) {
                    seat.tick(&self, now);
                }
            }
            self.metrics.consumer_groups.set(self.groups.count() as u64);
        }
    }
}
