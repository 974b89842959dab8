//! Each way to lose a request is seen, and a server that loses none is told so.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::{SHORT, Server, Stopping};
use host_drain_test::{ClientKind, DrainReport, LossKind, Plan, RefusedBy, When, run};

/// Those that keep their connection, and have one request at a time.
const KEPT: [ClientKind; 3] = [ClientKind::H1Kept, ClientKind::H1Upload, ClientKind::H1Stream];

async fn stop(stopping: Stopping, kinds: &[ClientKind]) -> DrainReport {
    let server = Server::start(stopping).await;
    let report = run(server.plan(kinds)).await.unwrap();
    println!("{stopping:?}\n{report}");
    assert_eq!(report.trouble, None);
    let total = report.total();
    let sent_and_refused: u64 = [RefusedBy::Told, RefusedBy::Goaway, RefusedBy::Stream]
        .iter()
        .filter_map(|by| total.refused.get(by))
        .map(|counts| counts.sum())
        .sum();
    assert_eq!(total.sent, total.answered.sum() + sent_and_refused + total.lost_in_all());
    report
}

/// Fails unless each client that keeps its connection has lost one request, in this way and at the stop.
async fn each_loses_one(stopping: Stopping, kind: LossKind) {
    let report = stop(stopping, &KEPT).await;
    let total = report.total();
    assert_eq!(total.lost_in_all(), 9, "{report}");
    assert_eq!(total.lost.get(&kind).map(|counts| counts.sum()), Some(9), "{report}");
    for loss in &report.losses {
        assert_eq!((loss.kind, loss.stop), (kind, 1), "{loss}");
        assert_ne!(loss.phase, When::Before, "{loss}");
        assert!(loss.ended_ms >= loss.sent_ms && loss.ended_ms >= 0.0, "{loss}");
    }
    assert!(!report.is_clean());
}

#[tokio::test]
async fn server_that_says_close_before_it_closes_loses_nothing() {
    let report = stop(Stopping::Rightly, &KEPT).await;
    assert!(report.is_clean(), "{report}");
    let total = report.total();
    assert_eq!(total.refused.get(&RefusedBy::Connect).map(|counts| counts.sum()), Some(9));
    assert_eq!((total.connections, total.announced, total.closed_idle), (9, 9, 0), "{report}");
    assert!(report.stops.first().unwrap().refused_ms.is_some());
}

#[tokio::test]
async fn requests_pipelined_behind_a_close_are_refused_and_not_lost() {
    let report = stop(Stopping::Rightly, &[ClientKind::H1Pipelined]).await;
    assert!(report.is_clean(), "{report}");
    // A batch of four may end with the response that says it.
    let told = report.total().refused.get(&RefusedBy::Told).map_or(0, |counts| counts.sum());
    assert!(told <= 9, "{report}");
}

#[tokio::test]
async fn server_that_is_reloaded_never_refuses() {
    let server = Server::start(Stopping::NotAtAll).await;
    let mut plan = server.plan(&ClientKind::HTTP1);
    plan.stops = 3;
    plan.after = Duration::ZERO;
    let report = run(plan).await.unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.stops.len(), 3);
    assert!(report.stops.iter().all(|stop| stop.refused_ms.is_none()), "{report}");
    for kind in ClientKind::HTTP1 {
        assert!(report.clients.get(&kind).is_some_and(|tally| tally.answered.sum() >= 9));
    }
}

#[tokio::test]
async fn reset_without_a_response_is_a_loss() {
    each_loses_one(Stopping::Resets, LossKind::Reset).await;
}

#[tokio::test]
async fn end_without_a_response_is_a_loss() {
    each_loses_one(Stopping::Closes, LossKind::Eof).await;
}

#[tokio::test]
async fn body_shorter_than_its_length_is_a_loss() {
    each_loses_one(Stopping::Truncates, LossKind::Truncated).await;
}

#[tokio::test]
async fn body_without_its_last_chunk_is_a_loss() {
    each_loses_one(Stopping::LeavesOutTheLastChunk, LossKind::Truncated).await;
}

#[tokio::test]
async fn status_503_is_a_loss_with_retry_after_too() {
    each_loses_one(Stopping::Says503, LossKind::ServerError).await;
}

#[tokio::test]
async fn status_that_differs_from_the_first_is_a_loss() {
    each_loses_one(Stopping::Says404, LossKind::Status).await;
}

/// A path that was mistyped once gave "lost none".
#[tokio::test]
async fn status_from_400_on_is_an_answer_only_for_whoever_wants_it() {
    let server = Server::start(Stopping::FindsNothing).await;
    let mut plan = server.plan(&[ClientKind::H1Kept]);
    plan.after = Duration::ZERO;
    let report = run(plan.clone()).await.unwrap();
    let trouble = report.trouble.as_deref().unwrap();
    assert!(trouble.ends_with("so the server was left alone: status: status 404"), "{trouble}");
    assert!(report.is_untested() && report.statuses.is_empty(), "{report}");
    plan.statuses = vec![200, 404];
    let report = run(plan.clone()).await.unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.statuses.get(&ClientKind::H1Kept), Some(&404), "{report}");
    let server = Server::start(Stopping::NotAtAll).await;
    let plan = Plan { statuses: vec![204], after: Duration::ZERO, ..server.plan(&plan.kinds) };
    let trouble = run(plan).await.unwrap().trouble.unwrap();
    assert!(trouble.ends_with("status: status 200"), "{trouble}");
}

#[tokio::test]
async fn second_response_to_one_request_is_a_loss() {
    each_loses_one(Stopping::RespondsTwice, LossKind::Twice).await;
}

#[tokio::test]
async fn pipelined_requests_behind_a_reset_are_all_lost() {
    let report = stop(Stopping::Resets, &[ClientKind::H1Pipelined]).await;
    let lost = report.total().lost_in_all();
    // Three batches, of which each loses the request that was reset and those behind it.
    assert!((3..=12).contains(&lost), "{report}");
}

#[tokio::test]
async fn client_counts_as_many_resets_as_the_server_makes() {
    let server = Server::start(Stopping::ResetsEachThird).await;
    let mut plan = server.plan(&[ClientKind::H1Kept, ClientKind::H1Fresh, ClientKind::H1Upload]);
    plan.after = Duration::ZERO;
    plan.stops = 4;
    let report = run(plan).await.unwrap();
    let made = server.resets.load(Ordering::SeqCst);
    let lost = report.total().lost.get(&LossKind::Reset).map_or(0, |counts| counts.sum());
    assert!(made > 0 && lost == made && report.total().lost_in_all() == made, "{made}: {report}");
}

#[tokio::test]
async fn request_without_a_response_in_time_is_a_loss() {
    let server = Server::start(Stopping::Swallows).await;
    let mut plan = server.plan(&KEPT);
    plan.patience = SHORT;
    let report = run(plan).await.unwrap();
    let total = report.total();
    assert!(total.lost_in_all() >= 9, "{report}");
    assert!(report.losses.iter().all(|loss| loss.kind == LossKind::Timeout), "{report}");
}
