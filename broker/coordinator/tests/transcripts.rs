//! Whole conversations with a coordinator, one file each: what is asked, and what comes of it.
//!
//! A line `> command` is carried out; the lines beneath it are what happened. Commands:
//! `join C [instance=I] [metadata=T] [protocols=a,b] [v3] [v8] [session=MS] [rebalance=MS] [as=ID]`,
//! `sync C [C=TEXT ...] [generation=N]`, `beat C [generation=N]`, `leave C...`, `leave instance=I`,
//! `commit C OFFSET [generation=N]`, `commit - OFFSET` (an outsider), `offsets`, `describe`, `list`,
//! `delete group`, `delete offsets`, `delete topic`, `wait MS`, `hold` (appends stay in flight),
//! `release`, `fail`, `restart`, `set KEY VALUE`. `C` is a client; it remembers its member id,
//! generation and instance id. Run with `UPDATE_TRANSCRIPTS=1` to write what comes out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use coordinator::*;

mod world;
use world::World;

const GROUP: &str = "g";

#[derive(Clone, Default)]
struct Client {
    member_id: String,
    generation: i32,
    instance_id: Option<Arc<str>>,
}

struct Script {
    world: World,
    clients: BTreeMap<String, Client>,
    /// Who waits for what.
    waiting: BTreeMap<RequestToken, String>,
    written: usize,
}

impl Script {
    fn run(text: &str) -> String {
        let mut settings = Settings::default();
        let mut script = None;
        let mut out = String::new();
        for line in text.lines() {
            if line.starts_with('#') || line.is_empty() {
                writeln!(out, "{line}").unwrap();
            }
            let Some(command) = line.strip_prefix("> ") else {
                continue;
            };
            writeln!(out, "{line}").unwrap();
            let words: Vec<&str> = command.split_whitespace().collect();
            if let ["set", key, value] = words[..] {
                set(&mut settings, key, value.parse().unwrap());
                continue;
            }
            let script = script.get_or_insert_with(|| Script {
                world: World::new(settings.clone()),
                clients: BTreeMap::new(),
                waiting: BTreeMap::new(),
                written: 0,
            });
            script.command(&words);
            script.report(&mut out);
        }
        out
    }

    fn command(&mut self, words: &[&str]) {
        let options: BTreeMap<&str, &str> =
            words.iter().filter_map(|word| word.split_once('=')).collect();
        match *words {
            ["join", client, ..] => self.join(client, words, &options),
            ["sync", client, ..] => self.sync(client, &options),
            ["beat", client, ..] => {
                let it = self.client(client, &options);
                let request = Request::Heartbeat(HeartbeatRequest {
                    group_id: GROUP.into(),
                    generation: it.generation,
                    member_id: it.member_id.as_str().into(),
                    instance_id: it.instance_id,
                });
                self.ask(client, request);
            }
            ["leave", ..] => {
                let identity = |word: &&str| match word.split_once('=') {
                    Some((_, instance)) => {
                        MemberIdentity { member_id: "".into(), instance_id: Some(instance.into()) }
                    }
                    None => MemberIdentity {
                        member_id: self.clients[*word].member_id.as_str().into(),
                        instance_id: self.clients[*word].instance_id.clone(),
                    },
                };
                let members = words[1..].iter().map(identity).collect();
                let request = LeaveGroupRequest { group_id: GROUP.into(), members };
                self.ask("leave", Request::LeaveGroup(request));
            }
            ["commit", client, offset, ..] => {
                let it = match client {
                    "-" => Client { generation: -1, ..Client::default() },
                    _ => self.client(client, &options),
                };
                let offset = offset.parse().unwrap();
                let mut commit = world::commit(GROUP, &it.member_id, it.generation, offset);
                commit.instance_id = it.instance_id;
                commit.retention_time_ms = options.get("retention").map(|ms| ms.parse().unwrap());
                self.ask(client, Request::OffsetCommit(commit));
            }
            ["offsets"] => {
                let request = OffsetFetchRequest { group_id: GROUP.into(), topics: None };
                self.ask("offsets", Request::OffsetFetch(request));
            }
            ["describe"] => self.ask("describe", Request::DescribeGroups(vec![GROUP.into()])),
            ["list", ..] => {
                let states = words[1..].iter().map(|state| Arc::from(*state)).collect();
                self.ask("list", Request::ListGroups(ListGroupsRequest { states }));
            }
            ["delete", "group"] => {
                self.ask("delete", Request::DeleteGroups(vec![GROUP.into()]));
            }
            ["delete", "offsets"] => {
                let topics = vec![("t".into(), vec![0, 9])];
                let request = OffsetDeleteRequest { group_id: GROUP.into(), topics };
                self.ask("delete", Request::OffsetDelete(request));
            }
            ["delete", "topic"] => self.world.event(Event::TopicsDeleted(vec!["t".into()])),
            ["wait", ms] => self.world.wait(ms.parse().unwrap()),
            ["hold"] => self.world.commits_at_once = false,
            ["release"] => {
                self.world.commits_at_once = true;
                self.world.commit();
            }
            ["fail"] => {
                self.world.commits_at_once = true;
                self.world.fail(AppendFailure::NotAvailable);
            }
            ["restart"] => {
                self.world.restart();
                self.waiting.clear();
            }
            _ => panic!("unknown command {words:?}"),
        }
    }

