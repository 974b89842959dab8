//! A file that is this process's own, or that two processes use by turns.
//!
//! ```text
//! its own:  job job job job job job ...                      open all the time
//! shared:   open job job job close · pause · open job close  the other process between
//! ```
//!
//! redb locks the file for as long as it is open, so who has a turn is alone: what it reads is what the
//! other one has left. Nothing of a turn is remembered but the ids of spaces, which never change; what is
//! in use is counted anew at each opening.
//!
//! Opening and closing for writes waits for the disk five times, however large the file is (redb keeps
//! what is free in the file when it is closed, and reads that). A turn that only reads does not wait for it
//! at all, and both processes may have one at once. So jobs that come while a turn lasts share it.
//! `cargo run --release -p host-keyvalue --example turns` measures both.
//!
//! Who dies in its turn leaves a file that the next one to write checks and repairs. A turn that was to
//! read becomes one that writes, for that.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
};
use std::thread::sleep;
use std::time::Duration;

use host_manifest::Namespace;
use redb::{Database, DatabaseError, ReadOnlyDatabase, ReadableDatabase};
use tokio::time::Instant;
use tracing::info;

use super::commit::Entry;
use super::database::{self, Opener};
use super::sharing::Sharing;
use crate::end::NEVER;
use crate::error::{OpenError, StoreError};
use crate::names::space_name;
use crate::ttl::NextEnd;
use crate::usage::{Accounts, Usage};

/// How long a turn takes in further jobs: as long as opening and closing takes on a disk that is not
/// slow, so that half of the time is work; and no request of the other process notices it.
const TURN: Duration = Duration::from_millis(20);

/// Between two looks whether the other process has let go.
const LOOK: Duration = Duration::from_millis(1);

/// Between two turns of one process. The other one looks three times meanwhile.
const PAUSE: Duration = Duration::from_millis(3);

/// A file that is open, or is opened when it is needed.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    opener: Opener,
    sharing: Arc<Sharing>,
    /// The file was not there before.
    made: bool,
    /// Held for reading by those who work, for writing by who opens or closes.
    state: RwLock<State>,
    /// Locked after `state`, never before it.
    spaces: Mutex<BTreeMap<Namespace, Arc<Entry>>>,
}

#[derive(Debug, Default)]
struct State {
    open: Option<Opened>,
    /// When it was last closed.
    closed: Option<Instant>,
    /// It is not opened again.
    over: bool,
}

#[derive(Debug)]
struct Opened {
    view: View,
    since: Instant,
}

/// For what it is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Read,
    Write,
}

enum View {
    Whole(Database),
    ReadOnly(ReadOnlyDatabase),
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::Whole(_)) { "Whole" } else { "ReadOnly" })
    }
}

impl View {
    fn readable(&self) -> &dyn ReadableDatabase {
        match self {
            Self::Whole(database) => database,
            Self::ReadOnly(database) => database,
        }
    }
}

impl State {
    /// Whether it is open, and may be used for one more job.
    fn takes(&self, need: Need, shared: bool) -> bool {
        let Some(open) = &self.open else { return false };
        match &open.view {
            View::Whole(_) => !shared || open.since.elapsed() < TURN,
            View::ReadOnly(_) => shared && need == Need::Read && open.since.elapsed() < TURN,
        }
    }

    fn close(&mut self) {
        if self.open.take().is_some() {
            self.closed = Some(Instant::now());
        }
    }
}

