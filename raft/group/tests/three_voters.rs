//! Three shards on in-memory WALs with an in-memory network between them: elections, replication,
//! commit on any durable majority, overwritten tails, changes of members.

mod node;

use std::collections::BTreeMap;

use node::*;
use raft_group::*;

#[test]
fn three_replicas_elect_and_replicate() {
    let mut cluster = Cluster::new(3, 1);
    cluster.settle();
    assert_eq!(cluster.ready_leader(), None, "nobody leads before an election timeout");
    for _ in 0..40 {
        cluster.tick();
        cluster.settle();
    }
    let leader = cluster.ready_leader().expect("somebody was elected");
    for payload in ["a", "b"] {
        cluster.at(leader).append(payload);
        cluster.settle();
    }
    for node in &cluster.nodes {
        assert_eq!(node.applied_text(), ["a", "b"]);
    }
    let follower = leader % 3 + 1;
    assert_eq!(
        cluster.at(follower).shard.open_window(GROUP, Durability::Disk).err(),
        Some(ProposeError::NotLeader { raft_group: GROUP, leader: Some(ReplicaId(leader)) })
    );
}

#[test]
fn two_followers_commit_before_the_leader_has_written() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect(1);
    cluster.at(1).append("a");
    cluster.run(1);
    assert!(cluster.at(1).wal.is_writing());
    while !cluster.network.is_empty() {
        cluster.deliver(0);
    }
    assert_eq!(cluster.at(1).applied_text(), [""; 0], "followers have not written either");
    cluster.write(2);
    cluster.write(3);
    while !cluster.network.is_empty() {
        cluster.deliver(0);
    }
    assert_eq!(cluster.at(1).applied_text(), ["a"]);
    assert!(cluster.at(1).wal.is_writing(), "the leader's own write is still in flight");
    // The leader stops without it; the entry stays.
    cluster.crash(1, 0);
    cluster.elect(2);
    for node in &cluster.nodes {
        assert_eq!(node.applied_text(), ["a"]);
    }
}

#[test]
fn a_vote_leaves_only_when_it_is_durable() {
    let mut cluster = Cluster::new(3, 1);
    cluster.settle();
    cluster.at(1).shard.campaign(GROUP).unwrap();
    cluster.run(1);
    let kinds = |cluster: &Cluster| -> Vec<_> {
        cluster.network.iter().map(|message| format!("{:?}", message.get_msg_type())).collect()
    };
    assert_eq!(kinds(&cluster), ["MsgRequestPreVote", "MsgRequestPreVote"]);
    cluster.deliver(0);
    assert_eq!(kinds(&cluster), ["MsgRequestPreVote", "MsgRequestPreVoteResponse"]);
    cluster.deliver(1);
    assert_eq!(kinds(&cluster), ["MsgRequestPreVote"], "the new term is not durable yet");
    cluster.write(1);
    assert_eq!(kinds(&cluster), ["MsgRequestPreVote", "MsgRequestVote", "MsgRequestVote"]);
    cluster.deliver(1);
    assert_eq!(kinds(&cluster), ["MsgRequestPreVote", "MsgRequestVote"], "nor is the vote");
    let voter = if cluster.at(2).wal.is_writing() { 2 } else { 3 };
    cluster.crash(voter, 0);
    assert_eq!(cluster.at(voter).shard.status(GROUP).unwrap().term, Term(1));
    cluster.settle();
    assert_eq!(cluster.ready_leader(), Some(1));
}

