//! The handshake: three blocks of fixed size, little-endian, before the first frame.
//!
//! ```text
//! acceptor   greeting  16  magic, versions from and to (u16 each), nonce (u64)
//! initiator  hello    128  magic, versions (u16, u16), the greeting's nonce (u64), cluster id (16),
//!                          directory id (16), node (i32), shard (u16), shard count (u16),
//!                          wanted node (i32, -1: any), wanted shard (u16), flags (u16),
//!                          most bytes of a frame that it takes (u32), zeros, crc32c (u32)
//! acceptor   reply    128  magic, 0 or the code of a refusal (u16), version (u16), zero (u64),
//!                          and from there as the hello, about the acceptor; no wanted node
//! ```
//!
//! The nonce is new for each connection, so a recorded hello opens no other one. That keeps out
//! accidents and replays, not an attacker who reads along: that is what TLS is for, which would wrap
//! the stream before the greeting. Reserved bytes are ignored, the checksum covers them.

use runtime::shards::ShardId;

use crate::{Options, PeerId, Refusal};

/// Not quite text: a client of Kafka that comes here reads a length first, and a negative one it refuses at once.
pub(crate) const MAGIC: [u8; 4] = [b'M' | 0x80, b'R', b'P', b'C'];
pub(crate) const GREETING_BYTES: usize = 16;
pub(crate) const HELLO_BYTES: usize = 128;

/// The versions of the protocol that this code speaks, both inclusive.
pub(crate) const VERSIONS: (u16, u16) = (1, 1);

/// No particular node is wanted.
pub(crate) const ANY_NODE: i32 = -1;
/// The connection is for one call only; it does not replace the peer's lasting one.
const FLAG_ONE_CALL: u16 = 1;

/// The cluster id of nodes that do not know theirs yet.
pub(crate) const NO_CLUSTER: [u8; 16] = [0; 16];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub versions: (u16, u16),
    pub nonce: u64,
}

/// Who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub cluster: [u8; 16],
    pub directory: [u8; 16],
    pub peer: PeerId,
    pub shard_count: u16,
    pub frame_bytes_max: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub versions: (u16, u16),
    pub nonce: u64,
    pub identity: Identity,
    pub wanted_node: i32,
    pub wanted_shard: ShardId,
    pub one_call: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub result: Result<u16, Refusal>,
    pub identity: Identity,
}

impl Identity {
    pub fn new(options: &Options, cluster: [u8; 16]) -> Identity {
        Identity {
            cluster,
            directory: options.directory,
            peer: PeerId { node: options.node, shard: options.shard },
            shard_count: options.shard_count,
            frame_bytes_max: u32::try_from(options.frame_bytes_max).unwrap_or(u32::MAX),
        }
    }

    fn put(&self, block: &mut [u8; HELLO_BYTES]) {
        block[16..32].copy_from_slice(&self.cluster);
        block[32..48].copy_from_slice(&self.directory);
        block[48..52].copy_from_slice(&self.peer.node.to_le_bytes());
        block[52..54].copy_from_slice(&self.peer.shard.0.to_le_bytes());
        block[54..56].copy_from_slice(&self.shard_count.to_le_bytes());
        block[64..68].copy_from_slice(&self.frame_bytes_max.to_le_bytes());
    }

    fn take(block: &[u8; HELLO_BYTES]) -> Identity {
        Identity {
            cluster: array(block, 16),
            directory: array(block, 32),
            peer: PeerId {
                node: i32::from_le_bytes(array(block, 48)),
                shard: ShardId(u16_at(block, 52)),
            },
            shard_count: u16_at(block, 54),
            frame_bytes_max: u32::from_le_bytes(array(block, 64)),
        }
    }

    /// Whether the two may be of one cluster.
    fn shares_cluster(&self, other: &Identity) -> bool {
        self.cluster == other.cluster || self.cluster == NO_CLUSTER || other.cluster == NO_CLUSTER
    }

    /// Whether the node is the one that is known by its id.
    fn has_directory(&self, known: Option<[u8; 16]>) -> bool {
        known.is_none_or(|known| known == self.directory)
    }
}

impl Greeting {
    pub fn encode(&self) -> [u8; GREETING_BYTES] {
        let mut block = [0; GREETING_BYTES];
        block[..4].copy_from_slice(&MAGIC);
        block[4..6].copy_from_slice(&self.versions.0.to_le_bytes());
        block[6..8].copy_from_slice(&self.versions.1.to_le_bytes());
        block[8..].copy_from_slice(&self.nonce.to_le_bytes());
        block
    }