impl DatabaseFile {
    /// Opens the file, or makes it. If other processes may have it by turns, it waits for one.
    pub(super) fn open(
        path: &Path,
        opener: Opener,
        sharing: Arc<Sharing>,
    ) -> Result<Self, OpenError> {
        // A link that leads nowhere is not ours either.
        let made = path.symlink_metadata().is_err();
        let waits = if sharing.ever() { sharing.patience() } else { Duration::ZERO };
        let mut state = State::default();
        let mut file = Self {
            path: path.to_owned(),
            opener,
            sharing,
            made,
            state: RwLock::default(),
            spaces: Mutex::default(),
        };
        file.begin(&mut state, Need::Write, Instant::now() + waits).map_err(|why| {
            let elsewhere = matches!(why, DatabaseError::DatabaseAlreadyOpen);
            // Whatever there is of it holds nothing, unless another process has just made it.
            if made && !elsewhere && !file.sharing.ever() {
                fs::remove_file(path).ok();
            }
            match why {
                DatabaseError::DatabaseAlreadyOpen if !waits.is_zero() => OpenError::Disk {
                    path: path.display().to_string(),
                    why: file.in_words(redb::Error::DatabaseAlreadyOpen),
                },
                why => database::refused(path, &why),
            }
        })?;
        file.state = RwLock::new(state);
        Ok(file)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads. A file that has failed before is opened again first.
    pub(super) fn read<T>(
        &self,
        work: impl Fn(&dyn ReadableDatabase) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.run(Need::Read, |view| work(view.readable()))
    }

    /// Writes. A file that has failed before is opened again first.
    pub(super) fn write<T>(
        &self,
        work: impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.run(Need::Write, |view| match view {
            View::Whole(database) => work(database),
            View::ReadOnly(_) => Err(redb::Error::DatabaseClosed),
        })
    }

    /// The space, as the file has it; it is written down in a file that does not know it.
    pub(super) fn space(
        &self,
        space: &Namespace,
        accounts: &Accounts,
    ) -> Result<Arc<Entry>, OpenError> {
        if let Some(entry) = self.spaces().get(space) {
            return Ok(entry.clone());
        }
        let name = space_name(space);
        // In the turn in which it was found: what is in use may be something else in the next one.
        let entry = |(id, used), ends| {
            let new = || {
                // What another process writes is not told to this one.
                let ends = if self.is_shared() { 0 } else { ends };
                let usage = Usage::new(accounts.account(space), used);
                Arc::new(Entry { name: name.clone(), id, usage, next_end: NextEnd::new(ends) })
            };
            self.spaces().entry(space.clone()).or_insert_with(new).clone()
        };
        let found = self.read(|view| match database::known(view, &name)? {
            Some(known) => Ok(Some(entry(known, database::next_end(view, known.0)?))),
            None => Ok(None),
        });
        let found = match found {
            Ok(None) => self.write(|whole| Ok(entry(database::register(whole, &name)?, NEVER))),
            Ok(Some(entry)) => Ok(entry),
            Err(why) => Err(why),
        };
        found.map_err(|why| OpenError::Disk {
            path: self.path.display().to_string(),
            why: why.to_string(),
        })
    }

    /// Ends a turn if nobody works in it. For who has found that nothing more waits.
    pub(super) fn rest(&self) {
        if !self.is_shared() {
            return;
        }
        match self.state.try_write() {
            Ok(mut state) => state.close(),
            Err(TryLockError::Poisoned(state)) => state.into_inner().close(),
            // Who works in it now, or opens it, comes here too.
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// After a change of the mode: the file is let go of, or opened for good. Blocks.
    pub(super) fn follow(&self) {
        if self.is_shared() {
            self.change().close();
        } else if let Err(why) = self.enter(Need::Write) {
            // The next job tries it again, and its caller hears of it.
            info!(path = %self.path.display(), %why, "a key-value database is not open yet");
        }
    }

    /// Closes it for good. A start or a reload that is refused leaves no file behind: one that it has made
    /// and that has no pair in it is removed, unless another process may use it.
    pub(super) fn close(&self) {
        let mut state = self.change();
        state.over = true;
        let Some(open) = state.open.take() else { return };
        let unused = self.made
            && !self.sharing.ever()
            && database::is_empty(open.view.readable()).unwrap_or(false);
        // While it is still locked: another process may not have it open by then.
        if unused && let Err(why) = fs::remove_file(&self.path) {
            info!(path = %self.path.display(), %why, "an empty key-value database is left behind");
        }
    }

    pub(super) fn is_shared(&self) -> bool {
        self.sharing.now()
    }

    fn run<T>(
        &self,
        need: Need,
        work: impl Fn(&View) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut result = self.once(need, &work);
        if result.as_ref().is_err_and(is_closed) {
            self.discard();
            result = self.once(need, &work);
        }
        result.map_err(|why| StoreError::Unavailable(self.in_words(why)))
    }

    fn once<T>(
        &self,
        need: Need,
        work: impl Fn(&View) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let state = self.enter(need)?;
        state.open.as_ref().map_or(Err(redb::Error::DatabaseClosed), |open| work(&open.view))
    }

    /// Returns when the file is open for `need`, and keeps it so while what it returns is held.
    fn enter(&self, need: Need) -> Result<RwLockReadGuard<'_, State>, redb::Error> {
        // Of this job: it may wait behind others that wait.
        let deadline = Instant::now() + self.sharing.patience();
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.takes(need, self.is_shared()) {
            return Ok(state);
        }
        drop(state);
        let mut state = self.change();
        // Another one may have been faster.
        if !state.takes(need, self.is_shared()) {
            if state.over {
                return Err(redb::Error::DatabaseClosed);
            }
            self.begin(&mut state, need, deadline)?;
        }
        Ok(RwLockWriteGuard::downgrade(state))
    }

    /// Opens the file: for a turn, or for good. Waits for the other process.
    fn begin(&self, state: &mut State, need: Need, deadline: Instant) -> Result<(), DatabaseError> {
        // To write in a turn that began with reading is no other turn.
        let goes_on = state.open.as_ref().map(|open| open.since);
        let goes_on = goes_on.filter(|since| self.is_shared() && since.elapsed() < TURN);
        state.close();
        if goes_on.is_none() && self.is_shared() {
            let rested = state.closed.map_or(PAUSE, |closed| closed.elapsed());
            sleep(PAUSE.saturating_sub(rested));
        }
        let view = loop {
            match self.open_once(need) {
                Err(DatabaseError::DatabaseAlreadyOpen) if Instant::now() < deadline => sleep(LOOK),
                opened => break opened?,
            }
        };
        self.count_again(view.readable()).map_err(database::storage)?;
        state.open = Some(Opened { view, since: goes_on.unwrap_or_else(Instant::now) });
        Ok(())
    }

    fn open_once(&self, need: Need) -> Result<View, DatabaseError> {
        if self.is_shared() && need == Need::Read {
            match database::open_to_read(&self.path) {
                Ok(view) => return Ok(View::ReadOnly(view)),
                Err(why @ DatabaseError::DatabaseAlreadyOpen) => return Err(why),
                // It has to be repaired; or what is wrong with it is found here, too.
                Err(_) => {}
            }
        }
        (self.opener)(&self.path).map(View::Whole)
    }

    /// After the file has been opened: what it says of itself is what counts.
    fn count_again(&self, view: &dyn ReadableDatabase) -> Result<(), redb::Error> {
        for entry in self.spaces().values() {
            let used = database::known(view, &entry.name)?.map_or(0, |(_, used)| used);
            entry.usage.correct(used);
        }
        Ok(())
    }

    /// Closes it if it works no more.
    fn discard(&self) {
        let mut state = self.change();
        // Another one that met the failure may have been faster.
        let works = state.open.as_ref().is_some_and(
            |open| matches!(&open.view, View::Whole(whole) if !database::is_broken(whole)),
        );
        if !works {
            state.close();
        }
    }

    fn change(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn spaces(&self) -> MutexGuard<'_, BTreeMap<Namespace, Arc<Entry>>> {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_words(&self, why: redb::Error) -> String {
        match why {
            redb::Error::DatabaseAlreadyOpen => format!(
                "another process has had it open for {} s, and only one can: after an upgrade the old \
                 process lets go of it when it ends; any other one has to be ended",
                self.sharing.patience().as_secs_f32()
            ),
            why => why.to_string(),
        }
    }
}

impl Drop for DatabaseFile {
    /// If no thread has done it.
    fn drop(&mut self) {
        self.close();
    }
}

/// Whether nothing was done because an earlier operation had failed.
fn is_closed(why: &redb::Error) -> bool {
    matches!(why, redb::Error::PreviousIo | redb::Error::DatabaseClosed)
}
