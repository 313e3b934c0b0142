//! A service whose calls wait for gates, and a client that counts bytes.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::poll_fn,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use runtime::{net::TcpStream, sync::Notify, time::sleep};
use server::{
    ConnectionInfo, ConnectionLimits, Counters, Listener, Options, Pipelining, Reply, Request,
    RunningServer, Server, Service,
};

/// What the service does, by API key.
#[derive(Clone, Copy, Debug)]
#[repr(i16)]
pub enum Api {
    /// Echoes its body; may overlap.
    Overlap,
    /// Echoes its body; a barrier like everything below.
    Echo,
    /// Answers as many bytes as its body says.
    Large,
    /// Answers nothing.
    Silent,
    /// Has the connection closed.
    Close,
    /// Echoes, then mutes for as many milliseconds as its body says.
    Mute,
    /// Answers when its client is gone.
    UntilGone,
    /// Echoes, and leaves its waker behind.
    Restless,
}

#[derive(Default)]
pub struct Gated {
    closed_gates: RefCell<BTreeMap<i32, Rc<Notify>>>,
    pub left_waker: RefCell<Option<Waker>>,
    pub started: RefCell<Vec<i32>>,
    pub finished: RefCell<Vec<i32>>,
}

impl Gated {
    /// The call of this correlation id waits until `open`.
    pub fn close_gate(&self, correlation_id: i32) {
        self.closed_gates.borrow_mut().insert(correlation_id, Rc::default());
    }

    pub fn open(&self, correlation_id: i32) {
        let gate = self.closed_gates.borrow_mut().remove(&correlation_id);
        gate.expect("a closed gate").notify_one();
    }

    pub fn started(&self) -> Vec<i32> {
        self.started.borrow().clone()
    }

    pub fn finished(&self) -> Vec<i32> {
        self.finished.borrow().clone()
    }
}

impl Service for Gated {
    fn pipelining(&self, api_key: i16) -> Pipelining {
        if api_key == Api::Overlap as i16 { Pipelining::Overlap } else { Pipelining::Barrier }
    }

    async fn call(self: Rc<Self>, connection: Rc<ConnectionInfo>, request: Request) -> Reply {
        let id = request.header.correlation_id;
        self.started.borrow_mut().push(id);
        let gate = self.closed_gates.borrow().get(&id).cloned();
        if let Some(gate) = gate {
            gate.notified().await;
        }
        let key = request.header.api_key;
        if key == Api::Restless as i16 {
            let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            self.left_waker.replace(Some(waker));
        }
        if key == Api::UntilGone as i16 {
            connection.gone().await;
        }
        self.finished.borrow_mut().push(id);
        let mut body = request.body;
        if key == Api::Silent as i16 {
            Reply::nothing()
        } else if key == Api::Close as i16 {
            Reply::close("the test asked for it")
        } else if key == Api::Large as i16 {
            let bytes = body.get_u32() as usize;
            Reply::segments(vec![head(id, bytes), Bytes::from(vec![7; bytes])])
        } else if key == Api::Mute as i16 {
            let mute = Duration::from_millis(body.clone().get_u32().into());
            Reply::segments(vec![head(id, body.len()), body]).then_mute(mute)
        } else {
            Reply::segments(vec![head(id, body.len()), body])
        }
    }
}

/// Length field and correlation id in front of `body_bytes` bytes.
fn head(id: i32, body_bytes: usize) -> Bytes {
    let mut head = BytesMut::new();
    head.extend_from_slice(&(body_bytes as i32 + 4).to_be_bytes());
    head.extend_from_slice(&id.to_be_bytes());
    head.freeze()
}

/// A server on a port of its own.
pub struct Site {
    pub service: Rc<Gated>,
    pub server: RunningServer,
    pub counters: Arc<Counters>,
    pub address: SocketAddr,
}

impl Site {
    pub fn open() -> Site {
        Self::open_with(Options::default(), ConnectionLimits::with_defaults())
    }

    pub fn with(options: Options) -> Site {
        Self::open_with(options, ConnectionLimits::with_defaults())
    }

    pub fn open_with(options: Options, limits: Arc<ConnectionLimits>) -> Site {
        let address = "127.0.0.1:0".parse().expect("an address");
        let listeners = [Listener { name: "PLAINTEXT".into(), address }];
        let server = Server::bind(options, limits, &listeners).expect("a free port");
        let address = server.listeners()[0].address;
        let service = Rc::<Gated>::default();
        let server = server.start(Rc::clone(&service));
        Site { service, counters: server.counters(), server, address }
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address).await
    }
}

pub struct Client {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        Client { stream, buffer: BytesMut::new() }
    }

    pub async fn send(&self, api: Api, id: i32, body: &[u8]) {
        self.send_raw(&request(api, id, body)).await;
    }

    pub async fn send_raw(&self, bytes: &[u8]) {
        let mut segments = vec![Bytes::copy_from_slice(bytes)];
        self.stream.write_all(&mut segments).await.expect("the server reads");
    }

    /// The next answer's correlation id and body; `None` when the server closed.
    pub async fn receive(&mut self) -> Option<(i32, Bytes)> {
        loop {
            if let Some(length) = self.buffer.first_chunk().map(|b| u32::from_be_bytes(*b) as usize)
                && self.buffer.len() >= 4 + length
            {
                self.buffer.advance(4);
                let mut frame = self.buffer.split_to(length).freeze();
                return Some((frame.get_i32(), frame));
            }
            match self.stream.read(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub async fn expect(&mut self, ids: &[i32]) {
        for id in ids {
            let (received, _) = self.receive().await.expect("an answer");
            assert_eq!(received, *id);
        }
    }
}

/// A request frame with an empty client id.
pub fn request(api: Api, id: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&(10 + body.len() as i32).to_be_bytes());
    frame.extend_from_slice(&(api as i16).to_be_bytes());
    frame.extend_from_slice(&0i16.to_be_bytes());
    frame.extend_from_slice(&id.to_be_bytes());
    frame.extend_from_slice(&0i16.to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

/// Waits until `condition` holds; what never comes true ends the test by its name.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}