#[test]
fn a_vote_in_a_term_that_is_known_already_is_remembered_after_a_crash() {
    use raft::eraftpb::MessageType;
    let mut cluster = Cluster::new(3, 1);
    cluster.settle();
    let message = |from: u64, kind| {
        let mut message = Message { from, to: 3, term: 9, ..Default::default() };
        message.set_msg_type(kind);
        (message.index, message.log_term) = (1, 1);
        message
    };
    let node = cluster.at(3);
    node.shard.step(GROUP, message(2, MessageType::MsgRequestVoteResponse)).unwrap();
    node.finish();
    assert_eq!(node.shard.status(GROUP).unwrap().term, Term(9));
    node.shard.step(GROUP, message(1, MessageType::MsgRequestVote)).unwrap();
    node.run();
    assert!(node.sent.0.borrow().is_empty());
    node.write();
    assert!(!node.sent.0.borrow()[0].1.reject, "voted for 1");
    cluster.crash(3, 0);
    let node = cluster.at(3);
    node.shard.step(GROUP, message(2, MessageType::MsgRequestVote)).unwrap();
    node.finish();
    assert!(node.sent.0.borrow()[0].1.reject, "and for nobody else");
}

#[test]
fn an_uncommitted_tail_is_overwritten_and_stays_so_after_a_restart() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect(1);
    cluster.at(1).append("kept");
    cluster.settle();
    cluster.cut[0] = true;
    for payload in ["lost 1", "lost 2", "lost 3"] {
        cluster.at(1).append(payload);
        cluster.run(1);
        cluster.write(1);
    }
    cluster.network.clear();
    // Without word from the leader the others may elect after an election timeout.
    for _ in 0..40 {
        for replica in [2, 3] {
            cluster.at(replica).shard.tick();
            cluster.run(replica);
        }
        cluster.settle();
    }
    let leader = cluster.ready_leader().unwrap();
    assert_ne!(leader, 1);
    cluster.at(leader).append("new");
    cluster.settle();
    cluster.cut[0] = false;
    for _ in 0..20 {
        cluster.tick();
        cluster.settle();
    }
    assert_eq!(cluster.at(1).applied_text(), ["kept", "new"]);
    let heard = cluster.at(1).heard.borrow().leadership.last().copied().unwrap();
    assert_eq!(heard.leadership, Leadership::Following(Some(ReplicaId(leader))));
    cluster.crash(1, 0);
    cluster.settle();
    for _ in 0..20 {
        cluster.tick();
        cluster.settle();
    }
    assert_eq!(cluster.at(1).applied_text(), ["kept", "new"]);
}

#[test]
fn members_change_only_behind_a_durable_commit_index() {
    let mut cluster = Cluster::new(1, 1);
    cluster.settle();
    cluster.at(1).append("a");
    cluster.settle();
    // The second replica starts from the creation of the group and follows its log.
    let second = Node::with(options(2, 1), MemoryWal::in_steps());
    second.shard.create_group(GROUP, Membership::of_voters([ReplicaId(1)])).unwrap();
    cluster.nodes.push(second);
    cluster.cut.push(false);
    cluster.settle();

    let change = ConfChange { changes: vec![MemberChange::AddVoter(ReplicaId(2))] };
    cluster.at(1).shard.propose_conf_change(GROUP, &change).unwrap();
    cluster.run(1);
    assert_eq!(
        cluster.at(1).shard.propose_conf_change(GROUP, &change),
        Err(ProposeError::ChangePending(GROUP))
    );
    cluster.at(1).news();
    cluster.write(1);
    assert_eq!(cluster.at(1).news(), "  frame 7 HardState 2/4\n");
    let crashed = Node::restart(options(1, 1), cluster.at(1).wal.crash(0));
    assert_eq!(crashed.shard.status(GROUP).unwrap().membership.voters.len(), 1);
    cluster.write(1);
    assert_eq!(cluster.at(1).news(), "  members 7 at 4 [1, 2]\n  apply 7 2/4 ConfChange '' own\n");
    let crashed = Node::restart(options(1, 1), cluster.at(1).wal.crash(0));
    let status = crashed.shard.status(GROUP).unwrap();
    assert_eq!(status.membership.voters.len(), 2, "it must not lead alone");
    assert_eq!(status.leadership.leadership, Leadership::Following(None));

    for _ in 0..5 {
        cluster.tick();
        cluster.settle();
    }
    cluster.at(1).append("b");
    cluster.settle();
    assert_eq!(cluster.at(2).applied_text(), ["a", "b"]);
    assert_eq!(cluster.at(2).shard.status(GROUP).unwrap().membership.voters.len(), 2);

    // Two changes at once go through a joint configuration that is left by itself.
    let third = Node::with(options(3, 1), MemoryWal::in_steps());
    third.shard.create_group(GROUP, Membership::of_voters([ReplicaId(1)])).unwrap();
    cluster.nodes.push(third);
    cluster.cut.push(false);
    let change = ConfChange {
        changes: vec![MemberChange::AddVoter(ReplicaId(3)), MemberChange::AddLearner(ReplicaId(2))],
    };
    cluster.at(1).shard.propose_conf_change(GROUP, &change).unwrap();
    for _ in 0..10 {
        cluster.tick();
        cluster.settle();
    }
    for replica in 1..=3 {
        let membership = cluster.at(replica).shard.status(GROUP).unwrap().membership;
        assert_eq!(membership.voters, [ReplicaId(1), ReplicaId(3)], "replica {replica}");
        assert_eq!(membership.learners, [ReplicaId(2)]);
        assert_eq!(membership.voters_outgoing, []);
    }
    let nobody = ConfChange { changes: vec![MemberChange::Remove(ReplicaId(9))] };
    let _ = cluster.at(1).shard.propose_conf_change(GROUP, &nobody);
    let all = [1, 3].map(|id| MemberChange::Remove(ReplicaId(id))).to_vec();
    let refused = cluster.at(1).shard.propose_conf_change(GROUP, &ConfChange { changes: all });
    assert!(refused.is_err());
}

