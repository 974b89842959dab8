//! What the peer sends, by dice.

use std::fmt::Write as _;

/// splitmix64: small, and the same everywhere.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    pub(super) fn size(&mut self, most: usize) -> usize {
        usize::try_from(self.roll(most as u64)).expect("less than a usize")
    }

    pub(super) fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

/// What the service does with a request's body, said in its path.
const READS: [&str; 5] = ["all", "first", "none", "drop", "discard"];
/// When it answers: before it reads, after that, or in the middle; slowly or at once.
const ANSWERS: [&str; 4] = ["early", "late", "slow", "broken"];

/// What a request is made of.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) bytes: Vec<u8>,
    /// Where its head ends in them.
    pub(super) head: usize,
    pub(super) answer: &'static str,
    pub(super) malformed: bool,
}

/// A body that would be a request, were it read as one.
const DECOY: &str = "GET /decoy HTTP/1.1\r\nHost: a\r\n\r\n";

impl Sent {
    pub(super) fn roll(number: usize, dice: &mut Dice) -> Self {
        let read = READS[dice.size(READS.len())];
        let breaks = usize::from(dice.one_in(8));
        let answer = ANSWERS[dice.size(3 + breaks)];
        let holds = if dice.one_in(2) { "hold" } else { "let" };
        let target = format!("/{number}/{read}/{answer}/{holds}");
        let mut body = String::new();
        let mut malformed = false;
        let framing = match dice.roll(4) {
            0 | 1 => String::new(),
            2 => {
                let most = if dice.one_in(20) { 4000 } else { 4 };
                body = DECOY.repeat(dice.size(most));
                format!("Content-Length: {}\r\n", body.len())
            }
            _ => {
                for _ in 0..dice.size(4) {
                    let chunk = DECOY.repeat(1 + dice.size(3));
                    write!(body, "{:x}\r\n{chunk}\r\n", chunk.len()).expect("a string");
                }
                malformed = dice.one_in(12);
                body += if malformed { "2;\r\nab\r\n0\r\n\r\n" } else { "0\r\n\r\n" };
                "Transfer-Encoding: chunked\r\n".into()
            }
        };
        let lead = if dice.one_in(10) { "\r\n" } else { "" };
        let method = if framing.is_empty() { "GET" } else { "POST" };
        let head = format!("{lead}{method} {target} HTTP/1.1\r\nHost: a\r\n{framing}\r\n");
        let length = head.len();
        Self { bytes: (head + &body).into_bytes(), head: length, answer, malformed }
    }
}
