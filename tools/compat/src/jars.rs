//! Apache Kafka from its published jars, by Maven: its Java client, its tools and its broker.

use crate::cache::Cache;
use crate::clients;
use crate::toolchain::{JAVA, MAVEN, must};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

pub const KAFKA_VERSION: &str = "4.3.1";

/// The class path with the jars, our compiled programs and the logging configuration.
#[derive(Clone)]
pub struct Jars {
    libs: PathBuf,
    classes: PathBuf,
    logging: PathBuf,
}

impl Jars {
    pub fn install(cache: &Cache) -> Result<Self> {
        let sources = clients::folder("java");
        let pom = sources.join("pom.xml");
        let libs = cache.folder("kafka-jars", std::slice::from_ref(&pom), |folder| {
            let mut maven = MAVEN.command()?;
            maven
                .args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-f"])
                .arg(&pom);
            must(maven.arg(format!("-DoutputDirectory={}", folder.display())))
        })?;
        let jars =
            Self { libs, classes: PathBuf::new(), logging: sources.join("log4j2.properties") };
        jars.compile(cache, "java-programs", &[sources.join("src"), clients::differential()])
    }

    /// The same jars with the programs in these folders instead of ours; `name` is theirs in the cache.
    pub fn compile(&self, cache: &Cache, name: &str, programs: &[PathBuf]) -> Result<Self> {
        let mut made_from = programs.to_vec();
        made_from.push(clients::folder("java").join("pom.xml"));
        let classes = cache.folder(name, &made_from, |folder| {
            let mut javac = JAVA.command()?;
            javac.args(["-XDsuppressNotes", "-d"]).arg(folder).arg("-cp").arg(self.libs.join("*"));
            for program in programs {
                javac.args(java_files(program)?);
            }
            must(&mut javac)
        })?;
        Ok(Self { classes, ..self.clone() })
    }

    /// `java` with the class path and modest memory; arguments of the class follow.
    pub fn java(&self, class: &str) -> Command {
        self.java_with(class, &["-Xmx384m", "-XX:TieredStopAtLevel=1"])
    }

    pub fn java_with(&self, class: &str, options: &[&str]) -> Command {
        let mut java = Command::new("java");
        // Shared performance data is named by process id: two sandboxes with process ids of their own would fight for
        // the file, and the loser warns on its standard output.
        java.args(["-XX:+UseSerialGC", "-XX:-UsePerfData"]).args(options);
        java.arg(format!("-Dlog4j2.configurationFile={}", self.logging.display()));
        java.arg("-cp").arg(format!("{}:{}/*", self.classes.display(), self.libs.display()));
        java.arg(class);
        java
    }
}

fn java_files(folder: &std::path::Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => files.extend(java_files(&path)?),
            false if path.extension().is_some_and(|end| end == "java") => files.push(path),
            false => {}
        }
    }
    Ok(files)
}
