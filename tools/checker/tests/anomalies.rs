//! Each anomaly shown by a small history and caught; the histories around it that are no anomaly
//! pass.

use checker::*;

/// A history with one partition, times counting up by themselves.
struct Story {
    b: HistoryBuilder,
    t: PartitionId,
    time: u64,
}

impl Story {
    fn new() -> Self {
        let mut b = History::builder();
        let t = b.partition("t-0");
        Self { b, t, time: 0 }
    }

    fn tick(&mut self) -> u64 {
        self.time += 10;
        self.time
    }

    fn send(&mut self, process: u32, value: u64, outcome: Outcome, offset: Option<i64>) -> OpId {
        let time = self.tick();
        let op = self.b.invoke(process, OpKind::Send, time);
        self.b.send(op, self.t, value);
        if let Some(offset) = offset {
            self.b.acknowledged(op, self.t, value, offset);
        }
        let time = self.tick();
        self.b.complete(op, outcome, time);
        op
    }

    fn sent(&mut self, value: u64, offset: i64) -> OpId {
        self.send(1, value, Outcome::Ok, Some(offset))
    }

    fn poll(&mut self, process: u32, reads: &[(i64, u64)]) -> OpId {
        self.poll_as(process, reads, Assignment::Assigned, false)
    }

    fn poll_as(&mut self, process: u32, reads: &[(i64, u64)], a: Assignment, reb: bool) -> OpId {
        let time = self.tick();
        let op = self.b.invoke(process, OpKind::Poll, time);
        for (offset, value) in reads {
            self.b.read(op, self.t, *offset, *value);
        }
        self.b.polled_as(op, a, reb);
        let time = self.tick();
        self.b.complete(op, Outcome::Ok, time);
        op
    }

    fn told(&mut self, process: u32, kind: OpKind, what: Observation) -> OpId {
        let time = self.tick();
        let op = self.b.invoke(process, kind, time);
        self.b.observe(op, what);
        let time = self.tick();
        self.b.complete(op, Outcome::Ok, time);
        op
    }

    fn finish(self) -> Report {
        check(&self.b.finish())
    }

    #[track_caller]
    fn expect(self, kinds: &[AnomalyKind]) -> Report {
        let report = self.finish();
        let found: Vec<AnomalyKind> = report.anomalies.iter().map(Anomaly::kind).collect();
        assert_eq!(found, kinds, "{:?}", report.anomalies);
        report
    }
}

#[test]
fn a_clean_history_is_valid() {
    let mut s = Story::new();
    for v in 0..10 {
        s.sent(v, v as i64);
    }
    s.poll(2, &[(0, 0), (1, 1), (2, 2)]);
    s.poll(2, &[(3, 3), (4, 4)]);
    s.poll(3, &(0..10).map(|v| (v as i64, v)).collect::<Vec<_>>());
    s.b.read_to_the_end();
    let report = s.expect(&[]);
    assert_eq!((report.metrics.sent_ok, report.metrics.seen), (10, 10));
}

#[test]
fn two_values_at_one_offset_are_inconsistent() {
    let mut s = Story::new();
    s.sent(1, 0);
    s.sent(2, 1);
    s.poll(2, &[(0, 1), (1, 2)]);
    s.poll(3, &[(0, 2)]);
    let report = s.finish();
    assert_eq!(report.count(AnomalyKind::InconsistentOffsets), 1, "{:?}", report.anomalies);
}

#[test]
fn an_acknowledged_offset_where_another_value_lives_is_inconsistent() {
    let mut s = Story::new();
    s.sent(1, 0);
    s.sent(2, 0);
    s.poll(2, &[(0, 1), (1, 2)]);
    let report = s.finish();
    assert_eq!(report.count(AnomalyKind::InconsistentOffsets), 1, "{:?}", report.anomalies);
    assert_eq!(report.count(AnomalyKind::Duplicate), 1, "{:?}", report.anomalies);
}

#[test]
fn one_value_at_two_offsets_is_a_duplicate_with_idempotent_producers_only() {
    let mut s = Story::new();
    s.sent(1, 0);
    s.sent(2, 1);
    s.poll(2, &[(0, 1), (1, 2), (2, 1)]);
    let history = s.b.finish();
    assert_eq!(check(&history).count(AnomalyKind::Duplicate), 1);
    let lenient = check_with(&history, Options { idempotent: false, ..Options::default() });
    assert_eq!(lenient.count(AnomalyKind::Duplicate), 0);
    assert_eq!(lenient.metrics.allowed[&AnomalyKind::Duplicate], 1);
}

