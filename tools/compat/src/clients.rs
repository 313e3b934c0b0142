//! The clients: how each is installed, and how its program is started.

use crate::cache::Cache;
use crate::jars::{Jars, KAFKA_VERSION};
use crate::program::Program;
use crate::toolchain::{CARGO, GO, KCAT, NPM, PYTHON, must};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::path::PathBuf;

pub struct Client {
    pub name: &'static str,
    /// Who makes it, for the matrix.
    pub title: &'static str,
    /// What names its version in the manifest that it is installed by.
    version: Version,
    install: fn(&Client, &Cache) -> Result<Program>,
    /// Whether it has an admin client to create topics with.
    pub creates_topics: bool,
}

enum Version {
    Kafka,
    /// A file of `clients/` and the text that stands right before the version.
    Manifest(&'static str, &'static str),
    /// The system's package.
    Kcat,
}

pub const CLIENTS: [Client; 10] = [
    Client {
        name: "java",
        title: "Java `kafka-clients`",
        version: Version::Kafka,
        install: java,
        creates_topics: true,
    },
    Client {
        name: "kcat",
        title: "kcat",
        version: Version::Kcat,
        install: kcat,
        creates_topics: false,
    },
    Client {
        name: "confluent-kafka",
        title: "confluent-kafka (Python)",
        version: Version::Manifest("python/requirements.txt", "confluent-kafka=="),
        install: |_, cache| python(cache, "confluent.py"),
        creates_topics: true,
    },
    Client {
        name: "kafka-python",
        title: "kafka-python",
        version: Version::Manifest("python/requirements.txt", "kafka-python=="),
        install: |_, cache| python(cache, "kafka_python.py"),
        creates_topics: true,
    },
    Client {
        name: "aiokafka",
        title: "aiokafka",
        version: Version::Manifest("python/requirements.txt", "aiokafka=="),
        install: |_, cache| python(cache, "aio.py"),
        creates_topics: true,
    },
    Client {
        name: "kafkajs",
        title: "kafkajs",
        version: Version::Manifest("node/package.json", "\"kafkajs\": \""),
        install: node,
        creates_topics: true,
    },
    Client {
        name: "franz-go",
        title: "franz-go",
        version: Version::Manifest("go/go.mod", "github.com/twmb/franz-go v"),
        install: go,
        creates_topics: true,
    },
    Client {
        name: "sarama",
        title: "sarama",
        version: Version::Manifest("go/go.mod", "github.com/IBM/sarama v"),
        install: go,
        creates_topics: true,
    },
    Client {
        name: "kafka-go",
        title: "segmentio/kafka-go",
        version: Version::Manifest("go/go.mod", "github.com/segmentio/kafka-go v"),
        install: go,
        creates_topics: true,
    },
    Client {
        name: "rdkafka",
        title: "rdkafka (Rust)",
        version: Version::Manifest("rdkafka/Cargo.toml", "rdkafka = { version = \"="),
        install: rdkafka,
        creates_topics: true,
    },
];

/// A folder of `clients/`.
pub fn folder(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "clients", name].iter().collect()
}

/// Sources of the differential test.
pub fn differential() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "differential", "src"].iter().collect()
}

impl Client {
    pub fn install(&self, cache: &Cache) -> Result<Program> {
        (self.install)(self, cache)
    }

    /// Title and version, as the matrix shows them.
    pub fn full_title(&self) -> Result<String> {
        let version = match &self.version {
            Version::Kafka => KAFKA_VERSION.to_owned(),
            Version::Manifest(file, before) => {
                let text = std::fs::read_to_string(folder(file))
                    .with_context(|| format!("cannot read {file}"))?;
                let rest = text
                    .split_once(before)
                    .with_context(|| format!("{file} does not name {before}"))?
                    .1;
                rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '.').collect()
            }
            Version::Kcat => match KCAT.command() {
                Ok(mut kcat) => {
                    let told =
                        String::from_utf8_lossy(&kcat.arg("-V").output()?.stdout).into_owned();
                    let version = told.split("Version ").nth(1).unwrap_or_default();
                    version.split_whitespace().next().unwrap_or_default().to_owned()
                }
                Err(_) => String::new(),
            },
        };
        Ok(format!("{} {version}", self.title).trim().to_owned())
    }
}

fn words(words: impl IntoIterator<Item = impl Into<OsString>>) -> Program {
    Program { words: words.into_iter().map(Into::into).collect() }
}

/// The Java program, also used where another client cannot create a topic.
pub fn java_program(jars: &Jars) -> Program {
    let java = jars.java("Driver");
    let args = java.get_args().map(OsString::from);
    Program { words: std::iter::once(java.get_program().to_owned()).chain(args).collect() }
}

fn java(_: &Client, cache: &Cache) -> Result<Program> {
    Ok(java_program(&Jars::install(cache)?))
}

fn kcat(_: &Client, _: &Cache) -> Result<Program> {
    KCAT.command()?;
    PYTHON.command()?;
    Ok(words([OsString::from(PYTHON.program), folder("kcat/kcat.py").into()]))
}

/// One virtual environment for the three of them.
fn python(cache: &Cache, script: &str) -> Result<Program> {
    let requirements = folder("python/requirements.txt");
    let venv = cache.folder("python", std::slice::from_ref(&requirements), |folder| {
        must(PYTHON.command()?.args(["-m", "venv"]).arg(folder))?;
        let mut pip = std::process::Command::new(folder.join("bin/pip"));
        must(pip.args(["install", "--quiet", "--requirement"]).arg(&requirements))
    })?;
    Ok(words([venv.join("bin/python"), folder("python").join(script)]))
}

fn node(_: &Client, cache: &Cache) -> Result<Program> {
    let sources =
        ["package.json", "package-lock.json", "kafkajs.js"].map(|file| folder("node").join(file));
    let installed = cache.folder("node", &sources, |folder| {
        for source in &sources {
            std::fs::copy(
                source,
                folder.join(source.file_name().context("a file without a name")?),
            )?;
        }
        must(
            NPM.command()?
                .args(["ci", "--silent", "--no-audit", "--no-fund", "--prefix"])
                .arg(folder)
                .current_dir(folder),
        )
    })?;
    Ok(words([OsString::from("node"), installed.join("kafkajs.js").into()]))
}

/// One build for the three of them.
fn go(client: &Client, cache: &Cache) -> Result<Program> {
    let binaries = cache.folder("go", &[folder("go")], |folder_out| {
        let mut go = GO.command()?;
        must(go.current_dir(folder("go")).args(["build", "-o"]).arg(folder_out).arg("./cmd/..."))
    })?;
    Ok(words([binaries.join(client.name)]))
}

/// A cargo project of its own beside the workspace, for librdkafka takes a minute to build.
fn rdkafka(_: &Client, cache: &Cache) -> Result<Program> {
    let sources = ["Cargo.toml", "Cargo.lock", "src"].map(|file| folder("rdkafka").join(file));
    let built = cache.folder("rdkafka", &sources, |out| {
        let mut cargo = CARGO.command()?;
        cargo.args(["build", "--quiet", "--locked", "--manifest-path"]).arg(&sources[0]);
        must(cargo.arg("--target-dir").arg(out).env_remove("RUSTFLAGS"))
    })?;
    Ok(words([built.join("debug/compat-rdkafka")]))
}
