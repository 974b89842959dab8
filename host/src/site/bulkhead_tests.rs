//! Instances, queues and starts of one component, on a paused clock.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;

use tokio::task::{JoinHandle, yield_now};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn bulkhead(instances: usize, queue: usize, total: &Arc<Permits>) -> Arc<Bulkhead> {
    Arc::new(Bulkhead::new((instances, queue, SECOND), total.clone(), (2, Backlog::default())))
}

/// Spawns a task that waits for a chain of this length, and returns when it has begun to wait.
async fn spawn_waiter(
    bulkhead: &Arc<Bulkhead>,
    chain: Option<&ChainPermits>,
    chain_length: usize,
) -> JoinHandle<Result<InstancePermit, Full>> {
    let (bulkhead, chain) = (bulkhead.clone(), chain.cloned());
    let waiting = tokio::spawn(async move {
        bulkhead.acquire(chain.as_ref(), chain_length, Duration::ZERO).await
    });
    yield_now().await;
    waiting
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_in_length_and_in_time() {
    let (total, none) = (Arc::new(Permits::new(1)), None);
    let bulkhead = bulkhead(1, 1, &total);
    let first = bulkhead.acquire(none, 1, Duration::ZERO).await.unwrap();
    let began = tokio::time::Instant::now();
    let waiting = spawn_waiter(&bulkhead, none, 1).await;
    assert_eq!(
        bulkhead.acquire(none, 1, Duration::ZERO).await.map(drop),
        Err(Full(LimitKey::Queue.count(1))),
        "the queue has one place"
    );
    assert_eq!(began.elapsed(), Duration::ZERO, "who finds no place is told at once");
    let waited = Full(LimitKey::QueueTimeout.time(SECOND));
    assert_eq!(waiting.await.unwrap().map(drop), Err(waited));
    assert_eq!(began.elapsed(), SECOND);
    let waiting = spawn_waiter(&bulkhead, none, 1).await;
    drop(first);
    waiting.await.unwrap().expect("who leaves lets the next one in");
}

#[tokio::test(start_paused = true)]
async fn exchange_that_finds_all_instances_taken_by_other_components_waits() {
    let (total, none) = (Arc::new(Permits::new(1)), None);
    let (one, other) = (bulkhead(1, 1, &total), bulkhead(1, 1, &total));
    let permit = one.acquire(none, 1, Duration::ZERO).await.unwrap();
    let waited = Full(LimitKey::QueueTimeout.time(SECOND));
    assert_eq!(other.acquire(none, 1, Duration::ZERO).await.map(drop), Err(waited));
    let waiting = spawn_waiter(&other, none, 1).await;
    drop(permit);
    waiting.await.unwrap().expect("it is its turn");
}

/// Nothing ran until the queue's wait was over: a direct request had the application's instance
/// and waited for the total, a chained one had the total and waited for that instance.
#[tokio::test(start_paused = true)]
async fn no_exchange_holds_what_another_waits_for_while_it_waits_for_what_that_one_holds() {
    let (total, none) = (Arc::new(Permits::new(2)), None);
    let (plugin, app) = (bulkhead(8, 8, &total), bulkhead(1, 8, &total));
    let began = tokio::time::Instant::now();
    let (first, second) = (ChainPermits::default(), ChainPermits::default());
    let runs = (
        plugin.acquire(Some(&first), 2, Duration::ZERO).await.unwrap(),
        app.acquire_in_chain(Some(&first)).await.unwrap(),
        first,
    );
    let direct = spawn_waiter(&app, none, 1).await;
    let chained = spawn_waiter(&plugin, Some(&second), 2).await;
    drop(runs);
    let in_plugin = chained.await.unwrap().expect("the total is there");
    let in_app =
        app.acquire_in_chain(Some(&second)).await.expect("and the instance behind the plugin");
    yield_now().await;
    assert!(!direct.is_finished(), "there is one instance");
    drop((in_app, in_plugin, second));
    direct.await.unwrap().expect("it is its turn");
    assert_eq!(began.elapsed(), Duration::ZERO, "whatever was free was used");
    assert_eq!(total.available(), 2);
}

#[tokio::test(start_paused = true)]
async fn exchange_that_waits_longest_is_next_and_is_not_overtaken() {
    let (total, none) = (Arc::new(Permits::new(1)), None);
    let (one, other) = (bulkhead(1, 8, &total), bulkhead(1, 8, &total));
    let held = other.acquire(none, 1, Duration::ZERO).await.unwrap();
    let (first, second) = (spawn_waiter(&one, none, 1).await, spawn_waiter(&one, none, 1).await);
    drop(held);
    let third = spawn_waiter(&one, none, 1).await;
    let permit = first.await.unwrap().expect("it came first");
    assert!(!second.is_finished() && !third.is_finished());
    drop(permit);
    drop(second.await.unwrap().expect("it came before"));
    third.await.unwrap().expect("it came last");
}

/// What works on after its answer, or was left behind by its plugin, had no right of its own: the
/// pool was full of those, and others were told so at once.
#[tokio::test(start_paused = true)]
async fn an_instance_keeps_its_right_when_those_before_it_have_ended() {
    let total = Arc::new(Permits::new(3));
    let (plugin, app) = (bulkhead(8, 8, &total), bulkhead(8, 8, &total));
    let chain = ChainPermits::default();
    let in_plugin = plugin.acquire(Some(&chain), 2, Duration::ZERO).await.unwrap();
    let in_app = app.acquire_in_chain(Some(&chain)).await.unwrap();
    assert_eq!(total.available(), 1);
    let more = app.acquire_in_chain(Some(&chain)).await.expect("one is left for another");
    assert_eq!(
        app.acquire_in_chain(Some(&chain)).await.map(drop),
        Err(Full(LimitKey::TotalInstances.count(3))),
        "and none is waited for"
    );
    drop(in_app);
    let in_app =
        app.acquire_in_chain(Some(&chain)).await.expect("what was given back is there again");
    drop((more, in_plugin, chain));
    assert_eq!(total.available(), 2);
    drop(in_app);
    assert_eq!(total.available(), 3);
}

/// Nobody waits for an instance, but workers have a backlog.
#[tokio::test(start_paused = true)]
async fn guests_start_in_turn_where_the_workers_have_a_backlog() {
    let (total, backlog) = (Arc::new(Permits::new(9)), Backlog::default());
    let bounds = (9, 9, SECOND);
    let bulkhead = Arc::new(Bulkhead::new(bounds, total.clone(), (2, backlog.clone())));
    backlog.set_long(true);
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(bulkhead.acquire(None, 1, Duration::ZERO).await.unwrap());
    }
    // What it costs is not known before.
    all.pop().unwrap().take_start().expect("it is looked at").end(Duration::from_millis(5));
    all.clear();
    let mut first = bulkhead.acquire(None, 1, Duration::ZERO).await.unwrap();
    let _second = bulkhead.acquire(None, 1, Duration::ZERO).await.unwrap();
    let third = spawn_waiter(&bulkhead, None, 1).await;
    assert!(!third.is_finished() && bulkhead.free() == 7, "it waits for its start");
    // The first guest waits for something by now, and keeps its instance.
    first.take_start().expect("it was one of two").end(Duration::from_millis(5));
    let mut third = third.await.unwrap().expect("it is its turn");
    assert!(third.take_start().is_some());
    backlog.set_long(false);
    let mut fourth = bulkhead.acquire(None, 1, Duration::ZERO).await.unwrap();
    assert!(fourth.take_start().is_none(), "nobody has to wait any more");
    let none = Bulkhead::new((9, 0, SECOND), total, (0, backlog.clone()));
    none.cost.add(SECOND);
    backlog.set_long(true);
    assert!(none.acquire(None, 1, Duration::ZERO).await.is_ok(), "nobody may wait there");
}

