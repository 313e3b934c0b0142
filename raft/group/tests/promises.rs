//! What a leader can say beyond "committed", and how soon there is another one: copies on more voters than
//! a majority, and a leader whose connections broke.

mod node;

use node::*;
use raft_group::*;

/// Numbers of voters of which was told that they have the entry at `index`.
fn copied(cluster: &mut Cluster, replica: u64, index: RaftIndex) -> Vec<usize> {
    let heard = cluster.at(replica).heard.borrow();
    let copied = heard.copied.iter().filter(|copied| copied.index >= index);
    copied.map(|copied| copied.voters).collect()
}

fn last_index(cluster: &mut Cluster, replica: u64) -> RaftIndex {
    cluster.at(replica).shard.status(GROUP).unwrap().last_index
}

#[test]
fn a_leader_tells_when_every_voter_has_an_entry_and_not_before() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect(1);
    cluster.cut[2] = true;
    cluster.at(1).append("a");
    cluster.settle();
    let index = last_index(&mut cluster, 1);
    cluster.at(1).shard.want_copies(GROUP, index, 3);
    cluster.settle();
    assert_eq!(cluster.at(1).applied_text(), ["a"], "it is committed");
    assert_eq!(copied(&mut cluster, 1, index), [0; 0], "and one voter lacks it");
    cluster.cut[2] = false;
    while copied(&mut cluster, 1, index).is_empty() {
        cluster.tick();
        cluster.settle();
    }
    assert_eq!(copied(&mut cluster, 1, index), [3]);
}

#[test]
fn each_number_of_copies_is_told_for_itself_and_what_is_there_already_at_once() {
    let mut cluster = Cluster::new(5, 1);
    cluster.elect(1);
    cluster.cut[4] = true;
    cluster.at(1).append("a");
    cluster.settle();
    let index = last_index(&mut cluster, 1);
    for voters in [4, 5, 9] {
        cluster.at(1).shard.want_copies(GROUP, index, voters);
    }
    cluster.settle();
    assert_eq!(copied(&mut cluster, 1, index), [4]);
    cluster.cut[4] = false;
    while copied(&mut cluster, 1, index).len() < 3 {
        cluster.tick();
        cluster.settle();
    }
    assert_eq!(copied(&mut cluster, 1, index)[1..], [5, 9], "9 is all there are");
}

#[test]
fn a_follower_has_no_copies_to_tell_of() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect(1);
    let index = last_index(&mut cluster, 2);
    cluster.at(2).shard.want_copies(GROUP, index, 3);
    cluster.settle();
    assert_eq!(copied(&mut cluster, 2, index), [0; 0]);
}

/// Ticks until another replica than `old` leads.
fn ticks_until_another_leads(cluster: &mut Cluster, old: u64) -> usize {
    for ticks in 0..60 {
        if cluster.ready_leader().is_some_and(|leader| leader != old) {
            return ticks;
        }
        cluster.tick();
        cluster.settle();
    }
    panic!("nobody took over");
}

#[test]
fn a_leader_whose_connections_broke_is_replaced_within_a_few_ticks() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(3, seed);
        cluster.elect(1);
        cluster.cut[0] = true;
        for follower in [2, 3] {
            cluster.at(follower).shard.suspect(GROUP, ReplicaId(1));
        }
        let ticks = ticks_until_another_leads(&mut cluster, 1);
        assert!(ticks <= 3, "it took {ticks} ticks");
    }
}

#[test]
fn a_leader_whose_followers_wait_for_their_disks_stays() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect(1);
    cluster.at(1).append("a");
    for _ in 0..60 {
        cluster.tick();
        while !cluster.network.is_empty() {
            cluster.deliver(0);
        }
        assert_eq!(cluster.ready_leader(), Some(1));
    }
    assert!(cluster.at(2).wal.is_writing() && cluster.at(3).wal.is_writing());
    assert_eq!(cluster.at(1).applied_text(), [""; 0], "nobody claims what is not durable");
    cluster.settle();
    assert_eq!(cluster.at(1).applied_text(), ["a"]);
}

#[test]
fn a_follower_whose_log_is_too_short_leaves_it_to_the_other_one() {
    for shorter in [2, 3] {
        let mut cluster = Cluster::new(3, 1);
        cluster.elect(1);
        cluster.cut[shorter as usize - 1] = true;
        cluster.at(1).append("a");
        cluster.settle();
        cluster.cut[shorter as usize - 1] = false;
        cluster.cut[0] = true;
        for follower in [2, 3] {
            cluster.at(follower).shard.suspect(GROUP, ReplicaId(1));
        }
        let ticks = ticks_until_another_leads(&mut cluster, 1);
        assert!(ticks <= 5, "it took {ticks} ticks");
        assert_eq!(cluster.at(5 - shorter).applied_text(), ["a"]);
    }
}

#[test]
fn one_replica_that_lost_its_connection_does_not_depose_a_leader_that_others_hear() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect(1);
    let term = cluster.at(1).shard.status(GROUP).unwrap().term;
    cluster.at(2).shard.suspect(GROUP, ReplicaId(1));
    for _ in 0..60 {
        cluster.tick();
        cluster.settle();
    }
    assert_eq!(cluster.ready_leader(), Some(1));
    assert_eq!(cluster.at(1).shard.status(GROUP).unwrap().term, term);
    let follows = cluster.at(2).shard.status(GROUP).unwrap().leadership.leadership;
    assert_eq!(follows, Leadership::Following(Some(ReplicaId(1))));
}

#[test]
fn suspicion_of_somebody_else_changes_nothing() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect(1);
    cluster.at(2).shard.suspect(GROUP, ReplicaId(3));
    cluster.at(1).shard.suspect(GROUP, ReplicaId(1));
    cluster.settle();
    let follows = cluster.at(2).shard.status(GROUP).unwrap().leadership.leadership;
    assert_eq!(follows, Leadership::Following(Some(ReplicaId(1))));
    assert_eq!(cluster.ready_leader(), Some(1));
}