#[test]
fn a_read_of_a_send_that_failed_is_an_aborted_read() {
    let mut s = Story::new();
    s.sent(9, 0);
    s.send(1, 1, Outcome::Fail, None);
    s.poll(2, &[(0, 9), (1, 1)]);
    s.expect(&[AnomalyKind::AbortedRead]);
}

#[test]
fn a_read_of_a_send_nobody_knows_about_is_fine() {
    let mut s = Story::new();
    s.sent(9, 0);
    s.send(1, 1, Outcome::Info, None);
    s.poll(2, &[(0, 9), (1, 1)]);
    s.expect(&[]);
}

#[test]
fn a_read_of_what_nobody_sent_is_a_phantom() {
    let mut s = Story::new();
    s.sent(1, 0);
    s.poll(2, &[(0, 1), (1, 77)]);
    s.expect(&[AnomalyKind::Phantom]);
}

#[test]
fn an_acknowledged_value_that_all_readers_passed_over_is_lost() {
    let mut s = Story::new();
    s.sent(1, 0);
    let writer = s.sent(2, 1);
    s.sent(3, 2);
    s.poll(2, &[(0, 1)]);
    s.poll(3, &[(2, 3)]);
    let t = s.t;
    let report = s.expect(&[AnomalyKind::LostWrite]);
    assert_eq!(report.anomalies[0], Anomaly::LostWrite { partition: t, value: 2, writer });
}

#[test]
fn a_value_behind_all_reads_is_not_lost_and_a_failed_one_never_is() {
    let mut s = Story::new();
    s.sent(1, 0);
    s.send(1, 5, Outcome::Fail, None);
    s.sent(2, 1);
    s.poll(2, &[(0, 1)]);
    s.expect(&[]);
}

#[test]
fn an_unknown_send_of_which_a_part_was_read_must_be_there_whole() {
    let mut s = Story::new();
    s.sent(9, 0);
    let time = s.tick();
    let op = s.b.invoke(1, OpKind::Send, time);
    for (value, offset) in [(1, 1), (2, 2)] {
        s.b.send(op, s.t, value);
        s.b.acknowledged(op, s.t, value, offset);
    }
    let time = s.tick();
    s.b.complete(op, Outcome::Info, time);
    s.sent(3, 3);
    s.poll(2, &[(0, 9)]);
    s.poll(3, &[(2, 2), (3, 3)]);
    s.expect(&[AnomalyKind::LostWrite]);
}

#[test]
fn an_acknowledged_value_that_the_reads_to_the_end_miss_is_unseen() {
    let mut s = Story::new();
    s.sent(1, 0);
    s.sent(2, 1);
    s.poll(2, &[(0, 1)]);
    s.b.read_to_the_end();
    s.expect(&[AnomalyKind::Unseen]);
}

#[test]
fn what_somebody_saw_and_the_last_reader_does_not_find_has_vanished() {
    let story = || {
        let mut s = Story::new();
        s.sent(1, 0);
        s.sent(2, 1);
        s.poll(2, &[(0, 1), (1, 2)]);
        s.poll(3, &[(0, 1)]);
        s
    };
    let mut s = story();
    s.b.read_to_the_end_by(3);
    s.expect(&[AnomalyKind::Vanished]);
    let mut s = story();
    s.poll(3, &[(1, 2)]);
    s.b.read_to_the_end_by(3);
    s.expect(&[]);
    let mut s = story();
    let t = s.t;
    s.told(3, OpKind::Observe, Observation::LogStart { partition: t, offset: 2 });
    s.b.read_to_the_end_by(3);
    s.expect(&[]);
}

#[test]
fn deleted_records_are_neither_lost_nor_unseen_nor_skipped() {
    let mut s = Story::new();
    for v in 0..6 {
        s.sent(v, v as i64);
    }
    s.poll(2, &[(0, 0)]);
    let t = s.t;
    s.told(3, OpKind::Observe, Observation::LogStart { partition: t, offset: 4 });
    s.poll(2, &[(4, 4), (5, 5)]);
    s.b.read_to_the_end();
    s.expect(&[]);
}

