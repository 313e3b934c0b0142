//! Why a connection between nodes is not made. The numbers travel; they are never reused.

/// A named refusal, as one sentence about the side that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    #[error("what connects does not speak the protocol of nodes: a client on the peer port")]
    WrongMagic,
    #[error("its hello is damaged")]
    BadHello,
    #[error("it speaks no version of the protocol that this node speaks")]
    NoCommonVersion,
    #[error("its hello was made for another connection (a replay)")]
    Replayed,
    #[error("it belongs to another cluster")]
    ForeignCluster,
    #[error("it looks for another node at this address")]
    WrongNode,
    #[error("it claims the node id of the node that it connects to")]
    OwnNodeId,
    #[error("its node id is used by another data directory")]
    UsedNodeId,
    /// Found out by who connects, so it never travels; the sentence is about the side that was connected to.
    #[error("what answers there has another data directory than the node of that id")]
    OtherDirectory,
    #[error("it looks for a shard that this node does not have")]
    NoSuchShard,
    #[error("too many connections")]
    TooManyConnections,
    #[error("it does not say who it is")]
    HelloTimeout,
    /// A reason that only a newer version knows.
    #[error("the other side gives reason {0}")]
    Other(u16),
}

const CODES: [(u16, Refusal); 12] = [
    (1, Refusal::WrongMagic),
    (2, Refusal::BadHello),
    (3, Refusal::NoCommonVersion),
    (4, Refusal::Replayed),
    (5, Refusal::ForeignCluster),
    (6, Refusal::WrongNode),
    (7, Refusal::OwnNodeId),
    (8, Refusal::UsedNodeId),
    (9, Refusal::NoSuchShard),
    (10, Refusal::TooManyConnections),
    (11, Refusal::HelloTimeout),
    (12, Refusal::OtherDirectory),
];

impl Refusal {
    /// The number that travels; never 0.
    pub(crate) fn to_code(self) -> u16 {
        match (CODES.iter().find(|(_, refusal)| *refusal == self), self) {
            (Some((code, _)), _) => *code,
            (None, Refusal::Other(code)) => code,
            (None, _) => unreachable!("every refusal has a code"),
        }
    }

    pub(crate) fn from_code(code: u16) -> Refusal {
        let known = CODES.iter().find(|(known, _)| *known == code);
        known.map_or(Refusal::Other(code), |(_, refusal)| *refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_survives_its_code() {
        for code in 1..=u16::MAX {
            assert_eq!(Refusal::from_code(code).to_code(), code);
        }
    }
}
