//! The tables of this crate beside Kafka's own (`data/apis.tsv`, `data/errors.tsv`, taken from
//! Kafka 4.3.1), and the document generated from them.

use protocol::{ErrorCode, SUPPORTED, matrix};

#[test]
fn every_error_code_has_kafkas_number_name_and_retriability() {
    let rows: Vec<(i16, String, bool)> =
        ErrorCode::ALL.iter().map(|e| (e.code(), e.name().to_owned(), e.is_retriable())).collect();
    let kafka: Vec<(i16, String, bool)> = include_str!("data/errors.tsv")
        .lines()
        .map(|line| {
            let f: Vec<&str> = line.split('\t').collect();
            (f[0].parse().unwrap(), f[1].to_owned(), f[2] == "true")
        })
        .collect();
    assert_eq!(rows, kafka);
    assert_eq!(rows.len(), 135);
    for e in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_code(e.code()), Some(*e));
    }
    assert_eq!(ErrorCode::from_code(134), None);
}

#[test]
fn every_served_api_has_kafkas_versions_and_flexible_versions() {
    let kafka: Vec<Vec<&str>> =
        include_str!("data/apis.tsv").lines().map(|l| l.split('\t').collect()).collect();
    for r in SUPPORTED {
        let row = kafka.iter().find(|f| f[0] == (r.api as i16).to_string()).unwrap();
        assert_eq!(row[1], format!("{:?}", r.api));
        let (min, max) = row[2].split_once('-').unwrap_or((row[2], row[2]));
        // The last version of an API that Kafka calls unstable is not advertised.
        let unstable = i16::from(row[5] == "unstable");
        assert_eq!((r.min, r.max), (min.parse().unwrap(), max.parse::<i16>().unwrap() - unstable));
        let flexible = r.flexible_from.map_or("none".to_owned(), |v| format!("{v}+"));
        assert_eq!((row[3], row[4]), (&flexible[..], &flexible[..]), "{:?}", r.api);
    }
    assert!(SUPPORTED.is_sorted_by_key(|r| r.api as i16));
}

#[test]
fn the_header_versions_are_those_of_kafka_also_for_api_versions() {
    use protocol::api::{request_header_version, response_header_version};
    assert_eq!((request_header_version(18, 2), response_header_version(18, 2)), (1, 0));
    assert_eq!((request_header_version(18, 4), response_header_version(18, 4)), (2, 0));
    assert_eq!((request_header_version(18, 99), response_header_version(18, 99)), (2, 0));
    assert_eq!((request_header_version(0, 8), response_header_version(0, 8)), (1, 0));
    assert_eq!((request_header_version(0, 9), response_header_version(0, 9)), (2, 1));
    assert_eq!((request_header_version(47, 0), response_header_version(47, 0)), (1, 0));
}

#[test]
fn the_matrix_in_protocol_md_is_current() {
    let document = include_str!("../../PROTOCOL.md");
    let current = matrix::replace_in(document).expect("the marks of the matrix are missing");
    assert!(
        document == current,
        "net/PROTOCOL.md should hold this between its marks:\n{}",
        matrix::markdown()
    );
}