#[test]
fn a_transaction_that_reads_its_own_writes_reads_too_early() {
    let mut s = Story::new();
    let op = s.b.invoke(1, OpKind::Transaction, 1);
    s.b.send(op, s.t, 5);
    s.b.read(op, s.t, 0, 5);
    s.b.complete(op, Outcome::Ok, 2);
    s.expect(&[AnomalyKind::PrecommittedRead]);
}

#[test]
fn a_jump_inside_one_poll_is_an_internal_skip_unless_its_group_rebalanced() {
    for (rebalanced, kinds) in [(false, &[AnomalyKind::IntPollSkip][..]), (true, &[][..])] {
        let mut s = Story::new();
        for v in 0..4 {
            s.sent(v, v as i64);
        }
        s.poll(3, &[(0, 0), (1, 1), (2, 2), (3, 3)]);
        s.poll_as(2, &[(0, 0), (3, 3)], Assignment::Subscribed, rebalanced);
        s.expect(kinds);
    }
}

#[test]
fn going_back_inside_one_poll_is_internally_nonmonotonic() {
    let mut s = Story::new();
    s.sent(1, 0);
    s.sent(2, 1);
    s.poll(2, &[(0, 1), (1, 2), (0, 1)]);
    s.expect(&[AnomalyKind::IntNonmonotonicPoll]);
}

#[test]
fn a_jump_between_two_polls_is_a_skip_for_assigned_consumers() {
    for (a, kinds) in
        [(Assignment::Assigned, &[AnomalyKind::PollSkip][..]), (Assignment::Subscribed, &[][..])]
    {
        let mut s = Story::new();
        for v in 0..4 {
            s.sent(v, v as i64);
        }
        s.poll(3, &[(0, 0), (1, 1), (2, 2), (3, 3)]);
        s.poll_as(2, &[(0, 0)], a, false);
        s.poll_as(2, &[(3, 3)], a, false);
        s.expect(kinds);
    }
}

#[test]
fn going_back_between_two_polls_is_nonmonotonic_unless_the_consumer_was_assigned_anew() {
    for (assign, kinds) in [(false, &[AnomalyKind::NonmonotonicPoll][..]), (true, &[][..])] {
        let mut s = Story::new();
        s.sent(1, 0);
        s.sent(2, 1);
        s.poll(2, &[(0, 1), (1, 2)]);
        if assign {
            let partition = Some(s.t);
            s.told(2, OpKind::Assign, Observation::Assigned { partition, from_start: true });
        }
        s.poll(2, &[(0, 1)]);
        s.expect(kinds);
    }
}

#[test]
fn a_gap_of_offsets_without_records_is_no_skip() {
    let mut s = Story::new();
    s.sent(1, 0);
    s.sent(2, 7);
    s.poll(2, &[(0, 1)]);
    s.poll(2, &[(7, 2)]);
    s.expect(&[]);
}

#[test]
fn sends_of_one_operation_that_lie_in_another_order_are_internally_nonmonotonic() {
    let mut s = Story::new();
    let op = s.b.invoke(1, OpKind::Send, 1);
    for (value, offset) in [(1, 1), (2, 0)] {
        s.b.send(op, s.t, value);
        s.b.acknowledged(op, s.t, value, offset);
    }
    s.b.complete(op, Outcome::Ok, 2);
    s.poll(2, &[(0, 2), (1, 1)]);
    s.expect(&[AnomalyKind::IntNonmonotonicSend]);
}

#[test]
fn sends_one_after_the_other_that_lie_in_another_order_are_nonmonotonic_if_they_did_not_overlap() {
    let mut s = Story::new();
    s.sent(1, 1);
    s.sent(2, 0);
    s.poll(2, &[(0, 2), (1, 1)]);
    s.expect(&[AnomalyKind::NonmonotonicSend]);

    let mut s = Story::new();
    let a = s.b.invoke(1, OpKind::Send, 1);
    let b = s.b.invoke(1, OpKind::Send, 2);
    for (op, value, offset) in [(a, 1, 1), (b, 2, 0)] {
        s.b.send(op, s.t, value);
        s.b.acknowledged(op, s.t, value, offset);
        s.b.complete(op, Outcome::Ok, 5);
    }
    s.poll(2, &[(0, 2), (1, 1)]);
    s.expect(&[]);
}

