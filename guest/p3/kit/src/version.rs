//! What the guests `version_a` and `version_b` do: they differ by their letter and nothing else.

use crate::{Answer, Request, fields, stream};

const PIECE: u64 = 100;

/// Answers the letter `?bytes=` times, 1000 where it does not say, and names the version in a
/// header. `/gate` holds the answer after its first piece until the request's body has ended.
pub fn answer(letter: &'static str, request: Request) -> Answer {
    let mut left = request.number("bytes", 1000);
    let mut gate = (request.path() == "/gate").then(|| request.body());
    let headers = fields(&[("content-type", "text/plain"), ("x-version", letter)]);
    stream(headers, async move |mut body| {
        while left > 0 {
            let now = left.min(PIECE);
            body.write(letter.repeat(now as usize)).await?;
            left -= now;
            if let Some(gate) = gate.take() {
                gate.count().await?;
            }
        }
        body.finish().await
    })
}