#[test]
fn released_payloads_are_never_sent_to_a_new_member() {
    let mut cluster = Cluster::new(1, 1);
    cluster.settle();
    cluster.at(1).append("a");
    cluster.settle();
    let applied = cluster.at(1).shard.status(GROUP).unwrap().delivered;
    cluster.at(1).shard.release_payloads(GROUP, applied);
    assert!(cluster.at(1).shard.entry(GROUP, applied).is_none());
    let second = Node::with(options(2, 1), MemoryWal::in_steps());
    second.shard.create_group(GROUP, Membership::of_voters([ReplicaId(1)])).unwrap();
    cluster.nodes.push(second);
    cluster.cut.push(false);
    let change = ConfChange { changes: vec![MemberChange::AddLearner(ReplicaId(2))] };
    cluster.at(1).shard.propose_conf_change(GROUP, &change).unwrap();
    cluster.at(1).append("b");
    for _ in 0..10 {
        cluster.tick();
        cluster.settle();
    }
    assert_eq!(cluster.at(1).applied_text(), ["a", "b"]);
    assert!(cluster.at(2).heard.borrow().applied.is_empty(), "it needs a snapshot first");
}

#[test]
fn leadership_moves_on_request_without_losing_the_open_window() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect(1);
    cluster.at(1).append("last words");
    cluster.at(1).shard.transfer_leadership(GROUP, ReplicaId(3)).unwrap();
    assert_eq!(
        cluster.at(1).shard.open_window(GROUP, Durability::Disk).err(),
        Some(ProposeError::Transferring(GROUP))
    );
    cluster.settle();
    assert_eq!(cluster.ready_leader(), Some(3));
    for node in &cluster.nodes {
        assert_eq!(node.applied_text(), ["last words"]);
    }
}

#[test]
fn messages_that_no_replica_sends_are_errors() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect(1);
    cluster.at(1).append("a");
    cluster.run(1);
    let good = cluster.network.iter().find(|m| !m.entries.is_empty()).unwrap().clone();
    let target = good.to;
    let bad: [&dyn Fn(&mut Message); 8] = [
        &|m| m.to = 9,
        &|m| m.from = 0,
        &|m| m.term = 0,
        &|m| m.entries[0].index += 1,
        &|m| m.entries[0].context = vec![77].into(),
        &|m| m.entries[0].context = vec![5].into(),
        &|m| m.set_msg_type(raft::eraftpb::MessageType::MsgHup),
        &|m| {
            m.set_msg_type(raft::eraftpb::MessageType::MsgHeartbeat);
            m.commit = 1000;
        },
    ];
    for change in bad {
        let mut message = good.clone();
        change(&mut message);
        let result = cluster.at(target).shard.step(GROUP, message);
        assert!(matches!(result, Err(StepError::Malformed { .. })), "{result:?}");
    }
    let mut message = good.clone();
    message.index = 1;
    message.log_term = 1;
    message.entries[0].index = 2;
    message.entries[0].term = 1;
    let result = cluster.at(target).shard.step(GROUP, message);
    assert!(matches!(result, Err(StepError::Malformed { .. })), "{result:?}");
    assert_eq!(cluster.at(target).shard.step(GROUP, good), Ok(()));
}

