//! What Apache Kafka 4.3.1 answered to 488 good and broken batches, and what it stored, beside what
//! this crate says.
//!
//! `data/kafka-4.3-produce.tsv` was captured from a running broker: name, topic (a name for its
//! settings, see [`rules`]), Produce version, the broker's clock before, error code, indexes of record
//! errors, error message, the bytes sent, the bytes fetched back.

use record::{
    AppendRules, BatchView, Codec, Decompressor, RefusalKind, Scratch, TimestampType,
    validate_for_append,
};

/// Where this crate differs on purpose.
const MEANT: &[(&str, &str)] = &[
    // Kafka reads past the end of the batch and answers UNKNOWN_SERVER_ERROR.
    ("length 14", "cut inside its header: CORRUPT_MESSAGE"),
    ("length max", "longer than what is there: no batch, INVALID_RECORD"),
    // Kafka does not look at the length in front of a compressed record, consumers do.
    ("raw length one less", "a record whose length lies is refused"),
    ("raw length negative", "a record whose length lies is refused"),
    ("raw length beyond", "a record whose length lies is refused"),
    // Kafka rewrites these when it recompresses.
    ("raw to gzip header key not utf8", "header keys are copied as they are"),
    ("raw to gzip header value negative", "a null stays written as it was"),
];

fn is_meant(name: &str) -> bool {
    MEANT.iter().any(|(prefix, _)| name.starts_with(prefix))
}

fn unhex(s: &str) -> Vec<u8> {
    if s == "-" {
        return Vec::new();
    }
    (0..s.len()).step_by(2).map(|i| u8::from_str_radix(&s[i..i + 2], 16).unwrap()).collect()
}

fn rules(topic: &str, api_version: i16, now_ms: i64) -> AppendRules {
    let plain = AppendRules { api_version, now_ms, ..AppendRules::default() };
    let to = |codec| AppendRules { compression: Some(codec), ..plain };
    match topic {
        "plain" => plain,
        "append" => AppendRules { timestamp_type: TimestampType::LogAppendTime, ..plain },
        "compact" => AppendRules { compacted: true, ..plain },
        "small" => AppendRules { batch_bytes_max: 300, ..plain },
        "uncompressed" => to(Codec::None),
        "gzip" => to(Codec::Gzip),
        "snappy" => to(Codec::Snappy),
        "lz4" => to(Codec::Lz4),
        "zstd" => to(Codec::Zstd),
        other => panic!("{other}"),
    }
}

fn code(kind: RefusalKind) -> &'static str {
    match kind {
        RefusalKind::Unknown => "-1",
        RefusalKind::CorruptMessage => "2",
        RefusalKind::MessageTooLarge => "10",
        RefusalKind::InvalidTimestamp => "32",
        RefusalKind::UnsupportedCompressionType => "76",
        RefusalKind::InvalidRecord => "87",
    }
}

/// Header and plain records, for batches that two compressors wrote.
fn meaning(batch: &[u8]) -> String {
    let view = BatchView::parse(batch).unwrap();
    view.verify_crc().unwrap();
    let mut header = view.header;
    (header.size, header.crc) = (0, 0);
    let codec = header.attributes.codec().unwrap();
    let mut d = Decompressor::default();
    let plain = d.decompress(codec, view.records_bytes()).unwrap();
    format!("{header:?} {plain:02x?}")
}

#[test]
fn every_batch_gets_the_judgement_and_the_stored_form_that_kafka_gave_it() {
    let mut wrong = Vec::new();
    let mut scratch = Scratch::default();
    let table = include_str!("data/kafka-4.3-produce.tsv");
    for line in table.lines() {
        let f: Vec<&str> = line.split('\t').collect();
        let [name, topic, version, now, want, want_errors, message, sent, stored] = f[..] else {
            panic!("{line}")
        };
        if is_meant(name) {
            continue;
        }
        let (sent, stored) = (unhex(sent), unhex(stored));
        let mut rules = rules(topic, version.parse().unwrap(), now.parse().unwrap());
        if topic == "append" && !stored.is_empty() {
            rules.now_ms = BatchView::parse(&stored).unwrap().header.max_timestamp;
        }
        let got = validate_for_append(&sent, &rules, &mut scratch);
        let mut complain = |what: String| wrong.push(format!("{name} @{topic} v{version}: {what}"));
        match got {
            Err(refusal) => {
                if code(refusal.kind()) != want {
                    complain(format!("{refusal:?}, Kafka says {want}"));
                }
                if rules.api_version >= 8 {
                    let errors: Vec<String> =
                        refusal.record_errors().iter().map(|e| e.batch_index.to_string()).collect();
                    let errors = if errors.is_empty() { "-".into() } else { errors.join(",") };
                    if errors != want_errors {
                        complain(format!("record errors {errors}, Kafka says {want_errors}"));
                    }
                    if refusal.error_message().is_some() != (message != "-") {
                        complain(format!("message {:?}", refusal.error_message()));
                    }
                }
            }
            Ok(_) if want != "0" => complain(format!("accepted, Kafka says {want}")),
            Ok(validated) => {
                let mut ours = Vec::new();
                validated.write_to(&sent, &mut ours);
                let theirs = BatchView::parse(&stored).unwrap().header;
                record::stamp(&mut ours, theirs.base_offset, theirs.partition_leader_epoch);
                let own_header = record::validate(&ours).unwrap();
                let told = record::BatchHeader {
                    base_offset: theirs.base_offset,
                    partition_leader_epoch: theirs.partition_leader_epoch,
                    ..validated.header
                };
                assert_eq!(told, own_header, "{name}");
                let rewritten = matches!(validated.stored, record::Stored::Rewritten(_));
                if rewritten && meaning(&ours) != meaning(&stored) {
                    complain(format!("\n ours   {}\n theirs {}", meaning(&ours), meaning(&stored)));
                } else if !rewritten && ours != stored {
                    complain(format!("stored\n ours   {ours:02x?}\n theirs {stored:02x?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_builder_writes_the_bytes_that_kafkas_producer_writes() {
    let mut compared = 0;
    for line in include_str!("data/kafka-4.3-produce.tsv").lines() {
        let f: Vec<&str> = line.split('\t').collect();
        if !f[0].starts_with("good ") && !f[0].starts_with("keys ") {
            continue;
        }
        let kafka = unhex(f[7]);
        let view = BatchView::parse(&kafka).unwrap();
        let codec = view.header.attributes.codec().unwrap();
        let mut d = Decompressor::default();
        let plain = d.decompress(codec, view.records_bytes()).unwrap();
        let records = record::Records::new(&view.header, plain);
        let mut b = record::BatchBuilder::new().codec(codec);
        for r in records.clone() {
            let r = r.unwrap();
            let headers: Vec<_> = r.headers.map(|h| (h.key, h.value)).collect();
            b.push(records.timestamp_of(&r), r.key, r.value, &headers).unwrap();
        }
        let ours = b.finish().unwrap();
        if codec == Codec::None {
            assert_eq!(ours, kafka, "{}", f[0]);
        } else {
            assert_eq!(meaning(ours), meaning(&kafka), "{}", f[0]);
        }
        compared += 1;
    }
    assert!(compared >= 20, "{compared}");
}
