//! Answers as its query tells: with `status`, with headers `set=NAME:VALUE|NAME:VALUE` (`'` is a quotation mark), with
//! `n` pieces of `bytes` each, with `declare=1` their length, and with `hold=1` no end.
//! Learnt from it: what the host makes of a response on its way to the client.

use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    let (n, bytes) = (request.number("n", 1) as usize, request.number("bytes", 0) as usize);
    let (length, set) =
        ((n * bytes).to_string(), request.text("set").unwrap_or("").replace('\'', "\""));
    let mut fields: Vec<_> = set.split('|').filter_map(|field| field.split_once(':')).collect();
    if request.text("declare").is_some() {
        fields.push(("content-length", &length));
    }
    let mut answer = reply.send(request.number("status", 200) as u16, kit::fields(&fields));
    for _ in 0..n {
        let text: Vec<u8> = b"etaoin shrdlu\n".iter().copied().cycle().take(bytes).collect();
        answer.write(text)?;
    }
    if request.text("hold").is_some() {
        kit::sleep(3_600_000);
    }
    answer.finish()
}
