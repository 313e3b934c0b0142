//! How many requests per second one shard serves when the service does nothing.
//!
//! `echo serve [PORT]` runs a shard that sends each body back; `echo load HOST:PORT [CONNECTIONS]
//! [DEPTH] [BODY_BYTES] [SECONDS]` keeps DEPTH requests in flight on each connection (closed loop)
//! and prints requests per second and the time per round. `echo idle HOST:PORT COUNT` opens COUNT
//! connections that do nothing, for the server's memory to be looked at. Put the two on different
//! cores: `taskset -c 0 echo serve`, `taskset -c 1 echo load ...`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a load generator outside of any shard"
)]

use std::{
    env,
    future::pending,
    io::{Read, Write},
    net::TcpStream,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use server::{
    ConnectionInfo, ConnectionLimits, Listener, Options, Pipelining, Reply, Request, Server,
    Service,
};

struct Echo;

impl Service for Echo {
    fn pipelining(&self, _api_key: i16) -> Pipelining {
        Pipelining::Overlap
    }

    async fn call(self: Rc<Self>, _connection: Rc<ConnectionInfo>, request: Request) -> Reply {
        let mut head = BytesMut::with_capacity(8);
        head.put_i32(request.body.len() as i32 + 4);
        head.put_i32(request.header.correlation_id);
        Reply::segments(vec![head.freeze(), request.body])
    }
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |i: usize, default: usize| {
        arguments.get(i).map_or(default, |text| text.parse().expect("a number"))
    };
    match arguments.first().map(String::as_str) {
        Some("serve") => serve(number(1, 19092)),
        Some("load") => {
            let seconds = Duration::from_secs(number(5, 5) as u64);
            load(&arguments[1], number(2, 1), number(3, 1), number(4, 100), seconds);
        }
        Some("idle") => idle(&arguments[1], number(2, 10_000)),
        _ => eprintln!("echo serve|load|idle, see the head of this file"),
    }
}

fn serve(port: usize) {
    runtime::block_on(async move {
        let address = format!("127.0.0.1:{port}").parse().expect("an address");
        let listeners = [Listener { name: "PLAINTEXT".into(), address }];
        let limits = ConnectionLimits::new(100_000, 100_000, []);
        let options = Options { accepts_per_second: 100_000, ..Options::default() };
        let server = Server::bind(options, limits, &listeners).expect("a free port");
        let _running = server.start(Rc::new(Echo));
        println!("listening on {address}");
        pending::<()>().await;
    });
}

fn load(address: &str, connections: usize, depth: usize, body_bytes: usize, duration: Duration) {
    let mut request = BytesMut::new();
    request.put_i32(10 + body_bytes as i32);
    request.put_slice(&[0, 0, 0, 8, 0, 0, 0, 1, 0, 0]);
    request.put_bytes(7, body_bytes);
    let burst = Bytes::from(request.repeat(depth));
    let mut answers = vec![0; depth * (8 + body_bytes)];
    let connect = || {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("an open socket");
        stream
    };
    let mut streams: Vec<TcpStream> = (0..connections).map(|_| connect()).collect();
    let (begun, mut rounds) = (Instant::now(), 0u64);
    while begun.elapsed() < duration {
        for stream in &mut streams {
            stream.write_all(&burst).expect("the server reads");
        }
        for stream in &mut streams {
            stream.read_exact(&mut answers).expect("the server answers");
        }
        rounds += 1;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let requests = rounds * (connections * depth) as u64;
    println!(
        "{connections} connections, depth {depth}, {body_bytes} bytes: {:.0} requests/s, \
         {:.1} us per round, {:.0} MB/s each way",
        requests as f64 / seconds,
        seconds * 1e6 / rounds as f64,
        requests as f64 * (body_bytes + 8) as f64 / seconds / 1e6,
    );
}

fn idle(address: &str, count: usize) {
    let streams: Vec<TcpStream> =
        (0..count).map(|_| TcpStream::connect(address).expect("the server listens")).collect();
    println!("{} connections are open; press Enter to close them", streams.len());
    let _ = std::io::stdin().read_line(&mut String::new());
}