    fn join(&mut self, name: &str, words: &[&str], options: &BTreeMap<&str, &str>) {
        let client = self.clients.entry(name.to_string()).or_default();
        if let Some(instance) = options.get("instance") {
            client.instance_id = Some(Arc::from(*instance));
        }
        let member_id = options.get("as").map_or(client.member_id.clone(), |id| id.to_string());
        let instance_id = client.instance_id.clone();
        let uuid = self.world.uuid();
        let mut join = world::join(GROUP, name, &member_id, uuid);
        join.instance_id = instance_id;
        join.requires_known_member_id = !words.contains(&"v3");
        join.supports_skip_assignment = !words.contains(&"v3") && !words.contains(&"v8");
        let number = |key| options.get(key).map(|ms| ms.parse().unwrap());
        join.session_timeout_ms = number("session").unwrap_or(join.session_timeout_ms);
        join.rebalance_timeout_ms = number("rebalance").unwrap_or(join.rebalance_timeout_ms);
        if let Some(kind) = options.get("type") {
            join.protocol_type = Arc::from(*kind);
        }
        if let Some(topic) = options.get("metadata") {
            for protocol in &mut join.protocols {
                protocol.metadata = world::subscription(&[topic]);
            }
        }
        if let Some(names) = options.get("protocols") {
            let metadata = join.protocols[0].metadata.clone();
            let protocol = |name: &str| Protocol { name: name.into(), metadata: metadata.clone() };
            join.protocols = names.split(',').filter(|n| !n.is_empty()).map(protocol).collect();
        }
        self.ask(name, Request::JoinGroup(join));
    }

    fn sync(&mut self, name: &str, options: &BTreeMap<&str, &str>) {
        let it = self.client(name, options);
        let assignments = options
            .iter()
            .filter_map(|(client, text)| {
                let member_id = self.clients.get(*client)?.member_id.as_str().into();
                Some((member_id, Bytes::copy_from_slice(text.as_bytes())))
            })
            .collect();
        let request = Request::SyncGroup(SyncGroupRequest {
            group_id: GROUP.into(),
            generation: it.generation,
            member_id: it.member_id.as_str().into(),
            instance_id: it.instance_id,
            protocol_type: options.get("type").map(|text| Arc::from(*text)),
            protocol_name: options.get("protocol").map(|text| Arc::from(*text)),
            assignments,
        });
        self.ask(name, request);
    }

    fn client(&self, name: &str, options: &BTreeMap<&str, &str>) -> Client {
        let mut client = self.clients.get(name).cloned().unwrap_or_default();
        if let Some(generation) = options.get("generation") {
            client.generation = generation.parse().unwrap();
        }
        client
    }

    fn ask(&mut self, name: &str, request: Request) {
        let token = self.world.request(request);
        self.waiting.insert(token, name.to_string());
    }

    /// Writes down the answers and the records since the last command.
    fn report(&mut self, out: &mut String) {
        for (token, response) in std::mem::take(&mut self.world.answers) {
            let Some(name) = self.waiting.remove(&token) else {
                continue;
            };
            if let Response::JoinGroup(joined) = &response
                && let Some(client) = self.clients.get_mut(&name)
                && (joined.error.is_none() || joined.error == Some(GroupError::MemberIdRequired))
            {
                client.member_id = joined.member_id.to_string();
                client.generation = joined.generation;
            }
            writeln!(out, "{name}: {}", show(&response)).unwrap();
        }
        let records: Vec<String> = self.world.log[self.written..].iter().map(show_record).collect();
        self.written = self.world.log.len();
        if !records.is_empty() {
            writeln!(out, "log: {}", records.join("; ")).unwrap();
        }
    }
}

fn set(settings: &mut Settings, key: &str, value: i64) {
    match key {
        "delay" => settings.initial_rebalance_delay_ms = value as i32,
        "size" => settings.group_size_max = value as usize,
        "retention" => settings.offsets_retention_ms = value,
        "check" => settings.offsets_retention_check_interval_ms = value,
        _ => panic!("unknown setting {key}"),
    }
}

fn show_error(error: Option<GroupError>) -> String {
    error.map_or("ok".to_string(), |error| format!("{error:?}"))
}

fn text(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(bytes))
}