#[test]
fn a_memory_entry_is_held_when_a_majority_has_it_in_memory_and_committed_by_disks() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect(1);
    let disk = cluster.at(1).append_to(GROUP, "disk", Durability::Disk);
    cluster.settle();
    assert_eq!(cluster.at(1).heard.borrow().held, [], "nobody asked for memory");
    let ticket = cluster.at(1).append_to(GROUP, "memory", Durability::Memory);
    cluster.run(1);
    assert_eq!(cluster.at(1).heard.borrow().held, [], "only the leader holds it");
    // To one follower and back, with no write ending anywhere.
    let at = cluster.network.iter().position(|message| message.to == 2).unwrap();
    cluster.deliver(at);
    let at = cluster.network.iter().position(|message| message.to == 1).unwrap();
    cluster.deliver(at);
    let heard = cluster.at(1).heard.borrow().clone();
    assert_eq!((heard.held, heard.accepted.len()), (vec![ticket], 0));
    assert_eq!(heard.applied.last().unwrap().index, disk.index, "no disk has it");
    // The leader is cut off; the entry lives on in its holder.
    cluster.cut[0] = true;
    for _ in 0..40 {
        cluster.tick();
        cluster.settle();
    }
    assert_eq!(cluster.ready_leader(), Some(2), "the other one lacks the entry");
    assert_eq!(cluster.at(3).applied_text(), ["disk", "memory"]);
}

#[test]
fn what_is_committed_reaches_followers_without_a_heartbeat() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect(1);
    cluster.at(1).append("a");
    cluster.settle();
    for node in &cluster.nodes {
        assert_eq!(node.applied_text(), ["a"]);
    }
}

#[test]
fn a_leader_that_is_removed_makes_room_and_one_that_a_member_was_cut_from_says_so() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect(1);
    let progress = cluster.at(1).shard.progress(GROUP).unwrap();
    let last = progress.last_index;
    assert_eq!(progress.committed, last);
    for (member, replica) in progress.members.iter().zip(1..) {
        let expected = (ReplicaId(replica), last, true, true);
        let found = (member.replica, member.matched, member.voter, member.recent_active);
        assert_eq!(found, expected);
    }
    assert_eq!(cluster.at(2).shard.progress(GROUP), None);
    cluster.cut[2] = true;
    cluster.at(1).shard.report_unreachable(ReplicaId(3));
    for _ in 0..25 {
        cluster.tick();
        cluster.settle();
    }
    let cut_off = cluster.at(1).shard.progress(GROUP).unwrap().members[2];
    assert_eq!((cut_off.recent_active, cut_off.replication), (false, Replication::Probe));
    cluster.cut[2] = false;
    let removal = ConfChange { changes: vec![MemberChange::Remove(ReplicaId(1))] };
    cluster.at(1).shard.propose_conf_change(GROUP, &removal).unwrap();
    cluster.settle();
    let following = cluster.at(1).shard.status(GROUP).unwrap().leadership.leadership;
    assert_eq!(following, Leadership::Following(None));
    for _ in 0..60 {
        cluster.tick();
        cluster.settle();
    }
    assert!(matches!(cluster.ready_leader(), Some(2 | 3)));
}

