//! A coordinator with a log of its own, driven request by request.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use coordinator::*;

/// Wall clock at monotonic 0: a round moment, so that timestamps in tests read well.
pub const EPOCH_MS: i64 = 1_000_000;

pub struct World {
    pub coordinator: GroupCoordinator,
    pub settings: Arc<Settings>,
    pub now_ms: i64,
    /// What is committed, in order.
    pub log: Vec<Record>,
    /// What is appended and not committed.
    pub in_flight: Vec<Append>,
    /// Whether appends are committed at once.
    pub commits_at_once: bool,
    /// Answers in the order in which they came.
    pub answers: Vec<(RequestToken, Response)>,
    tokens: u64,
    uuids: u64,
}

impl World {
    pub fn new(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let mut world = World {
            coordinator: GroupCoordinator::new(settings.clone()),
            settings,
            now_ms: 0,
            log: Vec::new(),
            in_flight: Vec::new(),
            commits_at_once: true,
            answers: Vec::new(),
            tokens: 0,
            uuids: 0,
        };
        world.coordinator.finish_load(world.clock());
        world
    }

    pub fn clock(&self) -> Clock {
        Clock { monotonic_ms: self.now_ms, wall_ms: EPOCH_MS + self.now_ms }
    }

    pub fn request(&mut self, request: Request) -> RequestToken {
        self.tokens += 1;
        let token = RequestToken(self.tokens);
        self.event(Event::Request(token, request));
        token
    }

    /// Hands in a request and returns its answer, which must come at once.
    pub fn ask(&mut self, request: Request) -> Response {
        let token = self.request(request);
        let at = self.answers.iter().position(|(answered, _)| *answered == token);
        self.answers.remove(at.expect("the request is answered at once")).1
    }

    pub fn event(&mut self, event: Event) {
        let effects = self.coordinator.handle(event, self.clock());
        self.take(effects);
    }

    pub fn take(&mut self, effects: Effects) {
        self.answers.extend(effects.responses);
        self.in_flight.extend(effects.appends);
        if self.commits_at_once {
            self.commit();
        }
    }

    /// Commits everything that is in flight, and what that brings about.
    pub fn commit(&mut self) {
        while !self.in_flight.is_empty() {
            let appends = std::mem::take(&mut self.in_flight);
            let ticket = appends.last().expect("not empty").ticket;
            self.log.extend(appends.into_iter().flat_map(|append| append.records));
            let effects = self.coordinator.handle(Event::Appended(ticket), self.clock());
            self.answers.extend(effects.responses);
            self.in_flight.extend(effects.appends);
        }
    }

    /// Everything in flight is lost.
    pub fn fail(&mut self, failure: AppendFailure) {
        let appends = std::mem::take(&mut self.in_flight);
        if let Some(first) = appends.first() {
            self.event(Event::AppendFailed(first.ticket, failure));
        }
    }

    /// Lets time pass, stopping at every deadline on the way.
    pub fn wait(&mut self, ms: i64) {
        let until = self.now_ms + ms;
        while let Some(deadline) = self.coordinator.next_deadline().filter(|at| *at <= until) {
            self.now_ms = self.now_ms.max(deadline);
            self.event(Event::Tick);
        }
        self.now_ms = until;
    }

    /// A coordinator built from the log alone.
    pub fn replayed(&self) -> GroupCoordinator {
        let mut coordinator = GroupCoordinator::new(self.settings.clone());
        for record in &self.log {
            let known = coordinator.replay(&record.key, record.value.as_deref());
            assert_eq!(known, Ok(true), "our own records are readable");
        }
        coordinator
    }

    /// Loses everything in memory and in flight, and loads the log.
    pub fn restart(&mut self) {
        self.in_flight.clear();
        self.coordinator = self.replayed();
        let effects = self.coordinator.finish_load(self.clock());
        self.take(effects);
    }

    pub fn uuid(&mut self) -> Arc<str> {
        self.uuids += 1;
        Arc::from(self.uuids.to_string())
    }
}

/// A join of a consumer with the protocols `range` and `roundrobin`.
pub fn join(group: &str, client: &str, member_id: &str, uuid: Arc<str>) -> JoinGroupRequest {
    let protocol = |name: &str| Protocol { name: Arc::from(name), metadata: subscription(&["t"]) };
    JoinGroupRequest {
        group_id: Arc::from(group),
        member_id: Arc::from(member_id),
        instance_id: None,
        client_id: Arc::from(client),
        client_host: Arc::from("/127.0.0.1"),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: Arc::from("consumer"),
        protocols: vec![protocol("range"), protocol("roundrobin")],
        requires_known_member_id: true,
        supports_skip_assignment: true,
        uuid,
    }
}

/// `ConsumerProtocolSubscription` version 0.
pub fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend(0i32.to_be_bytes());
    bytes.into()
}

pub fn commit(group: &str, member: &str, generation: i32, offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: Arc::from(group),
        generation,
        member_id: Arc::from(member),
        instance_id: None,
        retention_time_ms: None,
        names_missing_group: true,
        topics: vec![OffsetCommitTopic {
            name: Arc::from("t"),
            topic_id: [7; 16],
            partitions: vec![OffsetCommitPartition {
                partition: 0,
                offset,
                leader_epoch: 3,
                metadata: None,
            }],
        }],
    }
}

/// Everything committed in a group.
pub fn offsets_of(world: &mut World, group: &str) -> BTreeMap<(String, i32), i64> {
    let request = OffsetFetchRequest { group_id: Arc::from(group), topics: None };
    let Response::OffsetFetch(response) = world.ask(Request::OffsetFetch(request)) else {
        panic!("an OffsetFetch is answered by an OffsetFetch")
    };
    let mut offsets = BTreeMap::new();
    for topic in response.topics {
        for (partition, offset) in topic.partitions {
            let offset = offset.expect("all topics means committed ones").offset;
            offsets.insert((topic.name.to_string(), partition), offset);
        }
    }
    offsets
}