#[test]
fn a_watermark_that_goes_back_is_a_regression_for_one_client_in_sequence() {
    for (process, kinds) in [(1, &[AnomalyKind::OffsetRegression][..]), (2, &[][..])] {
        let mut s = Story::new();
        let partition = s.t;
        s.told(1, OpKind::Observe, Observation::HighWatermark { partition, offset: 9 });
        s.told(process, OpKind::Observe, Observation::HighWatermark { partition, offset: 8 });
        s.expect(kinds);
    }
    let mut s = Story::new();
    let partition = s.t;
    s.told(1, OpKind::Observe, Observation::LastStableOffset { partition, offset: 9 });
    s.told(1, OpKind::Observe, Observation::HighWatermark { partition, offset: 8 });
    s.told(1, OpKind::Observe, Observation::LastStableOffset { partition, offset: 7 });
    s.expect(&[AnomalyKind::OffsetRegression]);
}

#[test]
fn a_leader_epoch_that_goes_back_is_a_regression() {
    let mut s = Story::new();
    let partition = s.t;
    s.told(1, OpKind::Observe, Observation::LeaderEpoch { partition, epoch: 3 });
    s.told(1, OpKind::Observe, Observation::LeaderEpoch { partition, epoch: 2 });
    s.expect(&[AnomalyKind::LeaderEpochRegression]);
}

#[test]
fn a_committed_offset_that_is_told_lower_is_a_regression() {
    let mut s = Story::new();
    let (partition, group) = (s.t, s.b.group("g"));
    let generation = 4;
    let commit = |offset| Observation::Committed { group, generation, partition, offset };
    let fetch = |offset| Observation::FetchedCommit { group, generation, partition, offset };
    s.told(1, OpKind::Commit, commit(5));
    s.told(1, OpKind::Commit, commit(8));
    s.told(1, OpKind::FetchCommitted, fetch(8));
    s.told(1, OpKind::FetchCommitted, fetch(5));
    s.told(1, OpKind::FetchCommitted, fetch(-1));
    s.expect(&[AnomalyKind::GroupOffsetRegression, AnomalyKind::GroupOffsetRegression]);
}

#[test]
fn a_committed_offset_that_was_set_back_may_be_told() {
    let mut s = Story::new();
    let (partition, group) = (s.t, s.b.group("g"));
    let generation = 4;
    let commit = |offset| Observation::Committed { group, generation, partition, offset };
    let fetch = |offset| Observation::FetchedCommit { group, generation, partition, offset };
    s.told(1, OpKind::Commit, commit(8));
    s.told(1, OpKind::Commit, commit(5));
    s.told(1, OpKind::FetchCommitted, fetch(5));
    // Nobody knows when this one took effect.
    let op = s.b.invoke(2, OpKind::Commit, 1);
    s.b.observe(op, commit(3));
    s.told(1, OpKind::FetchCommitted, fetch(3));
    s.expect(&[]);
}

#[test]
fn a_record_with_other_bytes_is_corrupt() {
    let mut s = Story::new();
    let partition = s.t;
    s.told(1, OpKind::Poll, Observation::Corrupt { partition, offset: 3 });
    s.expect(&[AnomalyKind::Corrupt]);
}

#[test]
fn a_kind_of_operation_that_never_succeeded_proves_nothing() {
    let mut s = Story::new();
    s.sent(1, 0);
    let op = s.b.invoke(2, OpKind::Poll, 1);
    s.b.complete(op, Outcome::Info, 2);
    s.expect(&[AnomalyKind::NeverOk]);
}

#[test]
fn a_send_without_acknowledgement_is_never_lost() {
    let mut s = Story::new();
    s.sent(1, 0);
    let op = s.b.invoke(1, OpKind::Send, 50);
    s.b.send(op, s.t, 2);
    s.b.unacked(op, 51);
    s.sent(3, 2);
    s.poll(2, &[(0, 1), (2, 3)]);
    s.b.read_to_the_end();
    s.expect(&[]);
}

#[test]
fn staleness_is_measured_from_the_first_evidence_to_the_poll_that_missed_it() {
    let mut s = Story::new();
    s.sent(1, 0);
    s.sent(2, 1);
    s.time = 1000;
    s.poll(2, &[(0, 1)]);
    s.poll(3, &[(0, 1), (1, 2)]);
    let report = s.expect(&[]);
    assert_eq!(report.metrics.worst_realtime_lag_ns, 1010 - 40);
}
