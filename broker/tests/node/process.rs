//! The built binary as a child process: started, killed, stopped, started again on the same data.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use client::{Client, Connection};

/// Longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Node {
    child: Child,
    pub address: String,
    /// What it said when it was ready.
    pub line: String,
}

fn dev(data: &Path, shards: usize, settings: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.args(["dev", "--port", "0", "--shards", &shards.to_string(), "--data"]);
    command.arg(data);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

impl Node {
    /// Starts a node on `data` and waits until it is ready. The system chooses the port.
    pub fn start(data: &Path, shards: usize, settings: &[&str]) -> Node {
        Node::run(dev(data, shards, settings))
    }

    /// The same, and what it says on standard error.
    pub fn start_listening(data: &Path, shards: usize, settings: &[&str]) -> (Node, Said) {
        Node::run_listening(dev(data, shards, settings))
    }

    /// Runs this command and waits until it says that it is ready.
    pub fn run(command: Command) -> Node {
        Node::launch(command, Stdio::inherit())
    }

    /// The same, and what it says on standard error.
    pub fn run_listening(command: Command) -> (Node, Said) {
        let mut node = Node::launch(command, Stdio::piped());
        let said = Said::of(node.child.stderr.take().expect("it is piped"));
        (node, said)
    }

    /// Runs this command and does not wait until it says that it is ready.
    pub fn spawn(mut command: Command) -> Starting {
        let command = command.stdout(Stdio::piped());
        Starting(Some(command.spawn().expect("the binary runs")))
    }

    fn launch(mut command: Command, stderr: Stdio) -> Node {
        let command = command.stdout(Stdio::piped()).stderr(stderr);
        Node::ready(command.spawn().expect("the binary runs"))
    }

    fn ready(mut child: Child) -> Node {
        let out = child.stdout.take().expect("its output is piped");
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).expect("it says that it is ready");
        let address =
            line.split_whitespace().find_map(|word| word.strip_prefix("bootstrap.servers="));
        let address = address.unwrap_or_else(|| panic!("not ready: {line:?}")).to_owned();
        Node { child, address, line }
    }

    pub fn connect(&self) -> Connection {
        Connection::open(&self.address).expect("the node accepts")
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.address).expect("the node accepts")
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("the node runs");
        self.child.wait().expect("it ends");
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// SIGTERM; what the node ends with.
    pub fn stop(self) -> ExitStatus {
        self.terminate();
        self.wait()
    }

    /// Waits until it has ended by itself; with what.
    pub fn wait(mut self) -> ExitStatus {
        eventually("the node ends", || self.child.try_wait().expect("it is our child"))
    }

    /// Sends SIGTERM and does not wait.
    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(sent.success());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node that is on its way.
pub struct Starting(Option<Child>);

impl Starting {
    /// Waits until it says that it is ready.
    pub fn ready(mut self) -> Node {
        Node::ready(self.0.take().expect("once"))
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a node says on standard error, as it comes.
pub struct Said(Arc<Mutex<String>>);

impl Said {
    fn of(stderr: ChildStderr) -> Said {
        let said = Arc::<Mutex<String>>::default();
        let lines = said.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().expect("nobody panics with it").extend([line.as_str(), "\n"]);
            }
        });
        Said(said)
    }

    /// Everything so far.
    pub fn so_far(&self) -> String {
        self.0.lock().expect("nobody panics with it").clone()
    }

    /// Waits until it has said `words`.
    pub fn wait_for(&self, words: &str) {
        eventually(words, || self.so_far().contains(words).then_some(()));
    }
}

/// Asks until there is an answer; fails the test after a bound.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Largest resident memory of a node so far.
pub fn memory_peak_kib(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}
