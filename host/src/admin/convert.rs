//! From the parts of the process to what goes over the control socket.

use std::time::Duration;

use host_keyvalue::Trouble;
use host_lifecycle::NotNow;
use tokio::time::Instant;

use crate::component::Rejected;
use crate::control::schema::{
    ChangeOutcome, CommandError, ComponentStatus, ConnectionActivity, ConnectionCounts,
    ConnectionStatus, GenerationState, GenerationStatus, InstanceCount, LastChange, ProtocolName,
    StoreStatus,
};
use crate::site::{App, BreakerState, GenerationInfo, GenerationRole, SwapOutcome, SwapRecord};

pub(super) fn refusal(why: NotNow) -> CommandError {
    CommandError { error: why.to_string() }
}

pub(super) fn outcome(done: SwapOutcome) -> ChangeOutcome {
    match done {
        SwapOutcome::Swapped { from, to, took } => {
            ChangeOutcome::Swapped { from, to, took_ms: millis(took) }
        }
        SwapOutcome::Unchanged { generation } => ChangeOutcome::Unchanged { generation },
        SwapOutcome::Reloaded(done) => ChangeOutcome::Reloaded {
            added: done.added,
            changed: done.changed,
            removed: done.removed,
            routes: done.routes,
            left: done.left,
            restart: done.restart,
            took_ms: millis(done.took),
        },
        SwapOutcome::Rejected(Rejected { step, why, .. }) => {
            ChangeOutcome::Rejected { step: step.name().into(), why }
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

pub(super) fn component(app: &App) -> ComponentStatus {
    let limit = app.limits().instances;
    let standing = app.deployment.breaker.as_ref().map(|breaker| breaker.state());
    ComponentStatus {
        name: app.manifest.name.to_string(),
        generation: app.generation().number(),
        instances: InstanceCount {
            in_use: limit.saturating_sub(app.bulkhead.free()) as u64,
            limit: limit as u64,
        },
        memory: app.settings.memory.used(),
        put_aside_ms: match standing {
            Some(BreakerState::Open(left)) => Some(millis(left)),
            Some(BreakerState::Closed) | None => None,
        },
    }
}

pub(super) fn generation(listed: GenerationInfo) -> GenerationStatus {
    GenerationStatus {
        number: listed.number,
        component: listed.component,
        path: listed.path.into(),
        digest: listed.digest,
        kind: listed.kind.to_string(),
        state: match listed.role {
            GenerationRole::Current => GenerationState::Current,
            GenerationRole::Previous => GenerationState::Previous,
            GenerationRole::Retired => GenerationState::Retired,
        },
        in_flight: listed.in_flight as u64,
        since_ms: millis(listed.since.elapsed()),
        deadline_ms: listed
            .deadline
            .map(|deadline| millis(deadline.saturating_duration_since(Instant::now()))),
    }
}

pub(super) fn connection(state: host_net::ConnectionInfo) -> ConnectionStatus {
    ConnectionStatus {
        id: state.id,
        peer: state.peer,
        listener: state.listener,
        protocol: match state.protocol {
            host_net::ConnectionProtocol::Unknown => ProtocolName::Unknown,
            host_net::ConnectionProtocol::Http1 => ProtocolName::Http1,
            host_net::ConnectionProtocol::Http2 => ProtocolName::Http2,
        },
        state: match state.doing {
            host_net::Activity::Idle => ConnectionActivity::Idle,
            host_net::Activity::Reading => ConnectionActivity::Reading,
            host_net::Activity::Serving => ConnectionActivity::Serving,
            host_net::Activity::Writing => ConnectionActivity::Writing,
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
        } += 1;
    }
    counts
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn store(Trouble { store, why, since }: Trouble) -> StoreStatus {
    StoreStatus { store, why, failing_ms: millis(since.elapsed()) }
}