fn show(response: &Response) -> String {
    match response {
        Response::JoinGroup(r) => match r.error {
            Some(error) => format!("{error:?} id={:?}", r.member_id),
            None => {
                let members: Vec<_> = r.members.iter().map(|m| &*m.member_id).collect();
                let skip = if r.skip_assignment { " skip assignment" } else { "" };
                let protocol = r.protocol_name.as_deref().unwrap_or("");
                format!(
                    "generation {} as {} leader {} protocol {protocol} members {members:?}{skip}",
                    r.generation, r.member_id, r.leader
                )
            }
        },
        Response::SyncGroup(r) => match r.error {
            Some(error) => format!("{error:?}"),
            None => format!("assigned {}", text(&r.assignment)),
        },
        Response::Heartbeat(error) => show_error(*error),
        Response::LeaveGroup(r) => {
            let members: Vec<_> = r
                .members
                .iter()
                .map(|m| {
                    format!(
                        "{}{} {}",
                        m.member_id,
                        m.instance_id.as_deref().unwrap_or(""),
                        show_error(m.error)
                    )
                })
                .collect();
            format!("{}: {}", show_error(r.error), members.join(", "))
        }
        Response::OffsetCommit(topics) => show_topics(topics),
        Response::OffsetFetch(r) => {
            let mut shown = Vec::new();
            for topic in &r.topics {
                for (partition, offset) in &topic.partitions {
                    let offset = offset.as_ref().map_or(-1, |offset| offset.offset);
                    shown.push(format!("{}-{partition}={offset}", topic.name));
                }
            }
            format!("{} {}", show_error(r.error), shown.join(" "))
        }
        Response::OffsetDelete(r) => format!("{}: {}", show_error(r.error), show_topics(&r.topics)),
        Response::ListGroups(r) => {
            let groups: Vec<_> = r
                .groups
                .iter()
                .map(|g| format!("{} {:?} {}", g.group_id, g.protocol_type, g.state))
                .collect();
            format!("[{}]", groups.join(", "))
        }
        Response::DescribeGroups(groups) => {
            let g = &groups[0];
            let members: Vec<_> = g
                .members
                .iter()
                .map(|m| {
                    format!(
                        "{} metadata {} assigned {}",
                        m.member_id,
                        m.metadata.len(),
                        text(&m.assignment)
                    )
                })
                .collect();
            format!(
                "{} {} {:?} {:?} [{}]",
                show_error(g.error),
                g.state,
                g.protocol_type,
                g.protocol_name,
                members.join(", ")
            )
        }
        Response::DeleteGroups(groups) => show_error(groups[0].1),
    }
}

fn show_topics(topics: &[TopicResult]) -> String {
    let mut shown = Vec::new();
    for topic in topics {
        for (partition, error) in &topic.partitions {
            shown.push(format!("{}-{partition} {}", topic.name, show_error(*error)));
        }
    }
    shown.join(", ")
}

fn show_record(record: &Record) -> String {
    use coordinator::record::{GroupValue, OffsetValue, RecordKey};
    match (RecordKey::read(&record.key).unwrap(), &record.value) {
        (RecordKey::Offset { topic, partition, .. }, None) => format!("{topic}-{partition} gone"),
        (RecordKey::Offset { topic, partition, .. }, Some(value)) => {
            format!("{topic}-{partition}={}", OffsetValue::read(value).unwrap().offset)
        }
        (RecordKey::Group { .. }, None) => "group gone".to_string(),
        (RecordKey::Group { .. }, Some(value)) => {
            let value = GroupValue::read(value).unwrap();
            let members: Vec<_> = value.members.iter().map(|m| &*m.member_id).collect();
            let leader = value.leader.as_deref().unwrap_or("none");
            format!("group generation {} leader {leader} members {members:?}", value.generation)
        }
        (RecordKey::Other { kind }, _) => format!("kind {kind}"),
    }
}

fn check(name: &str, expected: &str) {
    let actual = Script::run(expected);
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        let path = format!("{}/tests/transcripts/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        #[allow(clippy::disallowed_methods, reason = "a test that rewrites its own expectation")]
        std::fs::write(path, actual).unwrap();
    } else {
        assert_eq!(actual, expected, "transcript {name}");
    }
}

macro_rules! transcripts {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            let name = stringify!($name);
            check(name, include_str!(concat!("transcripts/", stringify!($name), ".txt")));
        }
    )*};
}

transcripts!(
    one_member_joins_works_and_leaves,
    the_initial_delay_is_prolonged_while_members_come,
    a_second_member_rebalances_the_group,
    silent_members_are_evicted,
    whoever_does_not_rejoin_or_sync_is_left_out,
    static_members_come_back_without_a_rebalance,
    static_members_are_fenced,
    the_protocol_with_most_votes_is_chosen,
    group_size_is_limited,
    offsets_are_committed_fetched_and_deleted,
    answers_wait_for_the_log,
    failed_appends_are_undone,
    a_restart_keeps_the_generation,
    offsets_expire,
    old_versions_join_at_once,
    commits_and_heartbeats_keep_a_member,
);
