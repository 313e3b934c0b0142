//! An echo server and its client, to measure what the socket path costs.
//!
//! `echo server ADDR [SHARDS]` echoes what arrives. `echo client ADDR CONNECTIONS SIZE SECONDS`
//! plays ping-pong on every connection with blocking sockets and prints latency and rate.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a measuring program")]

fn main() {
    #[cfg(not(simulation))]
    echo::main();
    #[cfg(simulation)]
    println!("nothing to measure in virtual time");
}

#[cfg(not(simulation))]
mod echo {
    use std::io::{Read, Write};
    use std::net::SocketAddr;
    use std::time::{Duration, Instant};

    use bytes::BytesMut;
    use runtime::net::{TcpListener, TcpStream};
    use runtime::shards::{self, Context, Options};
    use runtime::task::{Class, spawn};

    pub fn main() {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let arg = |i: usize, default: &str| args.get(i).cloned().unwrap_or(default.to_owned());
        let addr: SocketAddr = arg(1, "127.0.0.1:9999").parse().expect("an address");
        if arg(0, "server") == "server" {
            let count = arg(2, "1").parse().expect("a number of shards");
            let opts = Options { count, ..Options::default() };
            shards::run(opts, move |cx| serve(cx, addr)).expect("the shards start");
        } else {
            let number = |i, default| arg(i, default).parse::<usize>().expect("a number");
            drive(addr, number(2, "1"), number(3, "100"), number(4, "3"));
        }
    }

    async fn serve(_: Context<()>, addr: SocketAddr) {
        let listener = TcpListener::bind(addr, 1024).expect("a free port");
        let stop = spawn(Class::Latency, runtime::signal::stop_requested());
        let accept = spawn(Class::Latency, async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                stream.set_nodelay(true).expect("a TCP socket");
                spawn(Class::Latency, echo(stream)).detach();
            }
        });
        stop.await.expect("a signal");
        drop(accept);
    }

    async fn echo(stream: TcpStream) {
        let mut buf = BytesMut::with_capacity(64 << 10);
        while let Ok(n) = stream.read(&mut buf).await {
            if n == 0 || stream.write_all(&mut vec![buf.split().freeze()]).await.is_err() {
                return;
            }
            buf.reserve(4096);
        }
    }

    fn drive(addr: SocketAddr, connections: usize, size: usize, seconds: usize) {
        let end = Instant::now() + Duration::from_secs(seconds as u64);
        let threads: Vec<_> = (0..connections)
            .map(|_| {
                std::thread::spawn(move || {
                    let mut stream = std::net::TcpStream::connect(addr).expect("a server");
                    stream.set_nodelay(true).expect("a TCP socket");
                    let (out, mut back) = (vec![7u8; size], vec![0u8; size]);
                    let mut times = Vec::new();
                    while Instant::now() < end {
                        let begin = Instant::now();
                        stream.write_all(&out).expect("the server lives");
                        stream.read_exact(&mut back).expect("the server lives");
                        times.push(begin.elapsed());
                    }
                    times
                })
            })
            .collect();
        let mut times: Vec<Duration> =
            threads.into_iter().flat_map(|t| t.join().expect("no panic")).collect();
        times.sort_unstable();
        let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize];
        println!(
            "{connections} connections of {size} bytes: {:.0}/s p50 {:.1?} p99 {:.1?}",
            times.len() as f64 / seconds as f64,
            at(0.5),
            at(0.99)
        );
    }
}
