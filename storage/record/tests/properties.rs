//! Properties over made and mutated batches: nothing panics, what is accepted can be read by a
//! consumer, and what was built comes back.

use proptest::prelude::*;
use record::{
    AppendRules, BatchBuilder, BatchView, Codec, CompressedCheck, Decompressor, ProducerFields,
    Records, Scratch, TimestampType, batches, validate, validate_for_append,
};

type Headers = Vec<(Vec<u8>, Option<Vec<u8>>)>;

#[derive(Debug, Clone)]
struct Made {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Headers,
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..max)
}

fn made() -> impl Strategy<Value = Made> {
    (
        prop_oneof![0i64..2_000_000_000_000, Just(-1), any::<i64>()],
        prop::option::of(bytes(20)),
        prop::option::of(bytes(200)),
        prop::collection::vec((bytes(8), prop::option::of(bytes(8))), 0..3),
    )
        .prop_map(|(timestamp, key, value, headers)| Made { timestamp, key, value, headers })
}

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(&Codec::ALL[..])
}

fn build(records: &[Made], codec: Codec) -> Vec<u8> {
    let producer = ProducerFields { producer_id: 9, producer_epoch: 2, base_sequence: 40 };
    let mut b = BatchBuilder::new().codec(codec).producer(producer);
    for r in records {
        let headers: Vec<_> = r.headers.iter().map(|(k, v)| (&k[..], v.as_deref())).collect();
        let size =
            b.size() + b.record_size(r.timestamp, r.key.as_deref(), r.value.as_deref(), &headers);
        b.push(r.timestamp, r.key.as_deref(), r.value.as_deref(), &headers).unwrap();
        assert_eq!(b.size(), size);
    }
    b.finish().unwrap().to_vec()
}

fn read(batch: &[u8]) -> Result<Vec<Made>, String> {
    let view = BatchView::parse(batch).map_err(|e| e.to_string())?;
    let codec = view.header.attributes.codec().map_err(|e| e.to_string())?;
    let mut d = Decompressor::default();
    let plain = d.decompress(codec, view.records_bytes()).map_err(|e| e.to_string())?;
    let records = Records::new(&view.header, plain);
    let times = records.clone();
    records
        .map(|r| {
            let r = r.map_err(|e| e.to_string())?;
            Ok(Made {
                timestamp: times.timestamp_of(&r),
                key: r.key.map(<[u8]>::to_vec),
                value: r.value.map(<[u8]>::to_vec),
                headers: r.headers.map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec))).collect(),
            })
        })
        .collect()
}

