//! Text to typed value and back, with the leniencies and messages of Kafka's `ConfigDef`.
//!
//! White space around a value is dropped, numbers may carry a plus sign, a double may carry the
//! suffixes that Java's parser takes, and a list is split at commas with white space around them.

use crate::error::InvalidConfig;
use crate::key::{Key, KeyType};

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Boolean(bool),
    /// INT, SHORT and LONG; the range was checked against the key's type.
    Integer(i64),
    Double(f64),
    /// STRING, CLASS and PASSWORD.
    Text(String),
    List(Vec<String>),
}

impl Value {
    /// Parses and validates `text` as the value of `key`.
    pub fn parse(key: &Key, text: &str) -> Result<Value, InvalidConfig> {
        let value = Value::parse_type(key, text)?;
        if let Some(validator) = &key.validator {
            validator.check(key.name, &value)?;
        }
        Ok(value)
    }

    fn parse_type(key: &Key, text: &str) -> Result<Value, InvalidConfig> {
        let trimmed = text.trim_matches(|c: char| c <= ' ');
        let invalid = |reason: String| InvalidConfig::Value {
            name: key.name.to_owned(),
            value: text.to_owned(),
            reason,
        };
        let not_a_number = || invalid(format!("Not a number of type {}", key.key_type.name()));
        let integer = |min: i64, max: i64| {
            let value = parse_integer(trimmed).filter(|v| (min..=max).contains(v));
            value.map(Value::Integer).ok_or_else(not_a_number)
        };
        match key.key_type {
            KeyType::Boolean if trimmed.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
            KeyType::Boolean if trimmed.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
            KeyType::Boolean => {
                Err(invalid("Expected value to be either true or false".to_owned()))
            }
            KeyType::Int => integer(i32::MIN.into(), i32::MAX.into()),
            KeyType::Short => integer(i16::MIN.into(), i16::MAX.into()),
            KeyType::Long => integer(i64::MIN, i64::MAX),
            KeyType::Double => parse_double(trimmed).map(Value::Double).ok_or_else(not_a_number),
            KeyType::String | KeyType::Class | KeyType::Password => {
                Ok(Value::Text(trimmed.to_owned()))
            }
            KeyType::List => Ok(Value::List(split_list(trimmed))),
        }
    }

    /// The text that `DescribeConfigs` shows.
    pub fn to_text(&self) -> String {
        match self {
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Double(value) => java_double(*value),
            Self::Text(value) => value.clone(),
            Self::List(values) => values.join(","),
        }
    }

    /// The text inside an error message, where Java prints a list with brackets.
    pub(crate) fn to_message(&self) -> String {
        match self {
            Self::List(values) => format!("[{}]", values.join(", ")),
            other => other.to_text(),
        }
    }
}

fn parse_integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let signed_twice = digits.len() != text.len() && digits.starts_with(['+', '-']);
    digits.parse().ok().filter(|_| !signed_twice)
}

fn parse_double(text: &str) -> Option<f64> {
    let body = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
    match text.trim_start_matches(['+', '-']) {
        "NaN" => return Some(f64::NAN),
        "Infinity" => {
            let negative = text.starts_with('-');
            return Some(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        _ => {}
    }
    // Rust also takes "inf", "nan" and their kin; Java does not.
    let numeric = body.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    body.parse().ok().filter(|_| numeric)
}

fn split_list(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(|part| part.trim().to_owned()).collect()
}

/// `Double.toString`: plain between 1e-3 and 1e7, else one digit before the point and `E`.
fn java_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let size = value.abs();
    if value == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{value:?}");
    }
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{double, int, list, long};

    #[test]
    fn doubles_are_printed_as_java_prints_them() {
        for (value, text) in [
            (0.5, "0.5"),
            (1.0, "1.0"),
            (0.0, "0.0"),
            (1e7, "1.0E7"),
            (0.0001, "1.0E-4"),
            (f64::MAX, "1.7976931348623157E308"),
            (123456.5, "123456.5"),
            (-2.5e-9, "-2.5E-9"),
        ] {
            assert_eq!(java_double(value), text);
        }
    }

    #[test]
    fn numbers_take_blanks_and_a_plus_sign_but_nothing_else() {
        let key = long("k");
        for (text, value) in
            [(" 5 ", 5), ("+7", 7), ("-1", -1), ("\t9223372036854775807", i64::MAX)]
        {
            assert_eq!(Value::parse(&key, text), Ok(Value::Integer(value)), "{text:?}");
        }
        for text in ["", "+", "+-1", "1_000", "0x10", "1.0", "9223372036854775808"] {
            assert!(Value::parse(&key, text).is_err(), "{text:?}");
        }
        assert!(Value::parse(&int("k"), "2147483648").is_err());
        assert_eq!(Value::parse(&double("k"), "0.5f"), Ok(Value::Double(0.5)));
        assert!(Value::parse(&double("k"), "inf").is_err());
        assert!(Value::parse(&double("k"), "Infinity").is_ok());
    }

    #[test]
    fn a_list_drops_blanks_around_commas_and_keeps_empty_parts() {
        let parts = |text: &str| match Value::parse(&list("k"), text) {
            Ok(Value::List(parts)) => parts,
            other => panic!("{other:?}"),
        };
        assert_eq!(parts(" a , b,c "), ["a", "b", "c"]);
        assert_eq!(parts("a,"), ["a", ""]);
        assert!(parts("  ").is_empty());
    }
}