    pub fn decode(block: &[u8; GREETING_BYTES]) -> Result<Greeting, Refusal> {
        if block[..4] != MAGIC {
            return Err(Refusal::WrongMagic);
        }
        let versions = (u16_at(block, 4), u16_at(block, 6));
        Ok(Greeting { versions, nonce: u64::from_le_bytes(array(block, 8)) })
    }
}

impl Hello {
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut block = [0; HELLO_BYTES];
        block[..4].copy_from_slice(&MAGIC);
        block[4..6].copy_from_slice(&self.versions.0.to_le_bytes());
        block[6..8].copy_from_slice(&self.versions.1.to_le_bytes());
        block[8..16].copy_from_slice(&self.nonce.to_le_bytes());
        self.identity.put(&mut block);
        block[56..60].copy_from_slice(&self.wanted_node.to_le_bytes());
        block[60..62].copy_from_slice(&self.wanted_shard.0.to_le_bytes());
        let flags = if self.one_call { FLAG_ONE_CALL } else { 0 };
        block[62..64].copy_from_slice(&flags.to_le_bytes());
        sign(&mut block);
        block
    }

    pub fn decode(block: &[u8; HELLO_BYTES]) -> Result<Hello, Refusal> {
        check(block)?;
        Ok(Hello {
            versions: (u16_at(block, 4), u16_at(block, 6)),
            nonce: u64::from_le_bytes(array(block, 8)),
            identity: Identity::take(block),
            wanted_node: i32::from_le_bytes(array(block, 56)),
            wanted_shard: ShardId(u16_at(block, 60)),
            one_call: u16_at(block, 62) & FLAG_ONE_CALL != 0,
        })
    }

    /// The version to speak, unless the one who says this must be refused by `ours`, which knows
    /// the directory of that node id as `known`.
    pub fn judge(&self, ours: &Identity, known: Option<[u8; 16]>) -> Result<u16, Refusal> {
        let (low, high) = (self.versions.0.max(VERSIONS.0), self.versions.1.min(VERSIONS.1));
        let theirs = &self.identity;
        if low > high {
            Err(Refusal::NoCommonVersion)
        } else if !theirs.shares_cluster(ours) {
            Err(Refusal::ForeignCluster)
        } else if theirs.peer.node < 0 || theirs.peer.shard.0 >= theirs.shard_count {
            Err(Refusal::BadHello)
        } else if theirs.peer.node == ours.peer.node {
            Err(Refusal::OwnNodeId)
        } else if self.wanted_node != ANY_NODE && self.wanted_node != ours.peer.node {
            Err(Refusal::WrongNode)
        } else if !theirs.has_directory(known) {
            Err(Refusal::UsedNodeId)
        } else if self.wanted_shard.0 >= ours.shard_count {
            Err(Refusal::NoSuchShard)
        } else {
            Ok(high)
        }
    }
}

impl Reply {
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let (code, version) = match self.result {
            Ok(version) => (0, version),
            Err(refusal) => (refusal.to_code(), 0),
        };
        let mut block = [0; HELLO_BYTES];
        block[..4].copy_from_slice(&MAGIC);
        block[4..6].copy_from_slice(&code.to_le_bytes());
        block[6..8].copy_from_slice(&version.to_le_bytes());
        self.identity.put(&mut block);
        sign(&mut block);
        block
    }

    pub fn decode(block: &[u8; HELLO_BYTES]) -> Result<Reply, Refusal> {
        check(block)?;
        let result = match u16_at(block, 4) {
            0 => Ok(u16_at(block, 6)),
            code => Err(Refusal::from_code(code)),
        };
        Ok(Reply { result, identity: Identity::take(block) })
    }

    /// Whether this is the answer that `hello` hoped for.
    pub fn judge(&self, hello: &Hello, known: Option<[u8; 16]>) -> Result<(), Refusal> {
        let version = self.result?;
        let wanted = hello.wanted_node;
        if !(hello.versions.0..=hello.versions.1).contains(&version) {
            Err(Refusal::NoCommonVersion)
        } else if !self.identity.shares_cluster(&hello.identity) {
            Err(Refusal::ForeignCluster)
        } else if wanted != ANY_NODE && self.identity.peer.node != wanted {
            Err(Refusal::WrongNode)
        } else if wanted != ANY_NODE && !self.identity.has_directory(known) {
            Err(Refusal::OtherDirectory)
        } else {
            Ok(())
        }
    }
}

