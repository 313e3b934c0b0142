//! Java's `.properties` syntax, as `java.util.Properties.load` reads it.
//!
//! Natural lines end with `\n`, `\r` or `\r\n`; a line whose last character is an odd number of
//! backslashes continues on the next one, whose leading white space is dropped. A first
//! non-blank `#` or `!` makes a comment. The key ends at the first unescaped `=`, `:` or white
//! space; `\t \n \r \f \uXXXX` are escapes, any other escaped character stands for itself.
//! A later line with the same key wins, as in Java; the caller sees both and their line numbers.

use thiserror::Error;

/// One `key = value` with the line (from 1) on which it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    pub key: String,
    pub value: String,
    pub line: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PropertiesError {
    #[error("line {line}: \\u must be followed by four hexadecimal digits")]
    BadUnicodeEscape { line: usize },
    #[error("line {line}: a value without a key")]
    NoKey { line: usize },
}

/// Parses a whole file. Errors name the line; nothing is interpreted beyond the syntax.
pub fn parse_properties(text: &str) -> Result<Vec<Property>, PropertiesError> {
    let mut properties = Vec::new();
    for (line, logical) in logical_lines(text) {
        let (key, value) = split_key(&logical);
        let key = unescape(key, line)?;
        let value = unescape(value, line)?;
        if key.is_empty() {
            return Err(PropertiesError::NoKey { line });
        }
        properties.push(Property { key, value, line });
    }
    Ok(properties)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Joins continued lines and drops comments and blank lines.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, natural) in text.split(['\n', '\r']).enumerate() {
        let content = natural.trim_start_matches(is_blank);
        let (start, mut joined) = match open.take() {
            Some(begun) => begun,
            None if content.is_empty() || content.starts_with(['#', '!']) => continue,
            None => (index + 1, String::new()),
        };
        let slashes = content.chars().rev().take_while(|&c| c == '\\').count();
        if slashes % 2 == 1 {
            joined.push_str(&content[..content.len() - 1]);
            open = Some((start, joined));
        } else {
            joined.push_str(content);
            lines.push((start, joined));
        }
    }
    lines.extend(open);
    lines
}

fn split_key(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if matches!(c, '=' | ':') || is_blank(c) {
            let rest = line[at..].trim_start_matches(is_blank);
            let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
            return (&line[..at], rest.trim_start_matches(is_blank));
        }
    }
    (line, "")
}

fn unescape(text: &str, line: usize) -> Result<String, PropertiesError> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let push = |c: char, units: &mut Vec<u16>| {
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    };
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            push(c, &mut units);
            continue;
        }
        match rest.next() {
            None => {}
            Some('t') => push('\t', &mut units),
            Some('n') => push('\n', &mut units),
            Some('r') => push('\r', &mut units),
            Some('f') => push('\x0c', &mut units),
            Some('u') => {
                let digits: String = rest.by_ref().take(4).collect();
                let whole = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                let unit = u16::from_str_radix(&digits, 16).ok().filter(|_| whole);
                units.push(unit.ok_or(PropertiesError::BadUnicodeEscape { line })?);
            }
            Some(other) => push(other, &mut units),
        }
    }
    Ok(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let parsed = parse_properties(text).unwrap();
        parsed.into_iter().map(|p| (p.key, p.value)).collect()
    }

    #[test]
    fn separators_are_equals_colon_and_white_space() {
        for text in ["a=b", "a:b", "a b", "a = b", "a : b", "  a\tb", "a   =  b", "a\x0c=b"] {
            assert_eq!(pairs(text), [("a".into(), "b".into())], "{text:?}");
        }
        assert_eq!(pairs("a==b"), [("a".into(), "=b".into())]);
        assert_eq!(pairs("a b=c"), [("a".into(), "b=c".into())]);
        assert_eq!(pairs("a"), [("a".into(), String::new())]);
        assert_eq!(pairs("a="), [("a".into(), String::new())]);
    }

    #[test]
    fn an_odd_number_of_trailing_backslashes_continues_the_line() {
        assert_eq!(pairs("a=b,\\\n   c"), [("a".into(), "b,c".into())]);
        assert_eq!(pairs("a=b\\\\\nc=d").len(), 2);
        assert_eq!(pairs("a=b\\\r\n  c"), [("a".into(), "bc".into())]);
        assert_eq!(pairs("a=b\\\n#c"), [("a".into(), "b#c".into())]);
        assert_eq!(pairs("a=b\\"), [("a".into(), "b".into())]);
    }

    #[test]
    fn escapes_are_resolved_in_keys_and_values() {
        assert_eq!(pairs(r"a\ b\=c=d\:\t\u0041\z"), [("a b=c".into(), "d:\tAz".into())]);
        assert_eq!(pairs(r"a=\uD83D\uDE00"), [("a".into(), "😀".into())]);
        assert_eq!(
            parse_properties("ok=1\na=\\u00g1"),
            Err(PropertiesError::BadUnicodeEscape { line: 2 })
        );
        assert_eq!(
            parse_properties("a=\\u+0041"),
            Err(PropertiesError::BadUnicodeEscape { line: 1 })
        );
    }

    #[test]
    fn comments_and_blank_lines_are_skipped_and_trailing_blanks_are_kept() {
        let text = "# one\n  ! two\n\n \t\na=b  \r\nc=#d\r";
        assert_eq!(pairs(text), [("a".into(), "b  ".into()), ("c".into(), "#d".into())]);
        assert_eq!(parse_properties("x=1\n\n=2"), Err(PropertiesError::NoKey { line: 3 }));
    }

    #[test]
    fn the_line_number_is_that_of_the_first_natural_line() {
        let parsed = parse_properties("# c\na=1\\\n2\nb=3").unwrap();
        assert_eq!(parsed.iter().map(|p| p.line).collect::<Vec<_>>(), [2, 4]);
    }
}
