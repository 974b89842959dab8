//! The window on the paused clock, fed by real traffic.

use http::{Method, StatusCode, Uri, Version};
use tokio::time::{advance, sleep};

use super::*;
use crate::{
    End, ExchangeRecord, GenerationTraffic, Observer as _, RequestId, RequestLine, StageRecord,
    Stages, TraceContext,
};

/// Traffic, and its window with a task that keeps it up to date.
struct Scene {
    traffic: Arc<Traffic>,
    window: Window,
}

impl Scene {
    async fn begin() -> Self {
        let traffic = Arc::<Traffic>::default();
        let window = Window::new(traffic.clone());
        tokio::spawn(window.clone().run());
        // Between two looks, so that no test depends on which timer of one moment comes first.
        sleep(Duration::from_millis(500)).await;
        Self { traffic, window }
    }

    fn exchange(&self, route: Option<&'static RouteLabel>, took: Duration, status: u16, end: End) {
        self.traffic.accepted();
        self.traffic.observe(&ExchangeRecord {
            number: Some(1),
            request_id: &RequestId::made(1),
            trace: TraceContext::new(),
            client: None,
            peer: None,
            request: Some(&RequestLine {
                method: Method::GET,
                uri: Uri::from_static("/"),
                version: Version::HTTP_11,
            }),
            agent: None,
            began: Instant::now(),
            took,
            head: None,
            status: StatusCode::from_u16(status).ok(),
            received: 0,
            sent: 0,
            route,
            stages: Stages::new(),
            end,
        });
    }

    /// So many exchanges that went well.
    fn serve(&self, count: usize, took: Duration) {
        (0..count).for_each(|_| self.exchange(None, took, 200, End::Finished));
    }

    fn component(&self, name: &str) -> GenerationTraffic {
        GenerationTraffic::new(&self.traffic.component(name))
    }
}

fn stage(end: End, status: u16) -> StageRecord {
    StageRecord {
        component: "shop",
        generation: Some(1),
        is_plugin: false,
        after: Duration::ZERO,
        queue: Duration::ZERO,
        head: None,
        took: MS,
        cpu: MS,
        status: StatusCode::from_u16(status).ok(),
        end,
    }
}

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

