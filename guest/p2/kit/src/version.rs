//! What the guests `version_a` and `version_b` do: they differ by their letter and nothing else.

use crate::{Done, Reply, Request, fields};

const PIECE: u64 = 100;

/// Answers the letter `?bytes=` times, 1000 where it does not say, and names the version in a
/// header. `/gate` holds the answer after its first piece until the request's body has ended.
pub fn answer(letter: &str, request: Request, reply: Reply) -> Done {
    let mut left = request.number("bytes", 1000);
    let mut gate = (request.path() == "/gate").then(|| request.body());
    let mut body =
        reply.send(200, fields(&[("content-type", "text/plain"), ("x-version", letter)]));
    while left > 0 {
        let now = left.min(PIECE);
        body.write(letter.repeat(now as usize))?;
        left -= now;
        if let Some(gate) = gate.take() {
            gate.count()?;
        }
    }
    body.finish()
}
