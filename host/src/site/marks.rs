//! What a change has come to, for those who look at the traffic around it.

use host_telemetry::{EventKind, EventLog};

use super::outcome::{SwapCommand, SwapOutcome, Trigger};
use super::slot::Slot;

/// Takes note of a change that is over, or of a canary's end, which nobody has commanded. One that changed nothing
/// leaves no mark.
pub(super) fn mark(
    events: &EventLog,
    slot: &Slot,
    (trigger, command): (Trigger, Option<&SwapCommand>),
    outcome: &SwapOutcome,
) {
    let kind = match outcome {
        SwapOutcome::Rejected(_) => EventKind::Rejected,
        SwapOutcome::Unchanged { .. } => return,
        SwapOutcome::Reloaded(reloaded) if !reloaded.changes_something() => return,
        SwapOutcome::Reloaded(_) => EventKind::Reload,
        SwapOutcome::Swapped { .. } if matches!(command, Some(SwapCommand::Rollback(_))) => {
            EventKind::Rollback
        }
        SwapOutcome::Swapped { .. } => EventKind::Swap,
        SwapOutcome::Canary { .. } | SwapOutcome::Promoted { .. } | SwapOutcome::Aborted { .. } => {
            EventKind::Canary
        }
    };
    let component = component(slot, command, outcome);
    events.note(kind, component.as_deref(), &format!("{outcome}, asked for by {}", trigger.name()));
}

fn component(slot: &Slot, command: Option<&SwapCommand>, outcome: &SwapOutcome) -> Option<String> {
    let site = slot.current();
    let name = match outcome {
        SwapOutcome::Canary { component, .. }
        | SwapOutcome::Promoted { component, .. }
        | SwapOutcome::Aborted { component, .. } => Some(&**component),
        SwapOutcome::Swapped { to, .. } => {
            site.apps().find(|app| app.generation().number() == *to).map(|app| &*app.manifest.name)
        }
        _ => command.and_then(SwapCommand::component),
    };
    name.map(ToOwned::to_owned)
}
