//! Buckets on the paused clock, and the files of components.

use super::*;

const LINE: usize = 850;

fn with_rate(rate: u64) -> GuestLog {
    GuestLog::new(Some(rate), None, Arc::default())
}

/// Prints as many lines as find room now.
fn print(log: &GuestLog) -> u64 {
    let mut lines = 0;
    while log.has_room(LINE) {
        lines += 1;
    }
    lines
}

#[tokio::test(start_paused = true)]
async fn the_bucket_is_full_again_after_a_second() {
    let log = with_rate(10_000);
    assert_eq!(print(&log), 10);
    for (millis, lines) in [(0, 0), (50, 1), (50, 0), (1000, 10), (60_000, 10)] {
        tokio::time::advance(Duration::from_millis(millis)).await;
        assert_eq!(print(&log), lines, "after {millis} ms");
    }
}

/// Looks that come more often than bytes must not keep bytes from coming.
#[tokio::test(start_paused = true)]
async fn frequent_looks_do_not_reduce_the_rate() {
    let log = with_rate(100);
    assert_eq!(print(&log), 1);
    let mut looks = 0;
    while !log.has_room(LINE) {
        tokio::time::advance(Duration::from_millis(1)).await;
        looks += 1;
    }
    assert_eq!(
        looks, 9010,
        "a line of 1,000 bytes with what is around it, of which 100 were there"
    );
}

#[tokio::test(start_paused = true)]
async fn left_out_lines_are_reported_at_once_then_at_intervals_without_a_gap() {
    let log = with_rate(1);
    let due = |lines| {
        log.state().left_out += lines;
        log.state().due()
    };
    assert_eq!(due(0), 0);
    assert_eq!(due(1), 1);
    assert_eq!((due(2), due(3)), (0, 0));
    tokio::time::advance(SAY_EVERY).await;
    assert_eq!(due(0), 5);
    assert_eq!(due(0), 0);
}

#[test]
fn without_a_rate_there_is_always_room() {
    let log = GuestLog::unbounded();
    assert!((0..1000).all(|_| log.has_room(1 << 20)));
}

/// Each generation had a bucket of its own: a component that was swapped often printed as often as it liked.
#[tokio::test(start_paused = true)]
async fn generations_of_a_component_share_its_bucket() {
    let logs = GuestLogs::default();
    let [name, other] = ["shop", "auth"].map(Arc::<str>::from);
    let component = |name, rate| logs.component(name, Some(rate), None).unwrap();
    let old = component(&name, 10_000);
    assert_eq!(print(&old), 10);
    assert_eq!(print(&component(&name, 10_000)), 0);
    assert_eq!(print(&component(&other, 10_000)), 10, "another component has its own");
    assert_eq!(print(&component(&name, 20_000)), 20, "a new rate fills it");
    drop(old);
    assert_eq!(print(&component(&name, 20_000)), 20, "nobody had it any more");
}

#[test]
fn a_component_has_one_file_until_the_manifest_names_another() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one.log", "two.log"].map(|name| folder.path().join(name));
    let logs = GuestLogs::default();
    let name: Arc<str> = "shop".into();
    let component = |file: &Path| logs.component(&name, None, Some(file)).unwrap();
    let first = component(&one);
    assert!(Arc::ptr_eq(&first, &component(&one)));
    let second = component(&two);
    let line = GuestLine {
        component: "shop",
        generation: 1,
        stream: "stdout",
        exchange: None,
        trace: None,
        text: "hello",
    };
    [&first, &second, &second].iter().for_each(|log| log.print(&line));
    logs.end(Instant::now() + Duration::from_secs(30));
    drop(first);
    let lines = |path| std::fs::read_to_string(path).unwrap().lines().count();
    assert_eq!((lines(&one), lines(&two)), (1, 2));
    let gone = folder.path().join("gone/x.log");
    assert!(logs.component(&name, None, Some(&gone)).is_err());
}
