//! Histories as JSON lines, and what a large one looks like.

use checker::json::{self, Event, EventOp, EventType, Told};
use checker::{AnomalyKind, History, OpKind, Outcome, check};

fn event(id: u64, event_type: EventType, op: EventOp, time: u64) -> Event {
    Event {
        id,
        process: id as u32 % 2,
        time,
        event_type,
        op,
        sends: vec![],
        reads: vec![],
        told: vec![],
        subscribed: false,
        rebalanced: false,
    }
}

fn lines(events: &[Event]) -> Vec<u8> {
    let mut out = Vec::new();
    events.iter().for_each(|e| json::write(&mut out, e).unwrap());
    out
}

fn story() -> Vec<Event> {
    let sent = |offset| vec![("t-0".to_owned(), 41, offset)];
    vec![
        Event { sends: sent(None), ..event(7, EventType::Invoke, EventOp::Send, 100) },
        Event { sends: sent(Some(3)), ..event(7, EventType::Ok, EventOp::Send, 180) },
        event(8, EventType::Invoke, EventOp::Poll, 200),
        Event {
            reads: vec![("t-0".to_owned(), 3, 41)],
            told: vec![Told::HighWatermark("t-0".to_owned(), 4)],
            ..event(8, EventType::Ok, EventOp::Poll, 230)
        },
        Event {
            sends: vec![("t-1".to_owned(), 1, None)],
            ..event(9, EventType::Invoke, EventOp::Send, 300)
        },
    ]
}

#[test]
fn a_history_of_lines_is_read_and_judged() {
    let h = json::read(&lines(&story())[..], true).unwrap();
    assert_eq!(h.ops().len(), 3);
    assert_eq!(h.ops()[2].outcome, Outcome::Info);
    assert_eq!(h.sends(&h.ops()[2])[0].value, 1, "what was begun keeps its values");
    assert!(check(&h).is_valid(), "{}", check(&h).describe(&h, 9));
    let mut story = story();
    story[3].reads[0].2 = 40;
    let h = json::read(&lines(&story)[..], false).unwrap();
    let report = check(&h);
    assert_eq!(report.count(AnomalyKind::Phantom), 1);
    assert!(report.describe(&h, 9).contains("t-0: "), "{}", report.describe(&h, 9));
}

#[test]
fn a_cut_last_line_is_ignored_and_a_bad_line_before_it_is_an_error() {
    let whole = lines(&story());
    let cut = &whole[..whole.len() - 9];
    assert_eq!(json::read(cut, false).unwrap().ops().len(), 2);
    let mut bad = whole.clone();
    bad[3] = b'!';
    assert!(json::read(&bad[..], false).unwrap_err().to_string().starts_with("line 1"));
    let twice = [whole.clone(), whole].concat();
    assert!(json::read(&twice[..], false).unwrap_err().to_string().starts_with("line 10"));
}

#[test]
fn a_long_clean_history_over_many_partitions_is_valid() {
    let mut b = History::builder();
    let partitions: Vec<_> = (0..16).map(|i| b.partition(&format!("t-{i}"))).collect();
    for value in 0..100_000u64 {
        let partition = partitions[value as usize % 16];
        let offset = (value / 16) as i64;
        let op = b.invoke(value as u32 % 16, OpKind::Send, value * 10);
        b.send(op, partition, value);
        b.acknowledged(op, partition, value, offset);
        b.complete(op, Outcome::Ok, value * 10 + 5);
        let op = b.invoke(100 + value as u32 % 16, OpKind::Poll, value * 10 + 5);
        b.read(op, partition, offset, value);
        b.complete(op, Outcome::Ok, value * 10 + 9);
    }
    b.read_to_the_end();
    let h = b.finish();
    let report = check(&h);
    assert!(report.is_valid(), "{}", report.describe(&h, 5));
    assert_eq!((report.metrics.ops, report.metrics.seen), (200_000, 100_000));
}