/// A crowd of 10,000 that asked for what takes a tenth of a millisecond was refused, at about that cost each.
#[test]
fn guests_that_cost_little_do_not_wait_for_their_start() {
    let cost = StartCost::default();
    assert!(!cost.is_high(), "not known");
    for (micros, is_high) in [(5_000, true), (100, true), (100, true)] {
        cost.add(Duration::from_micros(micros));
        assert_eq!(cost.is_high(), is_high);
    }
    (0..30).for_each(|_| cost.add(Duration::from_micros(100)));
    assert!(!cost.is_high(), "{cost:?}");
    (0..30).for_each(|_| cost.add(Duration::ZERO));
    assert!(!cost.is_high());
}

/// Sixteen clients of a guest that takes 20 ms had some of their requests refused: the first in line had waited for
/// guests that nobody behind it would wait for.
#[tokio::test(start_paused = true)]
async fn guests_that_were_started_before_a_backlog_was_seen_do_not_slow_the_line() {
    let (total, backlog) = (Arc::new(Permits::new(99)), Backlog::default());
    let bounds = (99, 99, SECOND);
    let bulkhead = Arc::new(Bulkhead::new(bounds, total.clone(), (2, backlog.clone())));
    let mut at_work = Vec::new();
    for _ in 0..16 {
        at_work.push(bulkhead.acquire(None, 1, Duration::ZERO).await.unwrap());
    }
    bulkhead.cost.add(Duration::from_millis(20));
    backlog.set_long(true);
    bulkhead.starts.clone().try_acquire_many_owned(2).expect("nobody waits").forget();
    let mut line = Vec::new();
    for _ in 0..15 {
        line.push(spawn_waiter(&bulkhead, None, 1).await);
    }
    // All sixteen are done, on two workers.
    tokio::time::advance(Duration::from_millis(160)).await;
    at_work.clear();
    bulkhead.starts.add_permits(2);
    line.remove(0).await.unwrap().expect("it is its turn");
    let last = spawn_waiter(&bulkhead, None, 1).await;
    assert!(!last.is_finished(), "{:?} for each of {}", bulkhead.pace(), bulkhead.waiting());
}