fn any_rules() -> impl Strategy<Value = AppendRules> {
    (any::<bool>(), any::<bool>(), prop::option::of(codec()), any::<bool>()).prop_map(
        |(append, compacted, compression, trusting)| AppendRules {
            timestamp_type: if append {
                TimestampType::LogAppendTime
            } else {
                TimestampType::CreateTime
            },
            now_ms: 2_000_000_000_000,
            compacted,
            compression,
            compressed_check: if trusting {
                CompressedCheck::HeaderOnly
            } else {
                CompressedCheck::Full
            },
            ..AppendRules::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_was_built_comes_back(records in prop::collection::vec(made(), 1..20), codec in codec()) {
        let batch = build(&records, codec);
        let header = validate(&batch).unwrap();
        prop_assert_eq!(header.records_count as usize, records.len());
        prop_assert_eq!(header.last_sequence(), 39 + records.len() as i32);
        prop_assert_eq!(header.max_timestamp, records.iter().map(|r| r.timestamp).max().unwrap().max(-1));
        prop_assert_eq!(format!("{:?}", read(&batch).unwrap()), format!("{:?}", records));
    }

    #[test]
    fn an_accepted_batch_can_be_read_and_has_a_true_header(
        records in prop::collection::vec(made(), 1..12),
        codec in codec(),
        rules in any_rules(),
    ) {
        let sent = build(&records, codec);
        if let Ok(v) = validate_for_append(&sent, &rules, &mut Scratch::default()) {
            let mut stored = Vec::new();
            v.write_to(&sent, &mut stored);
            prop_assert_eq!(validate(&stored).unwrap(), v.header);
            let back = read(&stored).unwrap();
            prop_assert_eq!(back.len(), records.len());
            prop_assert_eq!(v.header.last_sequence(), 39 + records.len() as i32);
            if rules.timestamp_type == TimestampType::LogAppendTime {
                prop_assert!(back.iter().all(|r| r.timestamp == rules.now_ms));
                prop_assert_eq!(v.log_append_time_ms(), rules.now_ms);
            }
            if let Some(target) = rules.compression {
                prop_assert_eq!(v.header.attributes.codec().unwrap(), target);
            }
        }
    }

    #[test]
    fn a_mutated_batch_never_panics_and_what_is_accepted_can_be_read(
        records in prop::collection::vec(made(), 1..6),
        codec in codec(),
        mut rules in any_rules(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in prop::option::of(any::<prop::sample::Index>()),
        right_checksum in any::<bool>(),
    ) {
        rules.compressed_check = CompressedCheck::Full;
        let mut sent = build(&records, codec);
        for (at, byte) in edits {
            let at = at.index(sent.len());
            sent[at] = byte;
        }
        if let Some(cut) = cut {
            let len = cut.index(sent.len());
            sent.truncate(len);
            if len >= 12 {
                sent[8..12].copy_from_slice(&(len as i32 - 12).to_be_bytes());
            }
        }
        if right_checksum && sent.len() > 61 {
            let crc = record::crc32c(&sent[21..]).to_be_bytes();
            sent[17..21].copy_from_slice(&crc);
        }
        for view in batches(&sent).flatten() {
            let _ = read(view.bytes());
        }
        if let Ok(v) = validate_for_append(&sent, &rules, &mut Scratch::new(1 << 20)) {
            let mut stored = Vec::new();
            v.write_to(&sent, &mut stored);
            prop_assert_eq!(validate(&stored).unwrap(), v.header);
            prop_assert!(read(&stored).is_ok(), "{:?}", read(&stored));
        }
    }

    #[test]
    fn random_bytes_never_panic(sent in bytes(300), rules in any_rules()) {
        let _ = validate_for_append(&sent, &rules, &mut Scratch::new(1 << 20));
        let _ = validate(&sent);
        let _ = batches(&sent).count();
    }
}

#[test]
fn sequences_wrap_from_the_largest_to_zero() {
    assert_eq!(record::increment_sequence(i32::MAX, 1), 0);
    assert_eq!(record::increment_sequence(i32::MAX - 1, 3), 1);
    assert_eq!(record::increment_sequence(5, 2), 7);
}

#[test]
fn concatenated_batches_are_walked_and_a_cut_one_ends_the_walk() {
    let one = build(&[Made { timestamp: 1, key: None, value: None, headers: vec![] }], Codec::None);
    let mut log = one.repeat(3);
    log.truncate(log.len() - 1);
    let walked: Vec<bool> = batches(&log).map(|b| b.is_ok()).collect();
    assert_eq!(walked, [true, true, false]);
}

#[test]
fn a_bomb_is_refused_as_too_large_and_a_trusted_header_is_not_decompressed() {
    let zeros = vec![0u8; 4 << 20];
    let mut b = BatchBuilder::new().codec(Codec::Zstd);
    b.push(5, None, Some(&zeros), &[]).unwrap();
    let sent = b.finish().unwrap().to_vec();
    let rules = AppendRules::default();
    let mut scratch = Scratch::new(1 << 20);
    let refusal = validate_for_append(&sent, &rules, &mut scratch).unwrap_err();
    assert_eq!(refusal.kind(), record::RefusalKind::MessageTooLarge);
    let trusting = AppendRules { compressed_check: CompressedCheck::HeaderOnly, ..rules };
    assert!(validate_for_append(&sent, &trusting, &mut scratch).is_ok());
    let compacted = AppendRules { compacted: true, ..trusting };
    assert!(validate_for_append(&sent, &compacted, &mut scratch).is_err());
}
