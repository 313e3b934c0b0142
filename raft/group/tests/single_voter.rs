//! One voter on the in-memory WAL: what is written when, and what the broker hears.

mod node;

use std::pin::pin;

use node::*;
use raft_group::*;

#[test]
fn a_new_group_is_ready_after_one_write() {
    let mut node = Node::new();
    node.shard.create_group(GROUP, Membership::of_voters([ME])).unwrap();
    assert_eq!(
        node.shard.open_window(GROUP, Durability::Disk).err(),
        Some(ProposeError::NotReady(GROUP)),
        "it leads already, but nothing of its term is durable"
    );
    let shard = std::rc::Rc::clone(&node.shard);
    let mut ready = pin!(shard.ready(GROUP));
    assert!(poll_while_woken(ready.as_mut()).is_none());
    node.run();
    assert_eq!(
        node.news(),
        "  frame 7 Origin 1/1
  frame 7 HardState 2/1
  frame 7 Entry(Empty) 2/2
  leadership 7 term 2 Elected
"
    );
    node.write();
    assert_eq!(
        node.news(),
        "  apply 7 2/2 Empty ''
  leadership 7 term 2 Ready
"
    );
    assert!(poll_while_woken(ready.as_mut()).is_some());
}

#[test]
fn an_idle_shard_writes_at_once_and_a_busy_one_collects() {
    let mut node = Node::ready();
    let other = RaftGroupId(8);
    node.shard.create_group(other, Membership::of_voters([ME])).unwrap();
    node.finish();
    node.news();
    let writes = node.wal.writes();

    node.append("a");
    node.run();
    assert_eq!(node.news(), "  frame 7 Entry(Inline) 2/3\n");
    node.append("b");
    node.append("c");
    node.append_to(other, "x", Durability::Disk);
    node.run();
    assert_eq!(node.news(), "", "a write is in flight: windows stay open");

    node.write();
    assert_eq!(
        node.news(),
        "  frame 7 Entry(Inline) 2/4
  frame 8 Entry(Inline) 2/3
  apply 7 2/3 Inline 'a' own
",
        "the next write starts, then the last one is delivered"
    );
    node.write();
    assert_eq!(
        node.news(),
        "  apply 7 2/4 Inline 'bc' own
  apply 8 2/3 Inline 'x' own
"
    );
    assert_eq!(node.wal.writes() - writes, 2, "two groups share each write");
}

#[test]
fn a_window_that_was_opened_in_vain_does_not_keep_its_place() {
    let mut node = Node::ready();
    node.news();
    drop(node.shard.open_window(GROUP, Durability::Disk).unwrap());
    node.shard.propose(GROUP, EntryKind::Control, b"control").unwrap();
    let ticket = node.append("a");
    node.finish();
    assert_eq!(ticket.index, RaftIndex(4), "the entry between took its place");
    let news = node.news();
    assert!(news.contains("apply 7 2/3 Control 'control' own"), "{news}");
    assert!(news.contains("apply 7 2/4 Inline 'a' own"), "{news}");
}

#[test]
fn memory_windows_are_accepted_while_a_write_is_in_flight() {
    let mut node = Node::ready();
    node.append("disk");
    node.run();
    node.news();
    let ticket = node.append_to(GROUP, "fast", Durability::Memory);
    node.run();
    assert_eq!(node.news(), "  frame 7 Entry(Inline) 2/4\n  accepted 7 2/4\n");
    assert_eq!(node.heard.borrow().accepted[0].ticket, ticket);
    assert_eq!(&node.heard.borrow().accepted[0].payload[..], b"fast");
    node.append_to(GROUP, "slow", Durability::Disk);
    node.run();
    assert_eq!(node.news(), "");
    node.write();
    assert_eq!(node.news(), "  frame 7 Entry(Inline) 2/5\n  apply 7 2/3 Inline 'disk' own\n");
    node.finish();
    assert_eq!(node.applied_text(), ["disk", "fast", "slow"]);
}

