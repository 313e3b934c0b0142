//! What came of a scenario, and of a whole suite.

use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Passed,
    /// With the reason, as a person would tell it.
    Failed(String),
    /// The client has no such thing.
    Absent,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    pub name: String,
    pub outcome: Outcome,
}

/// All scenarios of one suite, in the order in which they ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub suite: String,
    /// What was installed, for the matrix: `kafkajs 2.2.4`.
    pub title: String,
    pub kind: Kind,
    pub scenarios: Vec<Scenario>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A client library or command-line client: a row of the matrix.
    Client,
    /// A list of things that each stand for themselves.
    List,
}

impl Report {
    pub fn new(suite: &str, title: &str, kind: Kind) -> Self {
        Self { suite: suite.to_owned(), title: title.to_owned(), kind, scenarios: Vec::new() }
    }

    /// Notes the result of a scenario and tells it at once; true if it passed.
    pub fn note(&mut self, name: &str, result: anyhow::Result<()>) -> bool {
        let outcome = match result {
            Ok(()) => Outcome::Passed,
            Err(error) => Outcome::Failed(format!("{error:#}")),
        };
        eprintln!("{:<16} {name}: {outcome}", self.suite);
        let passed = outcome == Outcome::Passed;
        self.scenarios.push(Scenario { name: name.to_owned(), outcome });
        passed
    }

    pub fn absent(&mut self, name: &str) {
        self.scenarios.push(Scenario { name: name.to_owned(), outcome: Outcome::Absent });
    }

    pub fn outcome(&self, scenario: &str) -> Option<&Outcome> {
        self.scenarios.iter().find(|found| found.name == scenario).map(|found| &found.outcome)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Passed => write!(f, "passed"),
            Outcome::Failed(why) => write!(f, "FAILED: {why}"),
            Outcome::Absent => write!(f, "absent"),
        }
    }
}
