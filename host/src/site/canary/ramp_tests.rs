//! The steps of a canary, on the paused clock.

use tokio::time::{Instant, advance};

use super::*;

const LOOK: Duration = Duration::from_millis(100);

/// What a request takes.
const TAKES: Duration = Duration::from_millis(10);

/// What comes, and how the new version does.
struct World {
    per_second: f64,
    /// The new version fails each request.
    fails: bool,
    /// It ends none.
    hangs: bool,
    /// What each of its requests takes.
    takes: Duration,
    look: Look,
    /// Requests that are owed to each of the two.
    owed: (f64, f64),
}

impl World {
    fn new(per_second: f64) -> Self {
        let look = Look::default();
        let takes = TAKES;
        Self { per_second, fails: false, hangs: false, takes, look, owed: (0.0, 0.0) }
    }

    /// Lets a tenth of a second pass, in which the new version gets this share.
    fn pass(&mut self, share: TrafficShare) {
        let came = self.per_second * LOOK.as_secs_f64();
        self.owed.0 += came * (1.0 - share.part());
        self.owed.1 += came * share.part();
        while self.owed.0 >= 1.0 {
            self.owed.0 -= 1.0;
            self.look.old.end(false, TAKES);
        }
        while self.owed.1 >= 1.0 {
            self.owed.1 -= 1.0;
            match self.hangs {
                true => self.look.new.in_flight += 1,
                false => self.look.new.end(self.fails, self.takes),
            }
        }
    }
}

impl Seen {
    fn end(&mut self, fails: bool, takes: Duration) {
        self.traffic.requests += 1;
        self.traffic.errors += u64::from(fails);
        if !fails {
            self.traffic.took.observe(takes);
        }
    }
}

/// What became of a canary of 5% for 60s: when it took which step, its last move and when that was.
struct Course {
    steps: Vec<(u64, String)>,
    last: Move,
    took: Duration,
    waited_for: Vec<String>,
    why_promoted: String,
}

async fn run(world: &mut World) -> Course {
    let began = Instant::now();
    let mut ramp = Ramp::new(CanaryConfig::default(), &world.look);
    let (mut steps, mut waited_for) = (Vec::new(), Vec::new());
    loop {
        world.pass(ramp.share());
        advance(LOOK).await;
        match ramp.look(&world.look) {
            Move::Stay(None) => {}
            Move::Stay(Some(why)) => waited_for.push(why),
            Move::Step(share) => steps.push((began.elapsed().as_secs(), share.to_string())),
            last @ (Move::Promote | Move::Abort(_)) => {
                let (took, why_promoted) = (began.elapsed(), ramp.why_promoted());
                return Course { steps, last, took, waited_for, why_promoted };
            }
        }
        assert!(began.elapsed() < Duration::from_secs(700), "it has no end");
    }
}

fn expect_steps(course: &Course, expected: &[(u64, &str)]) {
    let steps: Vec<_> = course.steps.iter().map(|(at, share)| (*at, share.as_str())).collect();
    assert_eq!(steps, expected);
}