/// At twice what it could do a component refused each second request, after a second of waiting.
#[tokio::test(start_paused = true)]
async fn who_would_wait_for_too_long_is_refused_at_once_and_who_waits_is_served() {
    let total = Arc::new(Permits::new(1));
    let bulkhead = bulkhead(1, 1000, &total);
    let mut waiting = VecDeque::new();
    let mut held = bulkhead.acquire(None, 1, Duration::ZERO).await.unwrap();
    let mut refused = 0;
    // Two ask every 10 ms, and one is served.
    for _ in 0..1000 {
        tokio::time::advance(Duration::from_millis(10)).await;
        for _ in 0..2 {
            let one = spawn_waiter(&bulkhead, None, 1).await;
            if one.is_finished() {
                let too_long = Full(LimitKey::QueueTimeout.time(SECOND));
                assert_eq!(one.await.unwrap().map(drop), Err(too_long), "at once");
                refused += 1;
            } else {
                waiting.push_back(one);
            }
        }
        drop(held);
        held = waiting.pop_front().unwrap().await.unwrap().expect("nobody waits in vain");
    }
    assert!((900..=960).contains(&refused), "{refused} were refused");
    assert!((40..=60).contains(&waiting.len()), "{} wait", waiting.len());
    // The burst is over: all are served, and what held them up is forgotten.
    for one in waiting {
        drop(held);
        held = one.await.unwrap().expect("nobody waits in vain");
    }
    assert_eq!(bulkhead.pace(), Duration::ZERO);
}

/// A hundred connections at once, on a busy machine: the first request had its turn after 30 ms, and all but the next
/// sixteen were refused, who would have been served within 50 ms.
#[tokio::test(start_paused = true)]
async fn a_burst_whose_first_turn_takes_long_is_served() {
    let total = Arc::new(Permits::new(1));
    let bulkhead = bulkhead(1, 1000, &total);
    let held = bulkhead.acquire(None, 1, Duration::ZERO).await.unwrap();
    let first = spawn_waiter(&bulkhead, None, 1).await;
    let mut burst = VecDeque::from([spawn_waiter(&bulkhead, None, 1).await]);
    tokio::time::advance(Duration::from_millis(30)).await;
    drop(held);
    let mut held = first.await.unwrap().expect("it is its turn");
    for _ in 0..128 {
        burst.push_back(spawn_waiter(&bulkhead, None, 1).await);
    }
    for one in burst {
        drop(held);
        held = one.await.unwrap().expect("nobody is refused");
        tokio::time::advance(Duration::from_micros(400)).await;
    }
}

/// A stop lets everybody in who is in the queue of the kernel. Those who would wait for long were refused, though nobody
/// came behind them.
#[tokio::test(start_paused = true)]
async fn behind_a_closed_door_everybody_may_wait() {
    let is_ending = Arc::new(AtomicBool::new(false));
    let backlog = Backlog::until({
        let is_ending = is_ending.clone();
        move || is_ending.load(Ordering::Relaxed)
    });
    let total = Arc::new(Permits::new(1));
    let bulkhead = Arc::new(Bulkhead::new((1, 1000, SECOND), total, (2, backlog)));
    let held = bulkhead.acquire(None, 1, Duration::ZERO).await.unwrap();
    let first = spawn_waiter(&bulkhead, None, 1).await;
    let mut line = vec![spawn_waiter(&bulkhead, None, 1).await];
    tokio::time::advance(Duration::from_millis(200)).await;
    drop(held);
    let mut held = first.await.unwrap().expect("it is its turn");
    let [second, third] = [(); 2].map(|()| spawn_waiter(&bulkhead, None, 1));
    line.push(second.await);
    assert!(third.await.is_finished(), "three places of 200 ms are more than half a second");
    is_ending.store(true, Ordering::Relaxed);
    for _ in 0..20 {
        line.push(spawn_waiter(&bulkhead, None, 1).await);
    }
    for one in line {
        drop(held);
        held = one.await.unwrap().expect("nobody is refused");
    }
}
