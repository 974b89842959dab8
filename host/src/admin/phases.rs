//! The phases of the process, noted for those who look at the traffic around them.

use host_lifecycle::{AcceptGate, Phase, PhaseWatch};
use host_telemetry::{EventKind, EventLog};
use tokio::time::Instant;

/// Takes note of each phase that the process comes to, for ever. Two within a moment may be noted as one.
pub(super) async fn note(phase: PhaseWatch, gate: AcceptGate, events: EventLog) {
    let mut before = Phase::Starting;
    loop {
        let now = phase.changed_from(before).await;
        let by_hand = phase.stopping().is_none();
        let (kind, text) = match now {
            Phase::Starting => continue,
            Phase::Ready if before == Phase::LameDuck => {
                (EventKind::Undrain, "back in service".to_owned())
            }
            Phase::Ready => (EventKind::Start, "ready".to_owned()),
            Phase::LameDuck if by_hand && !gate.is_open() => {
                (EventKind::Drain, "an upgrade: a new process accepts".to_owned())
            }
            Phase::LameDuck if by_hand => {
                (EventKind::Drain, "taken out of service by hand, still accepting".to_owned())
            }
            Phase::LameDuck => (EventKind::Stop, "stop asked for, still accepting".to_owned()),
            Phase::Draining => (EventKind::Stop, draining(&phase)),
            Phase::Cut => (EventKind::Stop, "what is left is cut".to_owned()),
        };
        events.note(kind, None, &text);
        before = now;
    }
}

fn draining(phase: &PhaseWatch) -> String {
    let left = phase.stopping().map(|stop| stop.deadline.saturating_duration_since(Instant::now()));
    let left = left.unwrap_or_default().as_secs_f64();
    format!("draining: what is in flight has {left:.1} s to finish")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_phase_leaves_a_mark() {
        let (set, phase) = PhaseWatch::with_setter();
        let events = EventLog::default();
        let noting = tokio::spawn(note(phase, AcceptGate::new(true), events.clone()));
        for phase in [Phase::Ready, Phase::LameDuck, Phase::Draining, Phase::Cut] {
            let before = events.after(0).len();
            set(phase);
            while events.after(0).len() == before {
                tokio::task::yield_now().await;
            }
        }
        let kinds: Vec<_> = events.after(0).into_iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [EventKind::Start, EventKind::Drain, EventKind::Stop, EventKind::Stop]);
        noting.abort();
    }

    #[tokio::test]
    async fn an_upgrade_is_no_operators_hand() {
        let (set, phase) = PhaseWatch::with_setter();
        let (events, gate) = (EventLog::default(), AcceptGate::new(true));
        set(Phase::Ready);
        gate.shut();
        set(Phase::LameDuck);
        let noting = tokio::spawn(note(phase, gate, events.clone()));
        while events.after(0).is_empty() {
            tokio::task::yield_now().await;
        }
        let texts: Vec<_> = events.after(0).into_iter().map(|event| event.text).collect();
        assert_eq!(texts, ["an upgrade: a new process accepts"]);
        noting.abort();
    }
}
