//! Every deadline of a stop, on the paused clock.

use std::sync::Arc;

use tokio::time::sleep;

use super::*;
use crate::Signal;
use crate::command::SignalMeaning;
use tokio::sync::mpsc;

struct World {
    phase: PhaseSetter,
    trackers: Trackers,
    send: mpsc::UnboundedSender<TimedCommand>,
    commands: Option<UnboundedReceiver<TimedCommand>>,
}

fn world() -> World {
    let (send, commands) = mpsc::unbounded_channel();
    let phase = PhaseSetter::new();
    phase.set(Phase::Ready);
    World { phase, trackers: Trackers::default(), send, commands: Some(commands) }
}

impl World {
    fn live(&mut self, delay: u64, timeout: u64) -> tokio::task::JoinHandle<Ending> {
        let (phase, trackers) = (self.phase.clone(), self.trackers.clone());
        let mut commands = self.commands.take().expect("one life per world");
        let plan =
            StopPlan { delay: Duration::from_secs(delay), timeout: Duration::from_secs(timeout) };
        tokio::spawn(async move { live(&phase, &trackers, (plan, || None), &mut commands).await })
    }

    fn say(&self, command: Command) {
        self.send.send(TimedCommand::now(command)).unwrap();
    }
}

fn report(ending: Ending) -> StopReport {
    match ending {
        Ending::Stopped(report) => report,
        Ending::BeforeReady | Ending::Broken => panic!("was ready, and did not panic"),
    }
}

const TERM: Command = Command::Stop(Cause::Signal(Signal::Terminate));

