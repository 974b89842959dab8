//! What the host tells guests of a request's trace.

/// What a guest says of its request, but for the trace: each request is of another one.
#[track_caller]
pub fn without_trace(told: &str) -> String {
    let is_trace = |line: &&str| line.starts_with("header.traceparent: ");
    let (trace, rest): (Vec<&str>, Vec<&str>) = told.lines().partition(is_trace);
    let [line] = trace[..] else { panic!("one traceparent: {told}") };
    assert_eq!(line.len(), "header.traceparent: ".len() + 55, "{line}");
    rest.iter().map(|line| format!("{line}\n")).collect()
}
