//! Too much of something.

use std::collections::BTreeMap;

use kit::types::{ErrorCode, Fields, FutureIncomingResponse, OutgoingRequest, Scheme};
use kit::wasip2::clocks::monotonic_clock::subscribe_duration;
use kit::wasip2::filesystem::preopens::get_directories;
use kit::wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};
use kit::wasip2::io::streams::OutputStream;
use kit::{Done, Reply, Request, client};

/// Keeps each one that it gets. The host can refuse a directory; the others only by a trap.
pub fn handles(what: &str) -> String {
    match what {
        "pollables" => hoard(|| Some(subscribe_duration(u64::MAX))),
        "requests" => hoard(|| Some(OutgoingRequest::new(Fields::new()))),
        "dirs" => {
            let Some((root, _)) = get_directories().pop() else { return "no preopen\n".into() };
            let how = (OpenFlags::DIRECTORY, DescriptorFlags::READ);
            hoard(|| root.open_at(PathFlags::empty(), ".", how.0, how.1).ok())
        }
        _ => hoard(|| Some(Fields::new())),
    }
}

fn hoard<T>(mut one: impl FnMut() -> Option<T>) -> String {
    let mut all = Vec::new();
    while let Some(one) = one() {
        all.push(one);
    }
    format!("refused at {}\n", all.len())
}

/// How many requests came to what, `outcome: number` a line.
pub fn calls(request: &Request, at_once: bool) -> String {
    let url = request.text("url").unwrap_or("http://127.0.0.1:1/");
    let (authority, path) = url.trim_start_matches("http://").split_once('/').unwrap_or((url, ""));
    let mut outcomes = BTreeMap::<String, u64>::new();
    let mut waiting = Vec::new();
    for _ in 0..request.number("n", 100_000) {
        match call(authority, path) {
            Ok(answer) if at_once => waiting.push(answer),
            sent => *outcomes.entry(outcome(sent)).or_default() += 1,
        }
    }
    for answer in waiting {
        *outcomes.entry(outcome(Ok(answer))).or_default() += 1;
    }
    outcomes.into_iter().map(|(outcome, number)| format!("{outcome}: {number}\n")).collect()
}

fn call(authority: &str, path: &str) -> Result<FutureIncomingResponse, ErrorCode> {
    let to = client::To {
        method: client::method("GET"),
        scheme: Scheme::Http,
        authority: authority.into(),
        path: Some(format!("/{path}")),
    };
    let (body, answer) = client::send(&to, Fields::new())?;
    let _ = body.finish();
    Ok(answer)
}

fn outcome(sent: Result<FutureIncomingResponse, ErrorCode>) -> String {
    match sent.and_then(|answer| client::wait(&answer)) {
        Ok(answer) => answer.status().to_string(),
        Err(error) => kit::case(error),
    }
}

pub fn body(reply: Reply) -> Done {
    let mut answer = reply.send(200, Fields::new());
    let piece = [b'x'; 64 * 1024];
    loop {
        answer.write(piece)?;
    }
}

pub fn trailers(kib: u64, reply: Reply) -> Done {
    let mut answer = reply.send(200, Fields::new());
    answer.write("and then\n")?;
    let trailers = Fields::new();
    for i in 0..kib {
        if trailers.append(&format!("x-{i}"), &[b'v'; 1024]).is_err() {
            break;
        }
    }
    answer.finish_with(Some(trailers))
}

pub fn output(stream: &OutputStream) -> Done {
    let lines = "I shall not be silent\n".repeat(100);
    loop {
        stream.blocking_write_and_flush(lines.as_bytes())?;
    }
}