#[tokio::test(start_paused = true)]
async fn drain_with_nothing_in_flight_is_immediate() {
    let mut world = world();
    let life = world.live(0, 25);
    world.say(TERM);
    let report = report(life.await.unwrap());
    assert_eq!(report.took, Duration::ZERO);
    assert_eq!((report.finished, report.cut, report.dropped), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn drain_ends_with_the_last_guard_and_not_at_the_deadline() {
    let mut world = world();
    let connection = world.trackers.connections.guard(Arc::new("peer"));
    let exchange = world.trackers.exchanges.guard(Arc::new("GET /"));
    let life = world.live(0, 25);
    world.say(TERM);
    sleep(Duration::from_secs(3)).await;
    drop(exchange);
    drop(connection);
    let report = report(life.await.unwrap());
    assert_eq!(report.took, Duration::from_secs(3));
    assert_eq!((report.finished, report.cut), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_drain_delay_lies_inside_the_drain_timeout() {
    let mut world = world();
    let _stuck = world.trackers.connections.guard(Arc::new("peer"));
    let watch = world.phase.watch();
    let life = world.live(5, 25);
    world.say(TERM);
    watch.reached(Phase::LameDuck).await;
    let began = Instant::now();
    watch.reached(Phase::Draining).await;
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    watch.reached(Phase::Cut).await;
    assert_eq!(began.elapsed(), Duration::from_secs(25));
    assert_eq!(report(life.await.unwrap()).took, Duration::from_secs(25) + CUT_GRACE);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_at_the_deadline_is_counted_as_cut() {
    let mut world = world();
    let connection = world.trackers.connections.guard(Arc::new("peer"));
    let exchange = world.trackers.exchanges.guard(Arc::new("GET /slow"));
    let watch = world.phase.watch();
    let life = world.live(0, 2);
    world.say(TERM);
    watch.reached(Phase::Cut).await;
    exchange.cut();
    connection.cut();
    let report = report(life.await.unwrap());
    assert_eq!((report.took, report.cut, report.dropped), (Duration::from_secs(2), 1, 1));
    assert!(report.cut_short_by.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_cuts_at_once_in_every_step() {
    for (delay, second) in [(5, Signal::Terminate), (0, Signal::Interrupt), (0, Signal::Quit)] {
        let mut world = world();
        let connection = world.trackers.connections.guard(Arc::new("peer"));
        let watch = world.phase.watch();
        let life = world.live(delay, 25);
        world.say(TERM);
        watch.reached(if delay > 0 { Phase::LameDuck } else { Phase::Draining }).await;
        sleep(SECOND_SIGNAL_COUNTS_FROM).await;
        let began = Instant::now();
        world.say(stop_by(second));
        watch.reached(Phase::Cut).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        drop(connection);
        let report = report(life.await.unwrap());
        assert_eq!(report.took, SECOND_SIGNAL_COUNTS_FROM);
        assert_eq!(report.cut_short_by, Some(Cause::Signal(second)));
    }
}

/// What a signal that stops asks for.
fn stop_by(signal: Signal) -> Command {
    match signal.meaning() {
        SignalMeaning::Command(command) => command,
        other => panic!("{other:?}"),
    }
}

/// coreutils `timeout` signals its child and then its group: two signals within 10 ms, and the host
/// cut what was in flight.
#[tokio::test(start_paused = true)]
async fn one_stop_that_comes_as_several_signals_drains() {
    let soon = SECOND_SIGNAL_COUNTS_FROM - Duration::from_millis(1);
    for (delay, after) in [(0, Duration::ZERO), (0, soon), (5, Duration::from_millis(10))] {
        let mut world = world();
        let _stuck = world.trackers.connections.guard(Arc::new("peer"));
        let watch = world.phase.watch();
        let life = world.live(delay, 25);
        let began = Instant::now();
        world.say(TERM);
        sleep(after).await;
        for again in [Signal::Terminate, Signal::Interrupt] {
            world.say(stop_by(again));
        }
        watch.reached(Phase::Cut).await;
        assert_eq!(began.elapsed(), Duration::from_secs(25), "{after:?}");
        assert!(report(life.await.unwrap()).cut_short_by.is_none());
    }
}

/// Signals that were swallowed do not put off the moment from which one counts.
#[tokio::test(start_paused = true)]
async fn a_second_signal_counts_from_the_first_and_not_from_one_that_was_swallowed() {
    let mut world = world();
    let _stuck = world.trackers.connections.guard(Arc::new("peer"));
    let watch = world.phase.watch();
    let life = world.live(0, 25);
    let began = Instant::now();
    for _ in 0..6 {
        world.say(TERM);
        sleep(Duration::from_millis(100)).await;
    }
    watch.reached(Phase::Cut).await;
    assert_eq!(began.elapsed(), Duration::from_millis(600));
    let report = report(life.await.unwrap());
    assert_eq!(report.cut_short_by, Some(Cause::Signal(Signal::Terminate)));
}

/// An impatient person says SIGQUIT, and is believed at once.
#[tokio::test(start_paused = true)]
async fn sigquit_cuts_a_drain_however_soon_it_comes() {
    let mut world = world();
    let _stuck = world.trackers.connections.guard(Arc::new("peer"));
    let watch = world.phase.watch();
    let life = world.live(0, 25);
    let began = Instant::now();
    world.say(TERM);
    world.say(stop_by(Signal::Quit));
    watch.reached(Phase::Cut).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    let report = report(life.await.unwrap());
    assert_eq!(report.cut_short_by, Some(Cause::Signal(Signal::Quit)));
}

/// The signal waited while the last line of progress was cleared: its own moment counts.
#[tokio::test(start_paused = true)]
async fn a_signal_counts_from_when_it_came_and_not_from_when_it_was_looked_at() {
    let mut world = world();
    let _stuck = world.trackers.connections.guard(Arc::new("peer"));
    let watch = world.phase.watch();
    world.say(TERM);
    world.say(TERM);
    sleep(SECOND_SIGNAL_COUNTS_FROM).await;
    let life = world.live(0, 25);
    watch.reached(Phase::Draining).await;
    world.say(TERM);
    watch.reached(Phase::Cut).await;
    assert!(report(life.await.unwrap()).cut_short_by.is_some());
}

#[tokio::test(start_paused = true)]
async fn sigquit_cuts_without_draining() {
    let mut world = world();
    let watch = world.phase.watch();
    let life = world.live(5, 25);
    world.say(Command::Cut(Cause::Signal(Signal::Quit)));
    let report = report(life.await.unwrap());
    assert_eq!(watch.now(), Phase::Cut);
    assert_eq!(report.cut_short_by, Some(Cause::Signal(Signal::Quit)));
}

#[tokio::test(start_paused = true)]
async fn a_failure_drains_like_a_signal_and_is_reported_as_one() {
    let mut world = world();
    let connection = world.trackers.connections.guard(Arc::new("peer"));
    let life = world.live(0, 25);
    world.say(Command::Fail);
    world.phase.watch().reached(Phase::Draining).await;
    drop(connection);
    let report = report(life.await.unwrap());
    assert!(report.failed);
    assert_eq!((report.finished, report.cut), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn work_after_the_answer_is_waited_for() {
    let mut world = world();
    let after = world.trackers.afterwork.guard(Arc::new("after GET /"));
    let life = world.live(0, 25);
    world.say(TERM);
    sleep(Duration::from_secs(4)).await;
    drop(after);
    assert_eq!(report(life.await.unwrap()).took, Duration::from_secs(4));
}

/// The task of a listener was stuck, the process ended with its queue full of requests, and the last line
/// said that nothing was dropped.
#[tokio::test(start_paused = true)]
async fn a_door_that_does_not_close_is_bounded_by_the_deadline_and_counts() {
    let mut world = world();
    let _door = world.trackers.listeners.token();
    let life = world.live(0, 25);
    world.say(TERM);
    let report = report(life.await.unwrap());
    assert_eq!(report.took, Duration::from_secs(25) + CUT_GRACE);
    assert_eq!((report.cut, report.dropped), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stop_before_ready_ends_at_once() {
    let (send, mut commands) = mpsc::unbounded_channel();
    let phase = PhaseSetter::new();
    let plan = StopPlan { delay: Duration::from_secs(5), timeout: Duration::from_secs(25) };
    send.send(TimedCommand::now(TERM)).unwrap();
    let ending = live(&phase, &Trackers::default(), (plan, || None), &mut commands).await;
    assert!(matches!(ending, Ending::BeforeReady));
}

#[test]
fn the_last_line_reads_as_documented() {
    let report = StopReport {
        took: Duration::from_millis(1204),
        finished: 812,
        cut: 0,
        dropped: 0,
        cut_short_by: None,
        failed: false,
    };
    assert_eq!(
        report.to_string(),
        "stopped in 1.204s: 812 exchanges finished, 0 cut, 0 connections dropped"
    );
}

#[tokio::test(start_paused = true)]
async fn asking_again_is_no_second_signal() {
    let mut world = world();
    let _stuck = world.trackers.connections.guard(Arc::new("peer"));
    let watch = world.phase.watch();
    let life = world.live(0, 25);
    world.say(Command::Stop(Cause::Operator));
    watch.reached(Phase::Draining).await;
    let others = [Cause::Operator, Cause::Guest, Cause::Predecessor].map(Command::Stop);
    for again in others.into_iter().chain([TERM]) {
        world.say(again);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(watch.now(), Phase::Draining, "{again:?}");
    }
    world.say(TERM);
    watch.reached(Phase::Cut).await;
    let report = report(life.await.unwrap());
    assert_eq!(report.cut_short_by, Some(Cause::Signal(Signal::Terminate)));
}

#[tokio::test(start_paused = true)]
async fn a_lame_duck_by_hand_counts_towards_the_drain_delay() {
    let mut world = world();
    world.phase.drain().unwrap();
    sleep(Duration::from_secs(3)).await;
    let watch = world.phase.watch();
    let life = world.live(5, 25);
    let began = Instant::now();
    world.say(TERM);
    watch.reached(Phase::Draining).await;
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    let stopping = watch.stopping().unwrap();
    assert_eq!(stopping.deadline - stopping.began, Duration::from_secs(25));
    life.await.unwrap();
}
