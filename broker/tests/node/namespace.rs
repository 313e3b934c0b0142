//! A test that runs itself again in a mount namespace of its own, where it may mount what it needs; the namespace and all
//! in it vanish with the process. Where that is not allowed the test says so and proves nothing.

use std::path::Path;
use std::process::Command;

/// Set in the inner run; the directory on which it may mount.
const POINT: &str = "MILLRACE_TEST_MOUNT_POINT";

/// Root's own mounts.
pub const AS_ROOT: &[&str] = &["--mount"];
/// Anybody's, where the kernel lets them be root of a user namespace.
pub const AS_ANYBODY: &[&str] = &["--mount", "--user", "--map-root-user"];

/// Runs `body` of test `name` with an empty directory in which the shell has run `script` (it finds the directory in
/// `$1`), in the first of these ways in which the script succeeds.
pub fn with(name: &str, ways: &[&[&str]], script: &str, body: impl FnOnce(&Path)) {
    if let Some(point) = std::env::var_os(POINT) {
        return body(Path::new(&point));
    }
    let point = tempfile::tempdir().expect("a temporary directory");
    let run = |way: &[&str], command: &[&str]| {
        let script = format!("({script}) && shift && exec \"$@\"");
        let mut unshare = Command::new("unshare");
        unshare.args(way).args(["--", "sh", "-c", &script, "sh"]).arg(point.path()).args(command);
        unshare.env(POINT, point.path()).status().is_ok_and(|status| status.success())
    };
    let Some(way) = ways.iter().find(|way| run(way, &["true"])) else {
        return eprintln!("{name}: PROVED NOTHING, this host does not let it mount a file system");
    };
    let binary = std::env::current_exe().expect("this test has a path");
    let binary = binary.to_str().expect("in UTF-8");
    let inner = [binary, "--exact", name, "--nocapture", "--test-threads=1"];
    assert!(run(way, &inner), "the inner run failed");
}