#[test]
fn a_ticket_names_the_term_and_index_that_the_entry_gets() {
    let mut node = Node::ready();
    let mut tickets = Vec::new();
    for round in 0..20 {
        tickets.push(node.append(&round.to_string()));
        if round % 3 == 0 {
            tickets.push(node.shard.propose(GROUP, EntryKind::Control, b"control").unwrap());
        }
        if round % 4 == 0 {
            node.run();
        }
    }
    node.finish();
    tickets.dedup();
    let heard = node.heard.borrow();
    let own: Vec<_> = heard.applied.iter().filter_map(|entry| entry.ticket).collect();
    assert_eq!(own, tickets);
    for entry in heard.applied.iter().filter(|entry| entry.ticket.is_some()) {
        let ticket = entry.ticket.unwrap();
        assert_eq!((ticket.term, ticket.index), (entry.term, entry.index));
    }
}

#[test]
fn a_full_window_and_a_full_queue_hold_the_caller_back_until_there_is_room() {
    let mut options = RaftOptions::new(ME, 0);
    options.window_bytes_max = 100;
    options.queued_bytes_max = 150;
    let mut node = Node::with(options, MemoryWal::in_steps());
    node.shard.create_group(GROUP, Membership::of_voters([ME])).unwrap();
    node.finish();
    node.append(&"a".repeat(80));
    node.run();
    node.append(&"b".repeat(90));
    let full = node.shard.open_window(GROUP, Durability::Disk).unwrap().append(&[0; 11]);
    assert_eq!(full, Err(WindowFull::Later { bytes: 11, room: 10 }));
    let shard = std::rc::Rc::clone(&node.shard);
    let mut room = pin!(shard.window_closed());
    assert!(poll_while_woken(room.as_mut()).is_none());
    node.write();
    assert!(poll_while_woken(room.as_mut()).is_some());
    node.append_to(GROUP, &"c".repeat(90), Durability::Memory);
    node.run();
    assert_eq!(
        node.shard.open_window(GROUP, Durability::Disk).err(),
        Some(ProposeError::Backlog { queued_bytes: 180, queued_bytes_max: 150 })
    );
    assert!(node.shard.propose(GROUP, EntryKind::Control, b"").is_err());
    let mut room = pin!(shard.window_closed());
    assert!(poll_while_woken(room.as_mut()).is_none());
    node.write();
    assert!(poll_while_woken(room.as_mut()).is_some());
    node.finish();
    node.append("d");
    node.finish();
    assert_eq!(node.applied_text().len(), 4);
    assert_eq!(node.shard.stats().queued_bytes, 0);
    assert_eq!(node.shard.stats().queued_frames, 0);
}

#[test]
fn an_empty_window_never_becomes_an_entry() {
    let mut node = Node::ready();
    node.news();
    drop(node.shard.open_window(GROUP, Durability::Memory).unwrap());
    node.run();
    assert_eq!(node.news(), "");
    assert!(!node.wal.is_writing());
    node.append("later");
    node.finish();
    assert_eq!(node.applied_text(), ["later"]);
}

#[test]
fn after_a_failed_write_nothing_is_applied_accepted_or_taken() {
    for memory_too in [false, true] {
        let mut node = Node::ready();
        let before = node.heard.borrow().lines.len();
        node.append("lost");
        node.run();
        if memory_too {
            node.append_to(GROUP, "memory", Durability::Memory);
        } else {
            node.append("waiting");
        }
        let shard = std::rc::Rc::clone(&node.shard);
        let mut settled = pin!(shard.settled());
        assert!(poll_while_woken(settled.as_mut()).is_none());
        node.wal.fail_write();
        node.run();
        assert!(matches!(node.result, Some(Err(_))), "{:?}", node.result);
        assert!(matches!(poll_while_woken(settled.as_mut()), Some(Err(_))));
        assert_eq!(node.heard.borrow().lines.len(), before);
        let refused = node.shard.open_window(GROUP, Durability::Disk).err();
        assert_eq!(refused, Some(ProposeError::Stopped));
        let refused = node.shard.propose(GROUP, EntryKind::Control, b"x");
        assert_eq!(refused, Err(ProposeError::Stopped));
        assert!(node.shard.create_group(RaftGroupId(9), Membership::of_voters([ME])).is_err());
        assert!(poll_while_woken(pin!(node.shard.window_closed()).as_mut()).is_some());
    }
}

