//! Records that are numbers, for tests that count what was acknowledged and what is there while nodes come and go.

use std::collections::BTreeMap;

use client::{Client, Codec, NewRecord, Start};

use super::eventually;

/// Writes one number, again and again until it is acknowledged; how often. What was sent more than once may be there more
/// than once.
pub fn write_number(address: &str, topic: &str, number: u32) -> u64 {
    let mut sends = 0;
    eventually("the record is acknowledged", || {
        let mut client = Client::connect(address).ok()?;
        let mut writer = client.writer(topic, None, Codec::None).ok()?;
        let key = number.to_string().into_bytes();
        let record = NewRecord { key: Some(key.clone()), value: Some(key), ..Default::default() };
        let written = writer.write(&record).and_then(|()| writer.flush());
        sends += writer.sends();
        written.ok()
    });
    sends
}

/// All numbers of a topic, and how often each is there.
pub fn read_numbers(address: &str, topic: &str) -> BTreeMap<u32, usize> {
    eventually("everything is read", || {
        let mut client = Client::connect(address).ok()?;
        let mut reader = client.reader(topic, None, Start::Beginning).ok()?;
        let mut seen = BTreeMap::new();
        while reader.lag().ok()? > 0 {
            for record in reader.read().ok()? {
                let value = String::from_utf8(record.value.expect("a value")).expect("text");
                *seen.entry(value.parse().expect("a number")).or_default() += 1;
            }
        }
        Some(seen)
    })
}
