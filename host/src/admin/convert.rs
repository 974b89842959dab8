//! From the parts of the process to what goes over the control socket.

use std::str::FromStr;
use std::time::Duration;

use host_keyvalue::Trouble;
use host_lifecycle::NotNow;
use host_manifest::{CanaryConfig, CanaryOverrides};
use host_telemetry::{Used, UsedLately};
use tokio::time::Instant;

use crate::component::Rejected;
use crate::control::schema::{
    CanaryEndStatus, CanaryRequest, CanaryStatus, CanaryTraffic, ChangeOutcome, CommandError,
    ComponentStatus, ConnectionActivity, ConnectionCounts, ConnectionStatus, GenerationState,
    GenerationStatus, InstanceCount, LastChange, ProtocolName, StoreStatus, TrafficStatus,
    UpgradeReport, UsageFigures, UsageStatus,
};
use crate::site::{
    App, CanaryChoice, CanaryEnd, CanaryProgress, ComparedTraffic, GenerationInfo, GenerationRole,
    SwapOutcome, SwapRecord,
};
use crate::upgrade::Upgraded;

pub(super) fn refusal(why: NotNow) -> CommandError {
    CommandError { error: why.to_string() }
}

pub(super) fn upgraded(upgraded: Upgraded) -> UpgradeReport {
    let Upgraded { pid, version, connections, took } = upgraded;
    UpgradeReport { pid, version, connections, took_ms: millis(took) }
}

pub(super) fn outcome(done: SwapOutcome) -> ChangeOutcome {
    match done {
        SwapOutcome::Swapped { from, to, took } => {
            ChangeOutcome::Swapped { from, to, took_ms: millis(took) }
        }
        SwapOutcome::Canary { component, from, to, took } => {
            let (component, took_ms) = (component.to_string(), millis(took));
            ChangeOutcome::Canary { component, from, to, took_ms }
        }
        SwapOutcome::Promoted { component, from, to, why } => {
            ChangeOutcome::Promoted { component: component.to_string(), from, to, why }
        }
        SwapOutcome::Aborted { component, from, to, why } => {
            ChangeOutcome::Aborted { component: component.to_string(), from, to, why }
        }
        SwapOutcome::Unchanged { generation } => ChangeOutcome::Unchanged { generation },
        SwapOutcome::Reloaded(done) => ChangeOutcome::Reloaded {
            added: done.added,
            changed: done.changed,
            removed: done.removed,
            canaries: done.canaries,
            routes: done.routes,
            certificates: done.certificates,
            left: done.left,
            restart: done.restart,
            took_ms: millis(done.took),
        },
        SwapOutcome::Rejected(Rejected { step, why, stack, .. }) => {
            ChangeOutcome::Rejected { step: step.name().into(), why, stack }
        }
    }
}

pub(super) fn last_swap(last: SwapRecord) -> LastChange {
    LastChange {
        ago_ms: millis(last.at.elapsed()),
        outcome: outcome(last.outcome),
        trigger: last.trigger.name().into(),
    }
}

/// A component whose last minute is this. A generation that was made after `started` has come by a swap.
pub(super) fn component(app: &App, minute: TrafficStatus, started: Instant) -> ComponentStatus {
    let since = app.generation().since();
    let limit = app.limits().instances;
    ComponentStatus {
        name: app.manifest.name.to_string(),
        generation: app.generation().number(),
        instances: InstanceCount {
            in_use: limit.saturating_sub(app.bulkhead.free()) as u64,
            limit: limit as u64,
        },
        memory: app.settings.all_memory.used(),
        put_aside_ms: app.deployment.put_aside().map(millis),
        traffic: minute,
        swapped_ms_ago: (since > started).then(|| millis(since.elapsed())),
    }
}

/// `canaries` say what a generation gets of the exchanges.
pub(super) fn generation(listed: GenerationInfo, canaries: &[CanaryProgress]) -> GenerationStatus {
    let mut running = canaries.iter().rev().filter(|canary| canary.end.is_none());
    let share = running.find_map(|canary| match listed.number {
        number if number == canary.to => Some(canary.share),
        number if number == canary.from => Some(canary.share.rest()),
        _ => None,
    });
    let share = share.map(|share| share.to_string());
    GenerationStatus {
        number: listed.number,
        component: listed.component,
        path: listed.path.into(),
        digest: listed.digest,
        kind: listed.kind.to_string(),
        state: match listed.role {
            GenerationRole::Current => GenerationState::Current,
            GenerationRole::Canary => GenerationState::Canary,
            GenerationRole::Aborted => GenerationState::Aborted,
            GenerationRole::Previous => GenerationState::Previous,
            GenerationRole::Retired => GenerationState::Retired,
        },
        in_flight: listed.in_flight as u64,
        since_ms: millis(listed.since.elapsed()),
        deadline_ms: listed
            .deadline
            .map(|deadline| millis(deadline.saturating_duration_since(Instant::now()))),
        share,
        why: listed.why,
    }
}

