//! Which names a topic may have. Source: Kafka's `Topic.validate` and `Topic.hasCollision`.

use super::Refusal;
use crate::metadata::Image;
use protocol::ErrorCode;

const NAME_LENGTH_MAX: usize = 249;

/// Whether a topic may have this name.
pub fn is_valid_name(name: &str) -> bool {
    check_name(name).is_ok()
}

/// Says what is wrong with a name.
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    let is_legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let problem = if name.is_empty() {
        "it cannot be empty".to_owned()
    } else if name == "." || name == ".." {
        "it cannot be \".\" or \"..\"".to_owned()
    } else if name.chars().count() > NAME_LENGTH_MAX {
        format!("the length of '{name}' is longer than the max allowed length {NAME_LENGTH_MAX}")
    } else if !name.bytes().all(is_legal) {
        format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        )
    } else {
        return Ok(());
    };
    let message = format!("Topic name is invalid: {problem}");
    Err(Refusal::new(ErrorCode::InvalidTopicException, message))
}

/// Refuses a name that differs from an existing topic's in `.` and `_` alone: metric names would collide.
pub(super) fn check_collision(image: &Image, name: &str) -> Result<(), Refusal> {
    if !name.contains(['.', '_']) || image.topic(name).is_some() {
        return Ok(());
    }
    let prefix = name.split(['.', '_']).next().unwrap_or_default();
    let flat = |name: &str| name.replace('.', "_");
    let wanted = flat(name);
    let mut near = image.topics_from(prefix).take_while(|topic| topic.name.starts_with(prefix));
    match near.find(|topic| flat(&topic.name) == wanted) {
        None => Ok(()),
        Some(other) => Err(Refusal::new(
            ErrorCode::InvalidTopicException,
            format!("Topic '{name}' collides with existing topic: {}", other.name),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_kafka_judges_them() {
        let longest = "x".repeat(NAME_LENGTH_MAX);
        for good in ["a", "A.b_c-9", "...", "__x", &longest] {
            assert!(is_valid_name(good), "{good}");
        }
        let too_long = "x".repeat(NAME_LENGTH_MAX + 1);
        for bad in ["", ".", "..", "a b", "a/b", "ä", "a\0", &too_long] {
            assert!(!is_valid_name(bad), "{bad}");
        }
    }
}
