//! Who is killed where memory runs out: the process that does not serve yet.

use std::fs;

use tracing::debug;

const ADJUSTMENT: &str = "/proc/self/oom_score_adj";

/// While this lives, the kernel kills this process before others of its cgroup if there is too little memory for all of
/// them (proc(5), `oom_score_adj`). Dropping it makes it one like the others.
#[derive(Debug)]
pub(super) struct FirstToKill {
    /// None where the kernel was not told.
    before: Option<String>,
}

impl FirstToKill {
    pub(super) fn begin() -> Self {
        let before = fs::read_to_string(ADJUSTMENT);
        let before = before.and_then(|before| fs::write(ADJUSTMENT, "1000").map(|()| before));
        // Without /proc it is as it always was.
        let before = before.inspect_err(|why| debug!(%why, "upgrade: no word for the OOM killer"));
        Self { before: before.ok() }
    }
}

impl Drop for FirstToKill {
    fn drop(&mut self) {
        // Back to what it was needs no right (CAP_SYS_RESOURCE) but for less than that.
        if let Some(before) = &self.before
            && let Err(why) = fs::write(ADJUSTMENT, before.trim())
        {
            debug!(%why, "upgrade: stays the first to be killed where memory runs out");
        }
    }
}
