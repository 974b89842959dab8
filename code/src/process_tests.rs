use super::*;
use crate::{ChildTask, Yields};

/// More than any child in the tests writes.
const MOST: u64 = 100;

const ORDERS: ChildOrders = ChildOrders {
    task: ChildTask::Code,
    memory: 1 << 30,
    cpu: Duration::from_secs(60),
    threads: 1,
    yields: Yields::Most,
    concurrency: false,
    parent: 1,
};

fn judged(status: i32, words: &str) -> String {
    let (status, output) = (ExitStatus::from_raw(status), b"code".to_vec());
    match outcome(ChildOutput { status, output, words: words.into(), memory: None }, &ORDERS, MOST)
    {
        Ok(output) => String::from_utf8(output).unwrap(),
        Err(why) => why.to_string(),
    }
}

#[test]
fn every_exit_of_a_child_has_its_sentence() {
    const CODE: i32 = 1 << 8;
    for (status, words, says) in [
        (0, "", "code"),
        (10 * CODE, "unknown instruction", "does not compile: unknown instruction"),
        (3 * CODE, "no threads", "the compiler cannot work here: no threads"),
        (9, "", "the compiler was killed, by the kernel for want of memory or by somebody"),
        (24, "", "took more than 60s of CPU time"),
        (6, "memory allocation of 8 bytes failed", "took more than 1GiB (--compile-memory)"),
        (11 * CODE, "mmap failed: Cannot allocate memory", "more than 1GiB (--compile-memory)"),
        // Names that the component chose.
        (10 * CODE, "export `out of memory` conflicts", "does not compile: export `out of"),
        // The filter does not let it send itself the signal of an abort.
        (11, "memory allocation of 8 bytes failed", "took more than 1GiB (--compile-memory)"),
        (6, "panicked at x: memory allocation of 8 bytes failed", "the compiler failed"),
        (101 * CODE, "panicked at x: out of memory", "the compiler failed (exit status: 101)"),
        (11, "", "the compiler failed (signal: 11"),
        (101 * CODE, "index out of bounds", "(exit status: 101): index out of bounds"),
    ] {
        let judged = judged(status, words);
        assert!(judged.contains(says), "{status} {words}: {judged}");
    }
}

#[test]
fn a_child_with_too_much_output_is_not_held_in_memory() {
    let most = usize::try_from(MOST).unwrap();
    for (bytes, says) in [(most, None), (most + 1, Some("more than 100B"))] {
        // A child without a reader has failed, for that reason.
        let status = ExitStatus::from_raw(if says.is_none() { 0 } else { 3 << 8 });
        let (output, words) = (vec![0; bytes], String::new());
        let left = ChildOutput { status, output, words, memory: None };
        let judged = outcome(left, &ORDERS, MOST);
        match says {
            None => assert_eq!(judged.unwrap().len(), bytes),
            Some(says) => assert!(judged.unwrap_err().to_string().contains(says)),
        }
    }
}

#[test]
fn a_stopped_process_is_not_kept_waiting() {
    assert!(is_kept_waiting(std::process::id()));
    let mut stopped = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&stopped);
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::UNTRACED).unwrap();
    assert!(!is_kept_waiting(stopped.id()));
    stopped.kill().unwrap();
    stopped.wait().unwrap();
}

#[test]
fn cpu_time_is_read_after_any_name() {
    let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 99 1 1";
    assert_eq!(ticks(stat), Some(Duration::from_millis(200_000 / clock_ticks_per_second())));
    assert_eq!(ticks("7 (a"), None);
    assert!(cpu_time(std::process::id()).is_some());
}