/// Loss, reorder, duplicates, partitions, crashes with torn writes.
fn random_cluster(seed: u64) {
    let mut random = Random::new(seed);
    let mut cluster = Cluster::new(3, seed);
    cluster.settle();
    let mut committed = BTreeMap::<RaftIndex, (Term, Vec<u8>)>::new();
    let mut leaders = BTreeMap::<Term, ReplicaId>::new();
    let mut seen = vec![(0, RaftIndex(1)); 3];
    let mut appended = 0;
    let observe = |cluster: &Cluster,
                   seen: &mut Vec<(usize, RaftIndex)>,
                   committed: &mut BTreeMap<RaftIndex, (Term, Vec<u8>)>,
                   leaders: &mut BTreeMap<Term, ReplicaId>| {
        for (node, (seen, last)) in cluster.nodes.iter().zip(seen) {
            let heard = node.heard.borrow();
            for entry in &heard.applied[*seen..] {
                assert_eq!(entry.index, last.next());
                *last = entry.index;
                let value = (entry.term, entry.payload.to_vec());
                let kept = committed.entry(entry.index).or_insert_with(|| value.clone());
                assert_eq!(*kept, value, "replicas disagree at {}", entry.index);
            }
            *seen = heard.applied.len();
        }
        for (at, node) in cluster.nodes.iter().enumerate() {
            let change = node.shard.status(GROUP).unwrap().leadership;
            if !matches!(change.leadership, Leadership::Following(_)) {
                let replica = ReplicaId(at as u64 + 1);
                let leader = *leaders.entry(change.term).or_insert(replica);
                assert_eq!(leader, replica, "two leaders in term {}", change.term);
            }
        }
    };
    for step in 0..3000 {
        let replica = random.next() % 3 + 1;
        match random.below(40) {
            0..=7 => {
                cluster.at(replica).shard.tick();
                cluster.run(replica);
            }
            8..=13 => {
                if let Ok(mut window) =
                    cluster.at(replica).shard.open_window(GROUP, Durability::Disk)
                {
                    window.append(format!("{step}").as_bytes()).unwrap();
                    appended += 1;
                }
                cluster.run(replica);
            }
            14..=29 if !cluster.network.is_empty() => {
                // Mostly in order, sometimes not.
                let reach = if random.below(5) == 0 { cluster.network.len() } else { 1 };
                cluster.deliver(random.below(reach));
            }
            30..=34 => cluster.write(replica),
            35 if !cluster.network.is_empty() => {
                let at = random.below(cluster.network.len());
                if random.below(2) == 0 {
                    cluster.network.remove(at);
                } else {
                    let copy = cluster.network[at].clone();
                    cluster.network.push(copy);
                }
            }
            36 => {
                let cut = random.below(3) == 0;
                cluster.cut[replica as usize - 1] = cut;
            }
            37 if random.below(3) == 0 => {
                let torn = random.below(cluster.at(replica).wal.undurable() + 1);
                cluster.crash(replica, torn);
                seen[replica as usize - 1] = (0, RaftIndex(1));
            }
            38 => {
                for _ in 0..12 {
                    cluster.at(replica).shard.tick();
                    cluster.run(replica);
                }
            }
            _ => {}
        }
        observe(&cluster, &mut seen, &mut committed, &mut leaders);
    }
    cluster.cut = vec![false; 3];
    for _ in 0..80 {
        cluster.tick();
        cluster.settle();
    }
    let leader = cluster.ready_leader().expect("after healing somebody leads");
    cluster.at(leader).append("end");
    cluster.settle();
    cluster.tick();
    cluster.tick();
    cluster.settle();
    observe(&cluster, &mut seen, &mut committed, &mut leaders);
    let (last, (_, end)) = committed.last_key_value().unwrap();
    assert_eq!(end, b"end");
    for (_, applied) in &seen {
        assert_eq!(applied, last, "after healing every replica has everything");
    }
    assert!(appended > 0 || committed.len() > 1);
}

#[test]
fn replicas_agree_whatever_happens_between_them() {
    for seed in 0..150 {
        let run = std::panic::catch_unwind(|| random_cluster(seed));
        assert!(run.is_ok(), "random_cluster({seed}) fails");
    }
}