#[test]
fn a_restart_replays_everything_in_order_and_leads_a_later_term() {
    let mut node = Node::ready();
    for payload in ["a", "b", "c"] {
        node.append(payload);
        node.finish();
    }
    let mut node = Node::restart(RaftOptions::new(ME, 0), node.wal.crash(0));
    node.finish();
    assert_eq!(
        node.heard.borrow().lines,
        [
            "leadership 7 term 3 Elected",
            "apply 7 2/2 Empty ''",
            "apply 7 2/3 Inline 'a'",
            "apply 7 2/4 Inline 'b'",
            "apply 7 2/5 Inline 'c'",
            "apply 7 3/6 Empty ''",
            "leadership 7 term 3 Ready",
        ]
    );
    node.append("d");
    node.finish();
    assert_eq!(node.applied_text(), ["a", "b", "c", "d"]);
}

#[test]
fn a_removed_group_stays_away_after_a_restart() {
    let mut node = Node::ready();
    node.append("a");
    node.finish();
    node.shard.remove_group(GROUP).unwrap();
    assert_eq!(
        node.shard.open_window(GROUP, Durability::Disk).err(),
        Some(ProposeError::UnknownGroup(GROUP))
    );
    let undone = Node::restart(RaftOptions::new(ME, 0), node.wal.crash(0));
    assert!(undone.shard.status(GROUP).is_some(), "the removal was not durable");
    node.finish();
    assert_eq!(node.shard.stats(), ShardStats::default());
    let restarted = Node::restart(RaftOptions::new(ME, 0), node.wal.crash(0));
    assert_eq!(restarted.shard.statuses(), []);
    node.shard.create_group(GROUP, Membership::of_voters([ME])).unwrap();
    node.finish();
    let mut restarted = Node::restart(RaftOptions::new(ME, 0), node.wal.crash(0));
    restarted.finish();
    assert_eq!(restarted.applied_text(), [""; 0], "the entries of the first life are gone");
}

#[test]
fn stop_writes_and_delivers_what_is_open_and_then_returns() {
    let mut node = Node::ready();
    node.append("a");
    node.run();
    node.append("b");
    node.shard.stop();
    node.run();
    assert!(node.result.is_none());
    node.write();
    node.write();
    assert!(matches!(node.result, Some(Ok(()))));
    assert_eq!(node.applied_text(), ["a", "b"]);
}

#[test]
fn a_broker_may_propose_from_within_apply() {
    struct Echo(std::rc::Rc<RaftShard<MemoryWal>>, Recorder);
    impl Apply for Echo {
        fn apply(&mut self, committed: Committed) {
            if &committed.payload[..] == b"ping" {
                let mut window = self.0.open_window(GROUP, Durability::Disk).unwrap();
                window.append(b"pong").unwrap();
                drop(window);
                self.0.propose(GROUP, EntryKind::Control, b"bell").unwrap();
            }
            self.1.apply(committed);
        }
    }
    let wal = std::rc::Rc::new(MemoryWal::new());
    let shard = RaftShard::new(RaftOptions::new(ME, 0), wal);
    let recorder = Recorder::default();
    let mut run = Box::pin({
        let (shard, echo) =
            (std::rc::Rc::clone(&shard), Echo(std::rc::Rc::clone(&shard), recorder.clone()));
        async move { shard.run(echo, NoPeers).await }
    });
    shard.create_group(GROUP, Membership::of_voters([ME])).unwrap();
    assert!(poll_while_woken(run.as_mut()).is_none());
    shard.open_window(GROUP, Durability::Disk).unwrap().append(b"ping").unwrap();
    assert!(poll_while_woken(run.as_mut()).is_none());
    let payloads: Vec<_> = recorder.0.borrow().applied.iter().map(|e| e.payload.clone()).collect();
    assert_eq!(payloads, ["", "ping", "pong", "bell"]);
}

#[test]
fn impossible_members_are_refused() {
    let node = Node::new();
    let bad = [
        Membership::default(),
        Membership::of_voters([ReplicaId(0)]),
        Membership::of_voters([ME, ME]),
        Membership { learners: vec![ME], ..Membership::of_voters([ME]) },
        Membership { learners_next: vec![ReplicaId(2)], ..Membership::of_voters([ME]) },
        Membership { auto_leave: true, ..Membership::of_voters([ME]) },
    ];
    for membership in bad {
        let result = node.shard.create_group(GROUP, membership.clone());
        assert!(matches!(result, Err(GroupError::BadMembership(GROUP))), "{membership:?}");
    }
}
