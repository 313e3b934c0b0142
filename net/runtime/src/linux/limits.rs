//! What the host must grant before a shard can run, and the sentence when it does not.

use std::io;

use crate::shards::StartError;

/// What a shard's rings may need on kernels that count them as locked memory.
const MEMLOCK_FLOOR: u64 = 512 * 1024;

/// Checks io_uring and the limits, and raises the soft limit of descriptors.
pub(super) fn check(shards: usize, descriptors_min: u64) -> Result<(), StartError> {
    raise_nofile(descriptors_min)?;
    check_memlock(shards)?;
    check_io_uring()
}

fn raise_nofile(needed: u64) -> Result<(), StartError> {
    let mut limit = get_limit(libc::RLIMIT_NOFILE);
    if limit.rlim_max < needed {
        return Err(StartError::NofileTooLow { limit: limit.rlim_max, needed });
    }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is a valid rlimit. Failure leaves the old limit, checked below.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    }
    let limit = get_limit(libc::RLIMIT_NOFILE).rlim_cur;
    if limit < needed {
        return Err(StartError::NofileTooLow { limit, needed });
    }
    Ok(())
}

fn check_memlock(shards: usize) -> Result<(), StartError> {
    let mut limit = get_limit(libc::RLIMIT_MEMLOCK);
    if limit.rlim_cur < MEMLOCK_FLOOR && limit.rlim_max > limit.rlim_cur {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is a valid rlimit; failure leaves the old limit, checked below.
        unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) };
    }
    let limit = get_limit(libc::RLIMIT_MEMLOCK).rlim_cur;
    if limit < MEMLOCK_FLOOR {
        return Err(StartError::MemlockTooLow { limit, needed: MEMLOCK_FLOOR, shards });
    }
    Ok(())
}

/// Makes and drops one ring, to learn what the kernel says.
fn check_io_uring() -> Result<(), StartError> {
    let source = match io_uring::IoUring::new(8) {
        Ok(_) => return Ok(()),
        Err(e) => e,
    };
    Err(match source.raw_os_error() {
        Some(libc::ENOMEM) => StartError::MemlockTooLow {
            limit: get_limit(libc::RLIMIT_MEMLOCK).rlim_cur,
            needed: MEMLOCK_FLOOR,
            shards: 1,
        },
        Some(libc::EPERM | libc::EACCES) => match io_uring_disabled() {
            0 => StartError::IoUringRefused { source },
            setting => StartError::IoUringDisabled { setting },
        },
        _ => StartError::IoUringMissing { source },
    })
}

fn io_uring_disabled() -> u8 {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        .ok()
        .and_then(|s| s.trim().parse().ok())
        .unwrap_or(0)
}

fn get_limit(resource: libc::__rlimit_resource_t) -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for writing; the resources asked for exist.
    unsafe { libc::getrlimit(resource, &mut limit) };
    limit
}

/// Binds this thread to a CPU.
#[cfg(not(feature = "glommio"))]
pub(super) fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: an all-zero cpu_set_t is valid, and `cpu` was found in one.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        set
    };
    // SAFETY: `set` is valid for reading its size.
    if unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The CPUs this process may run on.
pub(super) fn allowed_cpus() -> io::Result<Vec<usize>> {
    // SAFETY: an all-zero cpu_set_t is valid.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is valid for writing its size.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let all = 0..libc::CPU_SETSIZE as usize;
    // SAFETY: every index is below CPU_SETSIZE.
    Ok(all.filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
}
