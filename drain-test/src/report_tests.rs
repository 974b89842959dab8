use std::time::Duration;

use super::super::fate::Fate;
use super::super::ledger::EndedRequest;
use super::*;

fn report() -> DrainReport {
    let triggered = Instant::now() + Duration::from_secs(1);
    let mut ledger = Ledger::default();
    let request = |id, after, when| {
        let began = triggered + Duration::from_millis(after) - Duration::from_millis(2);
        let ended = began + Duration::from_millis(1);
        EndedRequest { id, was_sent: true, began, ended, when, is_repeatable: false }
    };
    ledger.enter(request(1, 0, When::Before), Fate::Answered, "");
    ledger.enter(request(2, 0, When::Before), Fate::Answered, "");
    ledger.enter(request(3, 7, When::Stop), Fate::Lost(LossKind::ServerError), "status 503");
    ledger.answered_twice(request(2, 0, When::Before), "bytes");
    let mut report = DrainReport::new("http://t/".to_owned());
    let outcome = StopOutcome { stop: 1, ..StopOutcome::default() };
    report.stops.push(outcome);
    report.statuses.insert(ClientKind::H1Kept, 204);
    report.add(1, triggered, BTreeMap::from([(ClientKind::H1Kept, ledger)]));
    report
}

#[test]
fn report_counts_each_request_once_and_lists_losses_in_their_order() {
    let report = report();
    let total = report.total();
    assert_eq!((total.sent, total.answered.sum(), total.lost_in_all()), (3, 1, 2));
    let losses: Vec<_> = report.losses.iter().map(|l| (l.request, l.kind, l.sent_ms)).collect();
    assert_eq!(losses, [(2, LossKind::Twice, -2.0), (3, LossKind::ServerError, 5.0)]);
    assert_eq!(report.unlisted, 0);
    assert!(!report.is_clean());
}

#[test]
fn report_is_a_table_and_json() {
    let report = report();
    let table = report.to_string();
    assert!(table.contains("5xx 1, twice 1"), "{table}");
    assert!(table.contains("lost: stop 1, stop, h1-kept request 3, sent +5 ms"), "{table}");
    let row = table.lines().find(|line| line.starts_with("h1-kept")).unwrap();
    assert_eq!(row.split_whitespace().nth(1), Some("204"), "{table}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["clients"]["h1-kept"]["lost"]["5xx"]["stop"], 1);
    assert_eq!(json["statuses"]["h1-kept"], 204);
    assert_eq!(json["losses"][1]["kind"], "5xx");
    assert_eq!(json["losses"][0]["phase"], "before");
}