#[tokio::test(start_paused = true)]
async fn a_good_version_gets_all_when_its_time_is_over() {
    let course = run(&mut World::new(200.0)).await;
    expect_steps(&course, &[(12, "5%"), (24, "10%"), (36, "20%"), (48, "40%")]);
    assert_eq!((course.last, course.took), (Move::Promote, Duration::from_secs(60)));
    assert!(course.waited_for.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_version_that_fails_each_request_is_taken_back_after_a_few() {
    for per_second in [20.0, 200.0, 2000.0] {
        let mut world = World { fails: true, ..World::new(per_second) };
        let course = run(&mut world).await;
        let Move::Abort(why) = course.last else { panic!("it failed") };
        assert!(why.starts_with("errors > 1%: "), "{why}");
        let (failed, all) = (world.look.new.traffic.requests, world.look.old.traffic.requests);
        assert!(failed <= 3 || failed * 50 <= all, "{failed} failed beside {all}");
        let quick = Duration::from_secs_f64(5.0 * 200.0 / per_second);
        assert!(course.took <= quick, "{per_second}/s: after {:?}", course.took);
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_slow_is_taken_back_where_enough_comes_for_a_percentile() {
    for per_second in [25.0, 200.0, 2000.0] {
        let mut world = World { takes: 10 * TAKES, ..World::new(per_second) };
        let course = run(&mut world).await;
        let Move::Abort(why) = course.last else { panic!("it is slow, at {per_second}/s") };
        assert!(why.starts_with("p99 > 2x: "), "{why}");
    }
}

/// A slow version was promoted with `nothing spoke against it`, although nobody had asked how long it takes.
#[tokio::test(start_paused = true)]
async fn a_rule_for_which_too_few_requests_came_is_named_in_the_reason() {
    for (per_second, why) in [
        (2.0, "nothing spoke against it; too few requests came for p99 > 2x"),
        (200.0, "nothing spoke against it"),
    ] {
        let course = run(&mut World::new(per_second)).await;
        assert_eq!((course.last, course.why_promoted.as_str()), (Move::Promote, why));
    }
}

#[tokio::test(start_paused = true)]
async fn where_little_comes_a_canary_takes_longer() {
    let course = run(&mut World::new(1.0)).await;
    assert_eq!(course.last, Move::Promote);
    assert!(course.took > Duration::from_secs(300), "{:?}", course.took);
    // Two percent of nothing is nothing: it does not stay at its first share.
    assert_eq!(course.steps.first(), Some(&(12, "5%".to_owned())));
    assert!(course.waited_for.iter().any(|why| why == "3 of 10 requests at 5%"));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_nobody_asked_for_is_not_promoted() {
    let course = run(&mut World::new(0.0)).await;
    let why = "not decided after 10m: 0 of 10 requests at 5%";
    assert_eq!(course.last, Move::Abort(why.into()));
    assert_eq!(course.took, Duration::from_secs(600));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_hangs_stays_at_its_first_share() {
    let course = run(&mut World { hangs: true, ..World::new(200.0) }).await;
    expect_steps(&course, &[]);
    let why = "not decided after 10m: 0 of 10 requests at 1%";
    assert_eq!(course.last, Move::Abort(why.into()));
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_takes_it_back_unless_that_of_the_version_before_is_open_too() {
    let mut look = Look::default();
    let mut ramp = Ramp::new(CanaryConfig::default(), &look);
    (look.old.put_aside, look.new.put_aside) = (true, true);
    assert_eq!(ramp.look(&look), Move::Stay(None));
    look.old.put_aside = false;
    assert!(matches!(ramp.look(&look), Move::Abort(why) if why.contains("breaker")));
}

/// What went wrong with both in one step counts in no other: the shares differ.
#[tokio::test(start_paused = true)]
async fn each_step_is_judged_by_itself() {
    let mut world = World::new(200.0);
    let mut ramp = Ramp::new(CanaryConfig::default(), &world.look);
    let mut steps = 0;
    while steps < 5 {
        world.pass(ramp.share());
        advance(LOOK).await;
        // A database is down for as long as the share is 5%.
        if steps == 1 {
            world.look.old.traffic.errors = world.look.old.traffic.requests;
            world.look.new.traffic.errors = world.look.new.traffic.requests;
        }
        match ramp.look(&world.look) {
            Move::Step(_) | Move::Promote => steps += 1,
            other => assert_eq!(other, Move::Stay(None)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_is_the_rest_of_all_steps() {
    let look = Look::default();
    let ramp = Ramp::new(CanaryConfig::default(), &look);
    assert_eq!((ramp.step(), ramp.left()), ((1, 5), Duration::from_secs(60)));
    advance(Duration::from_secs(5)).await;
    assert_eq!(ramp.left(), Duration::from_secs(55));
}
