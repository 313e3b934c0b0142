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
        let programs = [sources.join("src"), clients::differential()];
        let classes = cache.folder(
            "java-programs",
            &[programs[0].clone(), programs[1].clone(), pom],
            |folder| {
                let mut javac = JAVA.command()?;
                javac.args(["-XDsuppressNotes", "-d"]).arg(folder).arg("-cp").arg(libs.join("*"));
                for program in &programs {
                    javac.args(java_files(program)?);
                }
                must(&mut javac)
            },
        )?;
        Ok(Self { libs, classes, logging: sources.join("log4j2.properties") })
    }

    /// `java` with the class path and modest memory; arguments of the class follow.
    pub fn java(&self, class: &str) -> Command {
        self.java_with(class, &["-Xmx384m", "-XX:TieredStopAtLevel=1"])
    }

    pub fn java_with(&self, class: &str, options: &[&str]) -> Command {
        let mut java = Command::new("java");
        java.args(["-XX:+UseSerialGC"]).args(options);
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