async fn seconds(count: u32) {
    for _ in 0..count {
        sleep(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_minute_is_what_ended_in_it_and_no_more() {
    let scene = Scene::begin().await;
    scene.serve(90, MS);
    scene.serve(10, 40 * MS);
    scene.exchange(None, MS, 500, End::Trapped);
    seconds(1).await;
    let minute = scene.window.all();
    assert_eq!((minute.requests, minute.errors, minute.latest), (101, 1, 101));
    assert_eq!(minute.window, SECOND);
    let (p50, p99) = (minute.p50.unwrap(), minute.p99.unwrap());
    assert!(p50 <= MS && p99 > 30 * MS && p99 <= 40 * MS, "{p50:?} {p99:?}");
    seconds(54).await;
    let minute = scene.window.all();
    assert_eq!((minute.requests, minute.latest, minute.window), (101, 0, 55 * SECOND));
    seconds(10).await;
    let minute = scene.window.all();
    assert_eq!((minute.requests, minute.errors, minute.p99), (0, 0, None));
    assert_eq!(minute.window, 56 * SECOND, "5 s in 5 s are dropped");
}

#[tokio::test(start_paused = true)]
async fn seconds_are_counted_apart() {
    let scene = Scene::begin().await;
    scene.serve(3, MS);
    seconds(2).await;
    scene.serve(5, MS);
    seconds(70).await;
    scene.serve(7, MS);
    seconds(1).await;
    let counts: Vec<u32> = scene.window.seconds().iter().map(|second| second.requests).collect();
    assert_eq!((counts.len(), counts.last(), counts.iter().sum::<u32>()), (60, Some(&7), 7));
    scene.serve(1, MS);
    seconds(3).await;
    let counts: Vec<u32> = scene.window.seconds().iter().map(|second| second.requests).collect();
    assert_eq!(counts[56..], [7, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_component_counts_its_stages_over_all_generations() {
    let scene = Scene::begin().await;
    let (old, idle) = (scene.component("shop"), scene.component("idle"));
    old.count(&stage(End::Finished, 200));
    seconds(1).await;
    let new = scene.component("shop");
    new.count(&stage(End::Finished, 503));
    drop(old);
    seconds(1).await;
    let components = scene.window.components();
    let [("shop", minute)] = components[..] else { panic!("{components:?}") };
    assert_eq!((minute.requests, minute.errors, minute.latest), (2, 1, 1));
    seconds(61).await;
    assert_eq!(scene.window.components(), []);
    drop((new, idle));
}

#[tokio::test(start_paused = true)]
async fn the_routes_with_most_errors_are_the_worst_and_then_the_slowest() {
    let scene = Scene::begin().await;
    let route = |path| Some(scene.traffic.route(path, "shop"));
    let (fine, slow, broken) = (route("/fine"), route("/slow"), route("/broken"));
    scene.exchange(fine, MS, 200, End::Finished);
    scene.exchange(slow, 900 * MS, 200, End::Finished);
    scene.exchange(broken, MS, 503, End::Refused("queue-full"));
    scene.exchange(None, MS, 404, End::Refused("no-route"));
    seconds(1).await;
    let worst = |at_most| -> Vec<_> {
        let routes = scene.window.worst_routes(at_most);
        routes.into_iter().map(|(route, minute)| (&*route.pattern, minute.errors)).collect()
    };
    assert_eq!(worst(9), [("/broken", 1), ("/slow", 0), ("/fine", 0)]);
    assert_eq!(worst(1), [("/broken", 1)]);
    assert_eq!(scene.window.all().requests, 4);
}

#[tokio::test(start_paused = true)]
async fn the_history_has_a_point_for_each_5_s_of_15_minutes() {
    let scene = Scene::begin().await;
    let shop = scene.component("shop");
    for _ in 0..200 {
        scene.serve(2, MS);
        shop.count(&stage(End::Finished, 200));
        seconds(5).await;
    }
    let history = scene.window.history(9);
    assert_eq!((history.first, history.all.len()), (20, 180));
    assert!(history.all.iter().all(|point| point.sum.requests == 2 && point.p99.is_some()));
    let [shop] = &history.components[..] else { panic!("{history:?}") };
    assert!(shop.points.iter().all(|point| point.sum.requests == 1), "{shop:?}");
    assert_eq!(history.other, None);
}

#[tokio::test(start_paused = true)]
async fn components_beyond_the_busiest_are_one_series_and_go_after_15_minutes() {
    let scene = Scene::begin().await;
    for (name, count) in [("quiet", 1), ("busy", 3), ("calm", 2)] {
        let component = scene.component(name);
        (0..count).for_each(|_| component.count(&stage(End::Trapped, 500)));
    }
    seconds(5).await;
    let history = scene.window.history(1);
    assert_eq!(history.components.iter().map(|one| one.name).collect::<Vec<_>>(), ["busy"]);
    let other = history.other.unwrap();
    assert_eq!((other[0].sum, other[0].p99), (SecondCount { requests: 3, errors: 3 }, None));
    seconds(15 * 60).await;
    let history = scene.window.history(9);
    assert_eq!((history.components, history.all.len()), (vec![], 180));
}

/// A process that was stopped (SIGSTOP), or a thread that was not run: what it missed is in the next second.
#[tokio::test(start_paused = true)]
async fn seconds_that_were_missed_are_empty() {
    let scene = Scene::begin().await;
    scene.serve(1, MS);
    advance(10 * SECOND).await;
    seconds(1).await;
    scene.serve(2, MS);
    seconds(1).await;
    let counts: Vec<u32> = scene.window.seconds().iter().map(|second| second.requests).collect();
    assert_eq!(counts.iter().sum::<u32>(), 3, "{counts:?}");
    assert_eq!(counts.last(), Some(&2), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn viewers_are_told_of_each_look() {
    let scene = Scene::begin().await;
    let mut ticks = scene.window.ticks();
    ticks.borrow_and_update();
    ticks.changed().await.unwrap();
    assert_eq!(*ticks.borrow(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_components_and_routes_take_what_the_docs_say() {
    let scene = Scene::begin().await;
    let components: Vec<_> = (0..1000).map(|n| scene.component(&format!("c{n}"))).collect();
    for (n, component) in components.iter().enumerate() {
        component.count(&stage(End::Finished, 200));
        for (status, end) in [(200, End::Finished), (500, End::Trapped), (200, End::PeerGone)] {
            let route = scene.traffic.route(&format!("/{n}"), component.component());
            scene.exchange(Some(route), MS, status, end);
        }
    }
    seconds(6).await;
    let bytes = scene.window.state().bytes();
    assert!(bytes < 13 << 20, "{bytes}");
    seconds(16 * 60).await;
    let bytes = scene.window.state().bytes();
    assert!(bytes < 2 << 20, "{bytes} when they have had no traffic for long");
}

#[tokio::test(start_paused = true)]
async fn events_are_kept_in_order_and_the_oldest_goes_first() {
    let log = EventLog::default();
    for number in 0..300 {
        log.note(EventKind::Swap, Some("shop"), &format!("generation {number}"));
    }
    let all = log.after(0);
    assert_eq!((all.len(), all[0].number, all[255].number), (256, 45, 300));
    let last = log.after(299);
    assert_eq!(last[0].text, "generation 299");
    log.note(EventKind::Rejected, None, &"é".repeat(10_000));
    assert_eq!(log.after(300)[0].text.len(), 500);
}
