//! Random bytes that compress to about half: the even half of every 16 bytes is random, the other
//! half is a fixed text.

pub struct Payload {
    state: u64,
}

impl Payload {
    pub fn new(seed: u64) -> Payload {
        Payload { state: seed | 1 }
    }

    /// xorshift64*
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(16) {
            let random = self.next().to_le_bytes();
            let (head, tail) = chunk.split_at_mut(chunk.len().min(8));
            head.copy_from_slice(&random[..head.len()]);
            tail.copy_from_slice(&b"millrace"[..tail.len()]);
        }
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        self.fill(&mut out);
        out
    }
}
