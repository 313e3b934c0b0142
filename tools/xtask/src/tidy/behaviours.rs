//! The table of behaviours in `net/BEHAVIOURS.md`: numbered without a gap, each with a state, and what is built with tests
//! that exist. Whether a test proves what its line says is for people to judge.

use super::run::Findings;
use super::tree::Tree;
use anyhow::Result;

const DOCUMENT: &str = "net/BEHAVIOURS.md";
const NOT_BUILT: &str = "not built: ";

pub fn behaviours_are_tested(tree: &Tree) -> Result<Findings> {
    judge(&tree.text(DOCUMENT)?, |path| match tree.files.iter().any(|file| file == path) {
        true => tree.text(path).map(Some),
        false => Ok(None),
    })
}

/// `source` gives the text of a file of the tree.
fn judge(document: &str, source: impl Fn(&str) -> Result<Option<String>>) -> Result<Findings> {
    let mut findings = Findings::new();
    let mut last = 0;
    for (place, line) in document.lines().enumerate() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let &["", number, _, state, tests, ""] = &cells[..] else { continue };
        let Ok(number) = number.parse::<u32>() else { continue };
        let mut find =
            |what: String| findings.push(format!("{DOCUMENT}:{}: {number} {what}", place + 1));
        if number != last + 1 {
            find(format!("does not follow {last}"));
        }
        last = number;
        let is_built = state.starts_with("as Kafka") || state.starts_with("differs: ");
        if !is_built && !state.starts_with(NOT_BUILT) {
            find(format!("is in no state that is known: {state}"));
        }
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        if is_built && named.is_empty() {
            find("is built and names no test".to_owned());
        }
        for test in named {
            let found = match test.split_once("::") {
                Some((path, name)) => source(path)?.is_some_and(|text| has_test(&text, name)),
                None => false,
            };
            if !found {
                find(format!("names {test}, which is not there"));
            }
        }
    }
    if last == 0 {
        findings.push(format!("{DOCUMENT} has no behaviours"));
    }
    Ok(findings)
}

/// A function, or a line of a macro that makes one of each name.
fn has_test(source: &str, name: &str) -> bool {
    source.lines().map(str::trim).any(|line| {
        let function = line.strip_prefix("fn ").and_then(|rest| rest.strip_prefix(name));
        function.is_some_and(|rest| rest.starts_with('('))
            || line.strip_suffix(',').is_some_and(|word| word == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(document: &str) -> Findings {
        let source = |path: &str| Ok((path == "a.rs").then(|| "#[test]\nfn good() {\n".to_owned()));
        judge(document, source).expect("nothing to read")
    }

    #[test]
    fn what_is_built_names_tests_that_are_there_and_no_number_is_left_out() {
        let good = "| # | b | state | test |\n| 1 | x | as Kafka | `a.rs::good` |\n\
                    | 2 | y | not built: quotas |  |\n| 3 | z | differs: so | `a.rs::good` |\n";
        assert_eq!(found(good), Findings::new());
        for (bad, what) in [
            ("", "has no behaviours"),
            ("| 2 | x | as Kafka | `a.rs::good` |", "does not follow 0"),
            ("| 1 | x | as Kafka |  |", "names no test"),
            ("| 1 | x | fine | `a.rs::good` |", "in no state"),
            ("| 1 | x | as Kafka | `a.rs::goo` |", "a.rs::goo, which is not there"),
            ("| 1 | x | as Kafka | `b.rs::good` |", "b.rs::good, which is not there"),
        ] {
            let findings = found(bad);
            assert!(findings.len() == 1 && findings[0].contains(what), "{bad}: {findings:?}");
        }
    }
}
