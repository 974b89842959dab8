//! The signal mask. It is inherited: from whoever starts us, and by every thread that we make.

use nix::sys::signal::{SigSet, Signal};

/// Signals that must reach us: those that have a meaning here, those by which guests trap (one that
/// is blocked ends the process instead), and the one that tells of a child's end.
const HEARD: [Signal; 11] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGILL,
    Signal::SIGFPE,
    Signal::SIGCHLD,
];

/// A file grows beyond the limit (RLIMIT_FSIZE). Blocked, because its default is to end the process,
/// for one byte too many of a log, a cache or a guest; the write says EFBIG then, and that is enough.
const NEVER_HEARD: [Signal; 1] = [Signal::SIGXFSZ];

/// Clears what whoever started us has blocked of the signals that we need, and blocks the one that
/// would end the process for an error of one write. To be called first of all: threads inherit it.
pub fn set_signal_mask() {
    let heard: SigSet = HEARD.into_iter().collect();
    let never: SigSet = NEVER_HEARD.into_iter().collect();
    // Only a wrong question is refused (pthread_sigmask(3)), and these are not.
    heard.thread_unblock().ok();
    never.thread_block().ok();
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_we_need_gets_through_and_what_only_kills_does_not() {
        let mask = thread::spawn(|| {
            SigSet::all().thread_block().unwrap();
            set_signal_mask();
            SigSet::thread_get_mask().unwrap()
        });
        let mask = mask.join().unwrap();
        assert!(HEARD.into_iter().all(|signal| !mask.contains(signal)));
        assert!(mask.contains(Signal::SIGXFSZ));
        assert!(mask.contains(Signal::SIGALRM), "what means nothing here stays as it was");
    }
}
