//! How many connections one node and one client address may have.
//!
//! The only thing that the shards of a node share here: the kernel spreads a client's connections
//! over the shards by hash, so a limit per shard would be wrong by chance. Touched at accept and at
//! close only, under a lock that is never held across an await; no request ever comes here.
//!
//! Limits may change while the node runs: they hold for connections from then on, and none that is
//! open is closed.
//!
//! Source: Kafka's `ConnectionQuotas`, `max.connections`, `max.connections.per.ip` and its
//! overrides. Kafka stops accepting at `max.connections`; here the connection is closed at once, so
//! that a client sees a refusal and not a hang.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Why a new connection was closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the node has max.connections = {limit} connections")]
    Node { limit: usize },
    #[error(
        "the limit of open files leaves room for {room} connections; raise LimitNOFILE or `ulimit -n`"
    )]
    Descriptors { room: usize },
    #[error("{address} has max.connections.per.ip = {limit} connections")]
    Address { address: IpAddr, limit: usize },
}

/// Limits and counts of one node. One per node, shared by its shards.
#[derive(Debug)]
pub struct ConnectionLimits {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    per_node_max: usize,
    /// What the process has descriptors for.
    room: usize,
    per_address_max: usize,
    overrides: BTreeMap<IpAddr, usize>,
    total: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

impl ConnectionLimits {
    pub const PER_NODE_MAX: usize = 10_000;
    pub const PER_ADDRESS_MAX: usize = 1_000;

    /// Limits as in `max.connections`, `max.connections.per.ip` and
    /// `max.connections.per.ip.overrides`.
    pub fn new(
        per_node_max: usize,
        per_address_max: usize,
        overrides: impl IntoIterator<Item = (IpAddr, usize)>,
    ) -> Arc<ConnectionLimits> {
        let state = State {
            per_node_max,
            room: usize::MAX,
            per_address_max,
            overrides: canonical(overrides),
            total: 0,
            by_address: BTreeMap::new(),
        };
        Arc::new(ConnectionLimits { state: Mutex::new(state) })
    }

    /// Changes the limits, from the next connection on.
    pub fn set(
        &self,
        per_node_max: usize,
        per_address_max: usize,
        overrides: impl IntoIterator<Item = (IpAddr, usize)>,
    ) {
        let mut state = self.lock();
        state.per_node_max = per_node_max;
        state.per_address_max = per_address_max;
        state.overrides = canonical(overrides);
    }

    /// However high the limits are, there are descriptors for so many connections.
    pub fn leave_room(&self, room: usize) {
        self.lock().room = room;
    }

    /// The limits that are on by default.
    pub fn with_defaults() -> Arc<ConnectionLimits> {
        Self::new(Self::PER_NODE_MAX, Self::PER_ADDRESS_MAX, [])
    }

    /// Counts a connection from `address`; it counts until the place is dropped.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Place, Refusal> {
        let address = address.to_canonical();
        let mut state = self.lock();
        let limit = state.overrides.get(&address).copied().unwrap_or(state.per_address_max);
        if state.total >= state.per_node_max {
            return Err(Refusal::Node { limit: state.per_node_max });
        }
        if state.total >= state.room {
            return Err(Refusal::Descriptors { room: state.room });
        }
        if state.by_address.get(&address).copied().unwrap_or(0) >= limit {
            return Err(Refusal::Address { address, limit });
        }
        state.total += 1;
        *state.by_address.entry(address).or_insert(0) += 1;
        drop(state);
        Ok(Place { limits: Arc::clone(self), address })
    }

    /// How many connections the node has.
    pub fn open(&self) -> usize {
        self.lock().total
    }

    /// The counts are plain numbers that no panic can leave half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn canonical(overrides: impl IntoIterator<Item = (IpAddr, usize)>) -> BTreeMap<IpAddr, usize> {
    overrides.into_iter().map(|(ip, max)| (ip.to_canonical(), max)).collect()
}

/// One counted connection.
#[derive(Debug)]
pub struct Place {
    limits: Arc<ConnectionLimits>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.limits.lock();
        state.total -= 1;
        if let Some(count) = state.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                state.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn an_address_at_its_limit_is_refused_until_one_of_its_connections_closes() {
        let limits = ConnectionLimits::new(10, 2, []);
        let first = limits.admit(ip(1)).expect("first");
        let _second = limits.admit(ip(1)).expect("second");
        let refusal = Refusal::Address { address: ip(1), limit: 2 };
        assert_eq!(limits.admit(ip(1)).expect_err("third"), refusal);
        limits.admit(ip(2)).expect("another address has its own count");
        drop(first);
        limits.admit(ip(1)).expect("a place is free again");
    }

    #[test]
    fn a_node_at_its_limit_refuses_every_address() {
        let limits = ConnectionLimits::new(2, 2, []);
        let _places = [limits.admit(ip(1)), limits.admit(ip(2))].map(|p| p.expect("place"));
        assert_eq!(limits.admit(ip(3)).expect_err("full"), Refusal::Node { limit: 2 });
        assert_eq!(limits.open(), 2);
    }

    #[test]
    fn an_override_replaces_the_limit_of_its_address_alone() {
        let limits = ConnectionLimits::new(10, 1, [(ip(1), 0), (ip(2), 2)]);
        assert!(limits.admit(ip(1)).is_err());
        let _places = [limits.admit(ip(2)), limits.admit(ip(2))].map(|p| p.expect("place"));
        assert!(limits.admit(ip(2)).is_err());
    }

    #[test]
    fn changed_limits_hold_for_the_next_connection_and_close_none() {
        let limits = ConnectionLimits::new(10, 1, []);
        let _first = limits.admit(ip(1)).expect("first");
        limits.set(10, 2, [(ip(2), 0)]);
        let _second = limits.admit(ip(1)).expect("the limit is higher now");
        assert!(limits.admit(ip(2)).is_err());
        limits.set(1, 9, []);
        assert_eq!(limits.admit(ip(1)).expect_err("full"), Refusal::Node { limit: 1 });
        assert_eq!(limits.open(), 2);
    }

    #[test]
    fn no_limit_is_higher_than_what_there_are_descriptors_for() {
        let limits = ConnectionLimits::new(10, 10, []);
        limits.leave_room(1);
        let _place = limits.admit(ip(1)).expect("first");
        let refusal = Refusal::Descriptors { room: 1 };
        assert_eq!(limits.admit(ip(1)).expect_err("second"), refusal);
        limits.set(20, 20, []);
        assert_eq!(limits.admit(ip(2)).expect_err("still"), refusal);
    }

    #[test]
    fn an_ipv4_address_counts_as_one_also_when_it_is_mapped_into_ipv6() {
        let limits = ConnectionLimits::new(10, 1, []);
        let _place = limits.admit(ip(1)).expect("first");
        assert!(limits.admit("::ffff:10.0.0.1".parse().expect("address")).is_err());
    }

    #[test]
    fn addresses_without_connections_take_no_memory() {
        let limits = ConnectionLimits::with_defaults();
        for last in 0..=255 {
            drop(limits.admit(ip(last)));
        }
        assert!(limits.lock().by_address.is_empty());
    }
}
