//! What the clients of one stop share.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::fate::When;
use super::kinds::ClientKind;
use super::plan::Plan;
use super::target::Tested;

/// How long there may be no answer to a kind of client each of which has had another outcome.
const FIRST_ANSWERS: Duration = Duration::from_secs(2);

/// What all stops of a test share.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) plan: Plan,
    pub(crate) tested: Tested,
    ids: AtomicU64,
    /// The status of the first response that each kind of client got, and that may be right.
    expected: watch::Sender<BTreeMap<ClientKind, u16>>,
}

impl Course {
    pub(crate) fn new(plan: Plan, tested: Tested) -> Self {
        Self { plan, tested, ids: AtomicU64::new(1), expected: watch::Sender::default() }
    }

    /// A number that no other request has.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// The status that clients of this kind must get: this one, if it is the first that may be right. None when there
    /// was no such one yet. Not to be asked for 5xx: that is lost in any case, and a server that begins with it may
    /// come to itself.
    pub(crate) fn expected(&self, kind: ClientKind, status: u16) -> Option<u16> {
        let known = self.expected.borrow().get(&kind).copied();
        if known.is_some() || !self.plan.may_be_right(status) {
            return known;
        }
        let mut is = status;
        self.expected.send_modify(|expected| is = *expected.entry(kind).or_insert(status));
        Some(is)
    }

    /// The status of each kind of client that has had an answer.
    pub(crate) fn statuses(&self) -> BTreeMap<ClientKind, u16> {
        self.expected.borrow().clone()
    }

    /// A kind of client none of which has had an answer.
    pub(crate) fn unanswered(&self) -> Option<ClientKind> {
        let expected = self.expected.borrow();
        self.plan.kinds.iter().copied().find(|kind| !expected.contains_key(kind))
    }

    /// Waits until there is none.
    async fn all_answered(&self) {
        let kinds = &self.plan.kinds;
        let all = |expected: &BTreeMap<_, _>| kinds.iter().all(|kind| expected.contains_key(kind));
        // The sender is ours, so the wait does not fail.
        drop(self.expected.subscribe().wait_for(all).await);
    }
}

/// One stop. The moments are levels: once set, they stay.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) course: Arc<Course>,
    pub(crate) address: SocketAddr,
    triggered: OnceLock<Instant>,
    refused: OnceLock<Instant>,
    over: OnceLock<Instant>,
    /// Clients that have had an outcome.
    warm: watch::Sender<usize>,
    /// Whether a connect has failed for a reason of our own.
    hindered: watch::Sender<bool>,
    /// Whether a request was answered.
    answered: watch::Sender<bool>,
}

impl Round {
    pub(crate) fn new(course: Arc<Course>, address: SocketAddr) -> Self {
        Self {
            course,
            address,
            triggered: OnceLock::new(),
            refused: OnceLock::new(),
            over: OnceLock::new(),
            warm: watch::Sender::new(0),
            hindered: watch::Sender::new(false),
            answered: watch::Sender::new(false),
        }
    }

    /// To be called before the server is told, so that whoever is refused by it sees it.
    pub(crate) fn trigger(&self) -> Instant {
        *self.triggered.get_or_init(Instant::now)
    }

    /// A connect was refused. Gives whether the stop had begun.
    pub(crate) fn refuse(&self) -> bool {
        let stopping = self.triggered.get().is_some();
        if stopping {
            self.refused.get_or_init(Instant::now);
        }
        stopping
    }

    pub(crate) fn refused(&self) -> Option<Instant> {
        self.refused.get().copied()
    }

    /// The load is over: requests that are under way end, and no others begin.
    pub(crate) fn end(&self) {
        self.over.get_or_init(Instant::now);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.get().is_some()
    }

    /// Whether a request that is still under way has had its time since the end of the load.
    pub(crate) fn is_overdue(&self) -> bool {
        self.over.get().is_some_and(|over| over.elapsed() > self.course.plan.patience)
    }

    /// Where the stop was for a request with these moments.
    pub(crate) fn when(&self, began: Instant, ended: Instant) -> When {
        let after = |moment: &OnceLock<Instant>, at| moment.get().is_some_and(|set| at >= *set);
        if after(&self.refused, began) {
            When::After
        } else if after(&self.triggered, ended) {
            When::Stop
        } else {
            When::Before
        }
    }

    pub(crate) fn one_more_is_warm(&self) {
        self.warm.send_modify(|warm| *warm += 1);
    }

    /// A connect has failed for a reason of our own.
    pub(crate) fn is_hindered(&self) {
        self.hindered.send_if_modified(|hindered| !std::mem::replace(hindered, true));
    }

    /// A request was answered.
    pub(crate) fn is_answered(&self) {
        self.answered.send_if_modified(|answered| !std::mem::replace(answered, true));
    }

    /// Waits until one was.
    pub(crate) async fn answered(&self) {
        // The sender is ours, so the wait does not fail.
        drop(self.answered.subscribe().wait_for(|answered| *answered).await);
    }

    /// Waits until so many clients have had an outcome, and then a moment for an answer to each kind of them.
    pub(crate) async fn warmed(&self, clients: usize) {
        // The senders are ours, so the waits do not fail.
        drop(self.warm.subscribe().wait_for(|warm| *warm >= clients).await);
        let mut hindered = self.hindered.subscribe();
        tokio::select! {
            () = self.course.all_answered() => {}
            _ = hindered.wait_for(|hindered| *hindered) => {}
            () = sleep(FIRST_ANSWERS) => {}
        }
    }
}
