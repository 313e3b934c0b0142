//! A client that writes numbered records until it is told to stop or its node has ended, and remembers which of them
//! were acknowledged.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use client::{Client, ClientError, NewRecord};
use record::Codec;

use super::eventually;

const RECORD_BYTES: usize = 4_000;
const RECORDS_PER_REQUEST: u32 = 50;

/// Load on topic `t` with its two partitions. Errors that Kafka calls retriable are counted, another ends it.
pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU32>,
    refused: Arc<AtomicU32>,
    thread: JoinHandle<(BTreeSet<u32>, Option<ClientError>)>,
}

impl Load {
    /// Begins with record `first`.
    pub fn start(address: &str, first: u32) -> Load {
        let (stop, acknowledged, refused) = (
            Arc::<AtomicBool>::default(),
            Arc::<AtomicU32>::default(),
            Arc::<AtomicU32>::default(),
        );
        let (stopped, good, bad) = (stop.clone(), acknowledged.clone(), refused.clone());
        let address = address.to_owned();
        let run = move || {
            let mut taken = BTreeSet::new();
            let mut next = first;
            while !stopped.load(Ordering::Relaxed) {
                let numbers = next..next + RECORDS_PER_REQUEST;
                next = numbers.end;
                match send(&address, numbers.clone()) {
                    Ok(()) => {
                        good.fetch_add(RECORDS_PER_REQUEST, Ordering::Relaxed);
                        taken.extend(numbers);
                    }
                    Err(ClientError::Refused { code, .. }) if code.is_retriable() => {
                        bad.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(_) if stopped.load(Ordering::Relaxed) => break,
                    Err(error) => return (taken, Some(error)),
                }
            }
            (taken, None)
        };
        Load { stop, acknowledged, refused, thread: std::thread::spawn(run) }
    }

    /// Waits until so many more were acknowledged.
    pub fn progress(&self, more: u32) {
        let goal = self.acknowledged.load(Ordering::Relaxed) + more;
        eventually("more is acknowledged", || {
            (self.acknowledged.load(Ordering::Relaxed) >= goal).then_some(())
        });
    }

    /// Waits until a produce request was refused from now on.
    pub fn refusal(&self) {
        let before = self.refused.load(Ordering::Relaxed);
        eventually("produce is refused", || {
            (self.refused.load(Ordering::Relaxed) > before).then_some(())
        });
    }

    /// Stops it, while the node serves; what was acknowledged.
    pub fn end(self) -> BTreeSet<u32> {
        self.stop.store(true, Ordering::Relaxed);
        let (acknowledged, error) = self.thread.join().expect("it does not panic");
        assert!(error.is_none(), "an error that is not retriable: {error:?}");
        acknowledged
    }

    /// Waits until the node has gone away under it; what was acknowledged.
    pub fn cut_off(self) -> BTreeSet<u32> {
        let (acknowledged, error) = self.thread.join().expect("it does not panic");
        assert!(!matches!(error, Some(ClientError::Refused { .. })), "refused: {error:?}");
        acknowledged
    }
}

fn send(address: &str, numbers: Range<u32>) -> Result<(), ClientError> {
    let mut client = Client::connect(address)?;
    let partition = (numbers.start / RECORDS_PER_REQUEST % 2) as i32;
    let mut writer = client.writer("t", Some(partition), Codec::None)?;
    for number in numbers {
        let mut value = number.to_string().into_bytes();
        value.resize(RECORD_BYTES, b' ');
        writer.write(&NewRecord { value: Some(value), ..NewRecord::default() })?;
    }
    writer.flush().map(drop)
}
