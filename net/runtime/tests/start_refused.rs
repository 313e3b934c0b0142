//! A host that refuses what a shard needs is named in one sentence with the remedy.
//!
//! Each case runs this test binary again as a child that first takes the thing away from itself.
#![cfg(not(simulation))]
#![allow(clippy::disallowed_methods, reason = "the test takes limits from a child process")]

use std::process::Command;

use runtime::shards::{self, Context, Options};

const CASE: &str = "RUNTIME_TEST_REFUSED_CASE";

/// The child: takes something away and prints what the start says.
#[test]
fn child() {
    let Ok(case) = std::env::var(CASE) else {
        return;
    };
    match case.as_str() {
        "nofile" => limit(libc::RLIMIT_NOFILE, 64),
        "memlock" => limit(libc::RLIMIT_MEMLOCK, 16 * 1024),
        "seccomp" => refuse_io_uring(libc::EPERM as u32),
        "old kernel" => refuse_io_uring(libc::ENOSYS as u32),
        _ => {}
    }
    let opts = Options { descriptors_min: 1000, count: 2, ..Options::default() };
    match shards::run(opts, |_: Context<()>| async {}) {
        Ok(()) => println!("SAID: started"),
        Err(e) => println!("SAID: {e}"),
    }
}

fn said(case: &str) -> String {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CASE, case)
        .output()
        .unwrap();
    let out = String::from_utf8(child.stdout).unwrap();
    let line = out.lines().find_map(|l| l.split_once("SAID: ").map(|(_, said)| said.to_owned()));
    line.unwrap_or_else(|| panic!("no answer: {out}{}", String::from_utf8_lossy(&child.stderr)))
}

#[test]
fn a_host_that_grants_all_starts() {
    assert_eq!(said("nothing"), "started");
}

#[test]
fn too_few_descriptors_are_named_with_the_remedy() {
    let said = said("nofile");
    assert!(said.contains("open files is 64 but 1000") && said.contains("ulimit -n"), "{said}");
}

#[test]
fn too_little_locked_memory_is_named_with_the_remedy() {
    let said = said("memlock");
    assert!(said.contains("locked memory is 16384") && said.contains("LimitMEMLOCK"), "{said}");
}

#[test]
fn a_seccomp_profile_without_io_uring_is_named_with_the_remedy() {
    let said = said("seccomp");
    assert!(said.contains("security profile") && said.contains("seccomp=unconfined"), "{said}");
}

#[test]
fn a_kernel_without_io_uring_is_named_with_the_remedy() {
    let said = said("old kernel");
    assert!(said.contains("no usable io_uring") && said.contains("5.15"), "{said}");
}

fn limit(resource: libc::__rlimit_resource_t, to: u64) {
    let limit = libc::rlimit { rlim_cur: to, rlim_max: to };
    // SAFETY: a valid limit, in a child that does nothing else.
    assert_eq!(unsafe { libc::setrlimit(resource, &limit) }, 0);
}

/// Has the kernel answer `io_uring_setup` with `errno`, as container runtimes do.
fn refuse_io_uring(errno: u32) {
    let stmt = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut program = [
        stmt(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: libc::SYS_io_uring_setup as u32,
        },
        stmt(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno),
        stmt(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program lives through the call; afterwards the kernel has its copy. The filter is
    // put on every thread (TSYNC), for the test harness made this one.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let set = libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &filter,
        );
        assert_eq!(set, 0);
    }
}