fn sign(block: &mut [u8; HELLO_BYTES]) {
    let sum = crc32c::crc32c(&block[..HELLO_BYTES - 4]);
    block[HELLO_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
}

fn check(block: &[u8; HELLO_BYTES]) -> Result<(), Refusal> {
    if block[..4] != MAGIC {
        return Err(Refusal::WrongMagic);
    }
    let sum = u32::from_le_bytes(array(block, HELLO_BYTES - 4));
    if sum == crc32c::crc32c(&block[..HELLO_BYTES - 4]) { Ok(()) } else { Err(Refusal::BadHello) }
}

fn array<const N: usize>(block: &[u8], at: usize) -> [u8; N] {
    block[at..at + N].try_into().expect("within the block")
}

fn u16_at(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(block, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(node: i32) -> Identity {
        Identity::new(&Options::new(node, [node as u8; 16], ShardId(1), 4), [9; 16])
    }

    fn hello() -> Hello {
        Hello {
            versions: VERSIONS,
            nonce: 77,
            identity: identity(1),
            wanted_node: 2,
            wanted_shard: ShardId(3),
            one_call: true,
        }
    }

    #[test]
    fn the_three_blocks_read_back_as_written() {
        let greeting = Greeting { versions: (1, 7), nonce: u64::MAX - 3 };
        assert_eq!(Greeting::decode(&greeting.encode()), Ok(greeting));
        assert_eq!(Hello::decode(&hello().encode()), Ok(hello()));
        for result in [Ok(1), Err(Refusal::ForeignCluster)] {
            let reply = Reply { result, identity: identity(2) };
            assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
        }
    }

    #[test]
    fn a_changed_bit_anywhere_is_noticed() {
        let block = hello().encode();
        for at in 0..HELLO_BYTES {
            let mut damaged = block;
            damaged[at] ^= 4;
            let expected = if at < 4 { Refusal::WrongMagic } else { Refusal::BadHello };
            assert_eq!(Hello::decode(&damaged), Err(expected), "byte {at}");
        }
    }

    #[test]
    fn each_reason_to_refuse_a_hello_has_its_name() {
        let ours = identity(2);
        type Change<'a> = &'a dyn Fn(&mut Hello);
        let cases: [(Change<'_>, Result<u16, Refusal>); 10] = [
            (&|_| {}, Ok(1)),
            (&|h| h.versions = (2, 9), Err(Refusal::NoCommonVersion)),
            (&|h| h.identity.cluster = [8; 16], Err(Refusal::ForeignCluster)),
            (&|h| h.identity.cluster = NO_CLUSTER, Ok(1)),
            (&|h| h.identity.peer.node = 2, Err(Refusal::OwnNodeId)),
            (&|h| h.identity.peer.node = -1, Err(Refusal::BadHello)),
            (&|h| h.identity.directory = [5; 16], Err(Refusal::UsedNodeId)),
            (&|h| h.wanted_node = 7, Err(Refusal::WrongNode)),
            (&|h| h.wanted_node = ANY_NODE, Ok(1)),
            (&|h| h.wanted_shard = ShardId(4), Err(Refusal::NoSuchShard)),
        ];
        for (number, (change, expected)) in cases.into_iter().enumerate() {
            let mut hello = hello();
            change(&mut hello);
            assert_eq!(hello.judge(&ours, Some([1; 16])), expected, "case {number}");
        }
    }

    #[test]
    fn a_reply_is_judged_as_strictly_as_a_hello() {
        let reply = Reply { result: Ok(1), identity: identity(2) };
        let known = Some([2; 16]);
        assert_eq!(reply.judge(&hello(), known), Ok(()));
        assert_eq!(reply.judge(&hello(), Some([3; 16])), Err(Refusal::OtherDirectory));
        let other = Reply { identity: identity(3), ..reply };
        assert_eq!(other.judge(&hello(), None), Err(Refusal::WrongNode));
        let newer = Reply { result: Ok(2), ..reply };
        assert_eq!(newer.judge(&hello(), known), Err(Refusal::NoCommonVersion));
        let refused = Reply { result: Err(Refusal::NoSuchShard), ..reply };
        assert_eq!(refused.judge(&hello(), known), Err(Refusal::NoSuchShard));
        let mut foreign = reply;
        foreign.identity.cluster = [1; 16];
        assert_eq!(foreign.judge(&hello(), known), Err(Refusal::ForeignCluster));
    }
}
