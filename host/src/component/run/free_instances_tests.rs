use std::future::{pending, poll_fn};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

use host_shards::my_index;

use super::*;
use crate::component::run::pooled_instance::{InstanceState, Order};
use crate::component::run::shared_guest::{GuestFuture, SharedGuest};

const REUSE: ReuseConfig =
    ReuseConfig { exchanges: 5, concurrency: 2, idle: Duration::from_secs(10) };

fn pool(reuse: ReuseConfig, room: usize) -> Arc<FreeInstances> {
    FreeInstances::new(reuse, IdleRoom::new(room))
}

fn instance(guest: GuestFuture) -> (Arc<PooledInstance>, Arc<InstanceState>) {
    let state = Arc::<InstanceState>::default();
    let instance = PooledInstance::new(Arc::new(SharedGuest::new(guest)), state.clone());
    (Arc::new(instance), state)
}

/// An instance of `free` on which an exchange has begun.
fn added(free: &FreeInstances) -> (Arc<PooledInstance>, Arc<InstanceState>) {
    let (instance, state) = instance(Box::pin(pending()));
    free.add(&instance);
    (instance, state)
}

/// Takes an instance on a thread with another list.
fn take_elsewhere(free: &FreeInstances) -> Option<Arc<PooledInstance>> {
    let own = my_index();
    let take = || (my_index() != own).then(|| free.take());
    loop {
        if let Some(taken) = thread::scope(|scope| scope.spawn(take).join().unwrap()) {
            return taken;
        }
    }
}

fn is_over(state: &InstanceState) -> bool {
    matches!(state.next(true), Some(Order::End))
}

#[test]
fn an_instance_takes_as_many_exchanges_as_it_may_at_once_and_in_its_life() {
    let free = pool(REUSE, 1);
    let (one, state) = added(&free);
    let two = free.take().expect("two at once");
    assert!(Arc::ptr_eq(&one, &two));
    assert!(free.take().is_none(), "and no third");
    for begun in 3..=5 {
        free.give_back(&two, true, false);
        assert!(free.take().is_some(), "{begun} in all");
    }
    free.give_back(&one, true, false);
    free.give_back(&two, true, false);
    assert!(free.take().is_none(), "it is used up");
    assert!(!is_over(&state));
    drop((one, two));
    assert!(is_over(&state), "the pool does not keep it");
}

#[test]
fn a_thread_whose_list_is_empty_takes_an_instance_of_another_one() {
    let free = pool(REUSE, 1);
    let (one, _) = added(&free);
    free.give_back(&one, true, false);
    assert!(take_elsewhere(&free).is_some_and(|taken| Arc::ptr_eq(&taken, &one)));
    assert!(take_elsewhere(&free).is_some(), "also one that serves another exchange and waits");
    assert!(take_elsewhere(&free).is_none());
}

/// Two workers would take turns on one instance for as long as there is load.
#[test]
fn an_instance_whose_guest_computes_for_others_is_left_to_its_thread() {
    let free = pool(REUSE, 1);
    let (pool, taken) = (free.clone(), Arc::<OnceLock<[bool; 2]>>::default());
    let seen = taken.clone();
    let guest = poll_fn(move |_| {
        seen.set([take_elsewhere(&pool), pool.take()].map(|taken| taken.is_some())).ok();
        Poll::Pending
    });
    let (one, _) = instance(Box::pin(guest));
    free.add(&one);
    one.mark();
    one.poll(&Context::from_waker(Waker::noop()));
    assert_eq!(taken.get(), Some(&[false, true]));
}

#[test]
fn without_room_to_wait_in_an_instance_is_used_up() {
    let free = pool(REUSE, 1);
    let ((one, _), (two, state)) = (added(&free), added(&free));
    free.give_back(&one, true, false);
    free.give_back(&two, true, false);
    assert!(Arc::ptr_eq(&free.take().expect("one has room"), &one));
    drop(two);
    assert!(is_over(&state));
}

#[test]
fn an_instance_that_lost_an_exchange_takes_no_other_and_ends_with_the_last() {
    let free = pool(REUSE, 1);
    let alive = Arc::new(());
    let held = alive.clone();
    let (one, _) = instance(Box::pin(async move {
        pending::<()>().await;
        drop(held);
    }));
    free.add(&one);
    let two = free.take().expect("room for another");
    free.give_back(&one, false, false);
    assert!(free.take().is_none());
    assert_eq!(Arc::strong_count(&alive), 2, "another exchange is on it");
    free.give_back(&two, true, false);
    assert_eq!(Arc::strong_count(&alive), 1);
    assert!(free.take().is_none());
}

#[test]
fn an_instance_that_leaves_is_not_offered_again() {
    let free = pool(REUSE, 2);
    for leave in [PoolMembership::withdraw, PoolMembership::leave] {
        let (one, state) = added(&free);
        leave(&PoolMembership::new(&free, &one));
        assert!(free.take().is_none());
        free.give_back(&one, true, false);
        assert!(free.take().is_none());
        drop(one);
        assert!(is_over(&state));
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_leaves_when_it_has_waited_for_as_long_as_it_may() {
    let free = pool(REUSE, 1);
    let (one, state) = added(&free);
    let membership = PoolMembership::new(&free, &one);
    let look = || membership.leave_if_idle(REUSE.idle);
    tokio::time::advance(REUSE.idle).await;
    assert_eq!(look(), Some(REUSE.idle), "it serves");
    free.give_back(&one, true, false);
    drop(one);
    tokio::time::advance(Duration::from_secs(4)).await;
    assert_eq!(look(), Some(Duration::from_secs(6)));
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(look(), None);
    assert!(is_over(&state));
}

#[test]
fn no_limit_is_exceeded_by_threads_that_take_and_give_back() {
    let reuse = ReuseConfig { exchanges: 50_000, concurrency: 3, ..REUSE };
    let free = pool(reuse, 2);
    let instances = [added(&free).0, added(&free).0];
    let counts: [_; 2] = std::array::from_fn(|_| (AtomicU32::new(1), AtomicU32::new(1)));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    let Some(taken) = free.take() else { continue };
                    let which = usize::from(Arc::ptr_eq(&taken, &instances[1]));
                    let (now, all) = &counts[which];
                    all.fetch_add(1, Ordering::SeqCst);
                    assert!(now.fetch_add(1, Ordering::SeqCst) < 3, "three at once");
                    now.fetch_sub(1, Ordering::SeqCst);
                    free.give_back(&taken, true, false);
                }
            });
        }
    });
    for one in &instances {
        free.give_back(one, true, false);
    }
    // All that is left of their lives can still be had, and no more.
    let mut left = 0;
    while let Some(taken) = free.take() {
        left += 1;
        free.give_back(&taken, true, false);
    }
    let begun: u32 = counts.iter().map(|(_, all)| all.load(Ordering::SeqCst)).sum();
    assert_eq!(begun + left, 2 * reuse.exchanges);
}