pub(super) fn canary(canary: CanaryProgress) -> CanaryStatus {
    let traffic = |traffic: &ComparedTraffic| CanaryTraffic {
        requests: traffic.requests,
        errors: traffic.errors,
        p99_ms: traffic.took.quantile(0.99).map(|p99| p99.as_secs_f64() * 1e3),
    };
    CanaryStatus {
        component: canary.component.to_string(),
        from: canary.from,
        to: canary.to,
        share: canary.share.to_string(),
        step: canary.step.0 as u64,
        steps: canary.step.1 as u64,
        left_ms: millis(canary.left),
        old: traffic(&canary.old),
        new: traffic(&canary.new),
        waits_for: canary.waits_for,
        end: canary.end.map(|CanaryEnd { promoted, why, at }| CanaryEndStatus {
            promoted,
            why,
            ago_ms: millis(at.elapsed()),
        }),
    }
}

/// How a new version is to take over.
///
/// # Errors
/// A text that means nothing, or makes no sense.
pub(super) fn canary_choice(asked: Option<CanaryRequest>) -> Result<CanaryChoice, String> {
    fn parse<T: FromStr<Err = String>>(text: Option<String>) -> Result<Option<T>, String> {
        text.map(|text| text.parse().map_err(|why| format!("{text}: {why}"))).transpose()
    }
    let Some(CanaryRequest { share, period, abort_if, sticky }) = asked else {
        return Ok(CanaryChoice::Manifest);
    };
    if share.as_deref() == Some("off") {
        return Ok(CanaryChoice::Off);
    }
    let (share, period) = (parse(share)?, parse(period)?);
    let (abort_if, sticky) = (parse(abort_if)?, parse(sticky)?);
    let overrides = CanaryOverrides { share, period, abort_if, sticky };
    match CanaryConfig::default().with(overrides.clone()).faults().first() {
        Some(fault) => Err(fault.to_string()),
        None => Ok(CanaryChoice::Asked(overrides)),
    }
}

pub(super) fn usage((component, used): (&'static str, UsedLately)) -> UsageStatus {
    let figures = |used: Used| UsageFigures {
        cpu_ms: millis(used.cpu),
        memory_byte_seconds: used.memory,
        requests: used.requests,
        received: used.received,
        sent: used.sent,
        outgoing: used.outgoing,
        keyvalue: used.keyvalue,
    };
    UsageStatus {
        component: component.into(),
        since_start: figures(used.since_start),
        last_minute: figures(used.last_minute),
    }
}

pub(super) fn protocol(protocol: host_net::ConnectionProtocol) -> ProtocolName {
    match protocol {
        host_net::ConnectionProtocol::Unknown => ProtocolName::Unknown,
        host_net::ConnectionProtocol::Http1 => ProtocolName::Http1,
        host_net::ConnectionProtocol::Http2 => ProtocolName::Http2,
    }
}

pub(super) fn connection(state: host_net::ConnectionInfo) -> ConnectionStatus {
    ConnectionStatus {
        id: state.id,
        peer: state.peer,
        listener: state.listener,
        protocol: protocol(state.protocol),
        tls: state.tls.map(Into::into),
        state: match state.doing {
            host_net::Activity::Idle => ConnectionActivity::Idle,
            host_net::Activity::Reading => ConnectionActivity::Reading,
            host_net::Activity::Serving => ConnectionActivity::Serving,
            host_net::Activity::Writing => ConnectionActivity::Writing,
            host_net::Activity::Handshake => ConnectionActivity::Handshake,
        },
        age_ms: millis(state.age),
        idle_ms: millis(state.idle),
        exchanges_served: state.served,
        exchanges_in_flight: state.in_flight as u64,
    }
}

pub(super) fn count(connections: &[ConnectionStatus]) -> ConnectionCounts {
    let mut counts = ConnectionCounts { open: connections.len() as u64, ..Default::default() };
    for connection in connections {
        *match connection.state {
            ConnectionActivity::Idle => &mut counts.idle,
            ConnectionActivity::Reading => &mut counts.reading,
            ConnectionActivity::Serving => &mut counts.serving,
            ConnectionActivity::Writing => &mut counts.writing,
            ConnectionActivity::Handshake => &mut counts.handshake,
        } += 1;
    }
    counts
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn store(Trouble { store, why, since }: Trouble) -> StoreStatus {
    StoreStatus { store, why, failing_ms: millis(since.elapsed()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_canary_are_those_of_the_manifest() {
        let request = |text: &str| canary_choice(Some(serde_json::from_str(text).unwrap()));
        assert_eq!(canary_choice(None), Ok(CanaryChoice::Manifest));
        assert_eq!(request(r#"{"share":"off"}"#), Ok(CanaryChoice::Off));
        let Ok(CanaryChoice::Asked(asked)) = request(r#"{"share":"10%","for":"2m"}"#) else {
            panic!("it is asked for");
        };
        assert_eq!(asked.share.map(|share| share.to_string()), Some("10%".into()));
        assert_eq!((asked.abort_if, asked.sticky), (None, None));
        // It once began a canary of 10 milliseconds.
        for (text, says) in [
            (r#"{"for":"10ms"}"#, "for must be at least 1s"),
            (r#"{"share":"5"}"#, "5: not a share"),
            (r#"{"abort_if":"fast"}"#, "fast: no rule"),
            (r#"{"sticky":"cookie"}"#, "header:NAME"),
        ] {
            let why = request(text).unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
        }
    }
}
