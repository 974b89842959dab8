//! Which files have changed, and when a reload is asked for again that was refused.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use host_manifest::Stamp;
use tokio::time::{Instant, sleep_until};

use crate::site::SwapOutcome;

/// A reload that failed for what passes is tried again after this time, then after twice of it, and so
/// on: what passes quickly is not waited for, and what lasts does not fill the log.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A file as it was when it was last read: its path, and what was there. None: unknown.
pub(super) type FileAsRead = (PathBuf, Option<Stamp>);

/// What a look at a file finds: what it was when it was read, and what it is now.
pub(super) type FileSeen = (FileAsRead, Stamp);

/// Files that were not what had been read at the latest look, by path and what that was, and what
/// they were instead: a reload has been asked for, and may have been refused.
#[derive(Debug, Default)]
pub(super) struct ChangedFiles(BTreeMap<FileAsRead, Stamp>);

impl ChangedFiles {
    /// Takes in what a look has found. True if a reload is to be asked for, because one of the files is
    /// neither what was read nor what it was at the latest look.
    pub(super) fn update(&mut self, files: Vec<FileSeen>) -> bool {
        let mut differ = BTreeMap::new();
        let mut changed = false;
        for (file, now) in files {
            let as_read = file.1;
            if as_read != Some(now) {
                let before = self.0.get(&file).copied().or(as_read);
                changed |= before.is_some_and(|before| before != now);
                differ.insert(file, now);
            }
        }
        self.0 = differ;
        changed
    }

    /// Whether all files are what was read of them.
    pub(super) fn is_served(&self) -> bool {
        self.0.is_empty()
    }
}

/// When a reload that was refused is asked for once more, although no file has changed.
#[derive(Debug, Default)]
pub(super) struct Retry {
    due: Option<Instant>,
    pause: Duration,
}

impl Retry {
    /// After what has come of a reload: not if the refusal is for what the files are.
    pub(super) fn after(&mut self, outcome: &SwapOutcome) {
        match outcome {
            SwapOutcome::Rejected(why) if why.passing => {
                self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                self.due = Some(Instant::now() + self.pause);
            }
            SwapOutcome::Rejected(_)
            | SwapOutcome::Swapped { .. }
            | SwapOutcome::Canary { .. }
            | SwapOutcome::Promoted { .. }
            | SwapOutcome::Aborted { .. }
            | SwapOutcome::Unchanged { .. }
            | SwapOutcome::Reloaded(_) => *self = Self::default(),
        }
    }

    /// It has been asked for: its outcome says how this goes on.
    pub(super) fn asked(&mut self) {
        self.due = None;
    }

    /// What is served is what the files are, by another reload.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_due(&self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }

    /// Waits until it is; for ever if it is not to be. Cancel-safe.
    pub(super) async fn wait(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::component::{Rejected, Step};

    #[test]
    fn a_file_has_changed_when_it_is_not_what_was_read() {
        let folder = std::env::temp_dir().join(format!("host-changes-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let at = |name: &str| folder.join(name);
        for name in ["one", "two", "three"] {
            std::fs::write(at(name), name).unwrap();
        }
        let turn = |name: &str| {
            symlink(name, at("new")).unwrap();
            std::fs::rename(at("new"), at("link")).unwrap();
        };
        let (one, two, three) =
            (Stamp::at(&at("one")), Stamp::at(&at("two")), Stamp::at(&at("three")));
        let read = |stamps: &[Option<Stamp>]| {
            let seen = |stamp: &Option<Stamp>| ((at("link"), *stamp), Stamp::at(&at("link")));
            stamps.iter().map(seen).collect::<Vec<_>>()
        };
        turn("one");
        let mut changed = ChangedFiles::default();
        assert!(!changed.update(read(&[Some(one)])), "it is what was read");
        assert!(!ChangedFiles::default().update(read(&[None])), "it went back, and nothing since");
        assert!(
            changed.update(read(&[Some(one), Some(two)])),
            "the second component serves another"
        );
        let mut gone_back = ChangedFiles::default();
        assert!(!gone_back.update(read(&[None])));
        turn("two");
        assert!(gone_back.update(read(&[None])));
        assert!(changed.update(read(&[Some(one)])));
        assert!(!changed.update(read(&[Some(one)])), "it was refused");
        turn("one");
        assert!(!changed.update(read(&[Some(one)])));
        turn("two");
        assert!(changed.update(read(&[Some(one)])), "somebody tries again");
        assert!(!changed.update(read(&[Some(two)])), "it was taken");
        // Another reload has the third one read, and the link is turned back before it is looked at.
        assert!(changed.update(read(&[Some(three)])));
        std::fs::remove_file(at("two")).unwrap();
        assert!(changed.update(read(&[Some(two)])), "it is gone");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// A change whose reload found no descriptor was forgotten: for good, since nothing more happened to
    /// the file.
    #[tokio::test(start_paused = true)]
    async fn what_failed_for_what_passes_is_tried_again_less_and_less_often() {
        let passes = SwapOutcome::Rejected(Rejected::for_now(Step::Read, "no descriptor"));
        let mut retry = Retry::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            retry.after(&passes);
            assert!(!retry.is_due());
            let began = Instant::now();
            retry.wait().await;
            assert!(retry.is_due());
            pauses.push(began.elapsed().as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        retry.after(&SwapOutcome::Rejected(Rejected::at(Step::Check, "no component")));
        assert!(!retry.is_due());
        retry.after(&passes);
        let began = Instant::now();
        retry.wait().await;
        assert_eq!(began.elapsed(), FIRST_PAUSE, "another failure begins anew");
    }
}
