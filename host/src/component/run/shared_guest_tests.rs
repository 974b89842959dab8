use std::sync::atomic::AtomicUsize;
use std::task::Poll;

use super::*;

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Woken {
    fn waker() -> (Arc<Self>, Waker) {
        let woken = Arc::<Self>::default();
        (woken.clone(), woken.into())
    }

    fn takes(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

/// What a guest under test does at its next poll, and the waker of that poll.
#[derive(Default)]
struct Script {
    polls: AtomicUsize,
    waker: Mutex<Option<Waker>>,
    wakes_itself: AtomicUsize,
    ends: AtomicBool,
}

impl Script {
    fn polls(&self) -> usize {
        self.polls.swap(0, Ordering::SeqCst)
    }

    fn wake(&self) {
        self.waker.lock().unwrap().as_ref().expect("it was polled").wake_by_ref();
    }
}

/// A guest that follows a script, with its task and two exchanges that have not polled it.
struct Scene {
    script: Arc<Script>,
    guest: Arc<SharedGuest>,
    task: (Arc<Woken>, Waker),
    one: (Arc<Woken>, Waker),
    two: (Arc<Woken>, Waker),
}

impl Scene {
    fn new() -> Self {
        let script = Arc::<Script>::default();
        let follows = script.clone();
        let guest = std::future::poll_fn(move |cx| {
            follows.polls.fetch_add(1, Ordering::SeqCst);
            *follows.waker.lock().unwrap() = Some(cx.waker().clone());
            let more = |left: usize| left.checked_sub(1);
            if follows.wakes_itself.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok() {
                cx.waker().wake_by_ref();
            }
            if follows.ends.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        });
        let guest = Arc::new(SharedGuest::new(Box::pin(guest)));
        let (task, one, two) = (Woken::waker(), Woken::waker(), Woken::waker());
        let scene = Self { script, guest, task, one, two };
        assert!(scene.poll_task().is_pending());
        assert_eq!(scene.script.polls(), 0, "there is nothing for it yet");
        scene
    }

    fn poll_task(&self) -> Poll<()> {
        self.guest.poll_for_task(&Context::from_waker(&self.task.1))
    }

    fn poll(&self, (_, waker): &(Arc<Woken>, Waker), alone: bool) {
        self.guest.poll_for_exchange(&Context::from_waker(waker), || alone);
    }

    /// How often the task and the two exchanges were woken.
    fn woken(&self) -> [usize; 3] {
        [&self.task, &self.one, &self.two].map(|(woken, _)| woken.takes())
    }
}

#[test]
fn an_exchange_polls_it_there_and_then_and_nothing_is_woken() {
    let scene = Scene::new();
    scene.guest.mark();
    scene.poll(&scene.one, true);
    assert_eq!(scene.script.polls(), 1);
    scene.poll(&scene.one, true);
    assert_eq!(scene.script.polls(), 0, "it was not woken since");
    scene.guest.leave();
    assert_eq!(scene.woken(), [0, 0, 0]);
}

#[test]
fn it_wakes_an_exchange_that_is_alone_and_else_its_task() {
    let scene = Scene::new();
    scene.guest.mark();
    scene.poll(&scene.one, true);
    scene.script.wake();
    assert_eq!(scene.woken(), [0, 1, 0]);
    // The second one joins before the first one is polled again: its client may not read.
    scene.poll(&scene.two, false);
    assert_eq!(scene.script.polls(), 2);
    scene.script.wake();
    assert_eq!(scene.woken(), [1, 0, 0]);
    assert!(scene.poll_task().is_pending());
    assert_eq!(scene.script.polls(), 1);
    scene.poll(&scene.one, true);
    scene.script.wake();
    assert_eq!(scene.woken(), [0, 1, 0], "alone again");
    scene.guest.leave();
    assert_eq!(scene.woken(), [1, 0, 0], "what it was woken for is its task's now");
    assert!(scene.poll_task().is_pending());
    scene.script.wake();
    assert_eq!(scene.woken(), [1, 0, 0], "an exchange that has left is not woken");
}

#[test]
fn a_guest_that_wakes_itself_for_ever_is_left_to_its_task() {
    let scene = Scene::new();
    scene.script.wakes_itself.store(1, Ordering::SeqCst);
    scene.guest.mark();
    scene.poll(&scene.one, true);
    assert_eq!((scene.script.polls(), scene.woken()), (2, [0, 0, 0]));
    scene.script.wakes_itself.store(usize::MAX, Ordering::SeqCst);
    scene.guest.mark();
    scene.poll(&scene.one, true);
    assert_eq!((scene.script.polls(), scene.woken()), (ROUNDS, [1, 0, 0]));
    assert!(scene.poll_task().is_pending());
    assert_eq!((scene.script.polls(), scene.woken()), (ROUNDS, [1, 0, 0]), "others have a turn");
}

#[test]
fn what_it_is_woken_for_during_a_poll_is_seen_by_whoever_polls_it() {
    let script = Arc::<Script>::default();
    let (polls, inner) = (script.clone(), Arc::<OnceLock<Arc<SharedGuest>>>::default());
    let (task, one) = (Woken::waker(), Woken::waker());
    let (guest, other) = (inner.clone(), one.1.clone());
    let future = std::future::poll_fn(move |_| {
        if polls.polls.fetch_add(1, Ordering::SeqCst) == 0 {
            // As from another thread: it cannot poll a guest that is being polled, and leaves that to the poller.
            let guest = guest.get().expect("it is there");
            guest.mark();
            guest.poll_for_exchange(&Context::from_waker(&other), || false);
        }
        Poll::<()>::Pending
    });
    let guest = Arc::new(SharedGuest::new(Box::pin(future)));
    inner.set(guest.clone()).ok().expect("set once");
    guest.mark();
    assert!(guest.poll_for_task(&Context::from_waker(&task.1)).is_pending());
    assert_eq!(script.polls(), 2);
    assert_eq!([task.0.takes(), one.0.takes()], [0, 0]);
}

#[test]
fn a_guest_that_is_killed_is_dropped_at_once_and_its_task_hears_of_it() {
    let scene = Scene::new();
    scene.guest.mark();
    scene.poll(&scene.one, true);
    assert_eq!(Arc::strong_count(&scene.script), 2);
    scene.guest.kill();
    assert_eq!(Arc::strong_count(&scene.script), 1, "the guest is dropped");
    assert_eq!(scene.woken(), [1, 0, 0]);
    assert!(scene.poll_task().is_ready());
}

#[test]
fn the_task_hears_of_the_end_of_a_guest_that_an_exchange_has_polled() {
    let scene = Scene::new();
    scene.script.ends.store(true, Ordering::SeqCst);
    scene.guest.mark();
    scene.poll(&scene.one, true);
    assert_eq!(scene.woken(), [1, 0, 0]);
    assert!(scene.poll_task().is_ready());
    scene.poll(&scene.two, true);
    assert_eq!(scene.script.polls(), 1, "it is gone");
}

#[test]
fn a_guest_that_panics_is_gone_with_the_next_poll() {
    let panics = std::future::poll_fn(|_| -> Poll<()> { panic!("a bug of the host") });
    let guest = SharedGuest::new(Box::pin(panics));
    let (task, one) = (Woken::waker(), Woken::waker());
    assert!(guest.poll_for_task(&Context::from_waker(&task.1)).is_pending());
    guest.mark();
    let poll = || guest.poll_for_exchange(&Context::from_waker(&one.1), || true);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(poll)).is_err());
    guest.kill();
    assert_eq!(task.0.takes(), 1);
    assert!(guest.poll_for_task(&Context::from_waker(&task.1)).is_ready());
}
