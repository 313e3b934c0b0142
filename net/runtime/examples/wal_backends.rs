//! Measures durable writes of both WAL back ends, and the round trip between shards.
//!
//! `cargo run --release -p runtime --example wal_backends -- [DIR]`
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a measuring program")]

fn main() {
    #[cfg(not(simulation))]
    measure::all();
    #[cfg(simulation)]
    println!("nothing to measure in virtual time");
}

#[cfg(not(simulation))]
mod measure {
    use std::path::PathBuf;
    use std::time::Duration;

    use runtime::fs::{AlignedBuf, DirectFile, WriteBackend};
    use runtime::shards::{self, Context, Options, ShardId};
    use runtime::time::Instant;

    const FILE: u64 = 64 << 20;

    pub fn all() {
        let dir = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
        for backend in [WriteBackend::IoUring, WriteBackend::CommitThread] {
            for size in [4 << 10, 64 << 10, 1 << 20] {
                let path = dir.join(format!("wal_backends.{}", std::process::id()));
                runtime::block_on(writes(path, size, backend));
            }
        }
        for (name, spin) in [("parked", 0), ("spinning", 50)] {
            for burst in [1, 64] {
                let opts = Options {
                    count: 2,
                    pin: true,
                    spin: Duration::from_micros(spin),
                    ..Options::default()
                };
                shards::run(opts, move |cx| round_trips(cx, name, burst)).expect("two shards");
            }
        }
    }

    async fn writes(path: PathBuf, size: usize, backend: WriteBackend) {
        let opened = Instant::now();
        let file = DirectFile::open(&path, FILE, backend).await.expect("a log file");
        let opening = opened.elapsed();
        let frame = AlignedBuf::zeroed(size).freeze();
        let mut times = Vec::new();
        let (start, mut pos) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(2) {
            let begin = Instant::now();
            file.write_durable(pos, vec![frame.clone()]).await.expect("the disk takes it");
            times.push(begin.elapsed());
            pos = (pos + size as u64) % FILE;
        }
        let what = format!("{backend:?} {} KiB (direct: {})", size >> 10, file.is_direct());
        report(&what, times);
        println!("    zeroing {} MiB: {opening:?}", FILE >> 20);
        runtime::fs::remove_file(&path).await.expect("made above");
    }

    async fn round_trips(cx: Context<u32>, name: &str, burst: u32) {
        let other = ShardId(1 - cx.id.0);
        let mut times = Vec::new();
        for _ in 0..20_000 / burst {
            if cx.id == ShardId(0) {
                let begin = Instant::now();
                for n in 0..burst {
                    cx.mailbox.send(other, n);
                }
                for _ in 0..burst {
                    cx.mailbox.recv().await;
                }
                times.push(begin.elapsed());
            } else {
                for _ in 0..burst {
                    let (from, n) = cx.mailbox.recv().await;
                    cx.mailbox.send(from, n);
                }
            }
        }
        if cx.id == ShardId(0) {
            report(&format!("round trip of {burst} between {name} shards"), times);
        }
    }

    fn report(what: &str, mut times: Vec<Duration>) {
        times.sort_unstable();
        let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize];
        println!(
            "{what:<52} n {:>6}  p50 {:>9.1?}  p99 {:>9.1?}  p99.9 {:>9.1?}",
            times.len(),
            at(0.5),
            at(0.99),
            at(0.999)
        );
    }
}
