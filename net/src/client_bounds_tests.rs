use tokio::time::Instant;

use super::*;

fn bounds(limits: ClientConnectionLimits) -> Arc<ClientBounds> {
    ClientBounds::new(limits, NetCounts::default())
}

fn connections(most: usize) -> ClientConnectionLimits {
    ClientConnectionLimits {
        connections: NonZeroUsize::new(most),
        ..ClientConnectionLimits::default()
    }
}

fn burst(of: u32, refilled_in: Duration) -> Option<Burst> {
    Some(Burst { of: of.try_into().unwrap(), refilled_in })
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

/// Lets one in that must have a place.
fn one(bounds: &Arc<ClientBounds>, text: &str) -> ClientPlace {
    bounds.admit(address(text), Phase::Ready).unwrap().expect("it is bounded")
}

fn refused(bounds: &Arc<ClientBounds>, text: &str) -> Refusal {
    bounds.admit(address(text), Phase::Ready).unwrap_err().why
}

fn clients(bounds: &ClientBounds) -> usize {
    bounds.open.iter().map(|shard| shard.lock().unwrap().len()).sum()
}

const TOO_MANY: Refusal = Refusal::ClientConnections { retry: TRY_AGAIN };

#[tokio::test(start_paused = true)]
async fn client_has_so_many_connections_and_others_have_theirs() {
    let bounds = bounds(connections(2));
    let places = [one(&bounds, "192.0.2.1"), one(&bounds, "::ffff:192.0.2.1")];
    assert_eq!(refused(&bounds, "192.0.2.1"), TOO_MANY);
    let _other = one(&bounds, "192.0.2.2");
    let _network = [one(&bounds, "2001:db8::1"), one(&bounds, "2001:db8::2")];
    assert_eq!(refused(&bounds, "2001:db8::3"), TOO_MANY, "a /64 is one client");
    let _beside = one(&bounds, "2001:db8:0:1::1");
    assert_eq!(clients(&bounds), 4);
    drop(places);
    assert_eq!(clients(&bounds), 3, "who has none takes no memory");
    let _again = [one(&bounds, "192.0.2.1"), one(&bounds, "192.0.2.1")];
    assert_eq!(
        bounds.counts.refusals(),
        [("client-connections", 2), ("client-connection-rate", 0)]
    );
}

#[tokio::test(start_paused = true)]
async fn exactly_so_many_of_64_threads_get_a_place() {
    let bounds = bounds(connections(100));
    let places: Vec<_> = std::thread::scope(|scope| {
        let thread = |_| {
            scope.spawn(|| {
                (0..10)
                    .map(|_| bounds.admit(address("192.0.2.1"), Phase::Ready))
                    .collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (0..64).map(thread).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(places.iter().filter(|place| place.is_ok()).count(), 100);
    drop(places);
    assert_eq!(clients(&bounds), 0);
}

#[tokio::test(start_paused = true)]
async fn new_connections_of_a_client_come_at_a_rate() {
    let rate = burst(3, Duration::from_secs(3));
    let bounds = bounds(ClientConnectionLimits { rate, ..connections(2) });
    for _ in 0..3 {
        drop(one(&bounds, "192.0.2.1"));
    }
    let retry = Duration::from_secs(1);
    assert_eq!(refused(&bounds, "192.0.2.1"), Refusal::ClientConnectionRate { retry });
    assert_eq!(clients(&bounds), 0, "who is refused has no place");
    tokio::time::advance(retry).await;
    drop(one(&bounds, "192.0.2.1"));
}

#[tokio::test(start_paused = true)]
async fn without_an_address_in_a_drain_and_where_it_is_exempt_nothing_bounds() {
    let exempt = Some(Box::new(|address: IpAddr| address.is_loopback()) as Box<_>);
    let bounds = bounds(ClientConnectionLimits { exempt, ..connections(1) });
    let free = |address, phase| bounds.admit(address, phase).unwrap().is_none();
    let _only = one(&bounds, "192.0.2.1");
    for _ in 0..3 {
        assert!(free(None, Phase::Ready));
        assert!(free(address("127.0.0.1"), Phase::Ready));
        assert!(free(address("192.0.2.1"), Phase::Draining));
    }
    assert_eq!(refused(&bounds, "192.0.2.1"), TOO_MANY);
}

#[tokio::test(start_paused = true)]
async fn so_many_are_told_and_others_are_not() {
    let bounds = bounds(connections(1));
    let _only = one(&bounds, "192.0.2.1");
    let refuse = || bounds.admit(address("192.0.2.1"), Phase::Ready).unwrap_err().told;
    let told: Vec<_> = (0..TOLD_AT_ONCE).map(|_| refuse()).collect();
    assert!(told.iter().all(Option::is_some));
    assert!(refuse().is_none());
    drop(told);
    assert!(refuse().is_some());
}

#[tokio::test(start_paused = true)]
async fn listeners_accept_at_a_rate_until_a_drain() {
    let (set, phase) = PhaseWatch::with_setter();
    let accept_rate = burst(10, Duration::from_secs(1));
    let bounds =
        bounds(ClientConnectionLimits { accept_rate, ..ClientConnectionLimits::default() });
    let began = Instant::now();
    for _ in 0..30 {
        assert!(bounds.wait_for_accept(&phase).await);
    }
    let took = began.elapsed();
    assert!((2000..2100).contains(&took.as_millis()), "{took:?}");
    let waits = bounds.wait_for_accept(&phase);
    set(Phase::Draining);
    assert!(!waits.await);
}
