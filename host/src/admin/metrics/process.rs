//! The process: what it runs out of, where it is in its life, what is served.

use std::fmt;

use host_lifecycle::{Phase, Trackers};
use rustix::process::{Resource, getrlimit};

use super::page::{Page, bytes, family, number, seconds};
use crate::control::schema::PhaseName;
use crate::site::{App, BreakerState, GenerationInfo};

/// Writes what the kernel says of the process, where it says it.
pub(super) fn resources(page: &mut Page<'_>) -> fmt::Result {
    let open = std::fs::read_dir("/proc/self/fd").map(|entries| entries.count() as u64);
    if let Ok(open) = open {
        page.gauge(&family("process_open_fds", "File descriptors in use."), number(open))?;
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        page.gauge(
            &family("process_max_fds", "File descriptors that there may be."),
            number(most),
        )?;
    }
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return Ok(()) };
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    if let Some(threads) = field("Threads:") {
        page.gauge(&family("process_threads", "Threads of the process."), number(threads))?;
    }
    for (name, family) in [
        ("VmRSS:", bytes("process_resident_memory", "Memory of the process that is in RAM.")),
        ("VmSize:", bytes("process_virtual_memory", "Address space of the process.")),
    ] {
        if let Some(kib) = field(name) {
            page.gauge(&family, number(kib.saturating_mul(1024)))?;
        }
    }
    Ok(())
}

/// Writes where the process is in its life, and what a stop still waits for.
pub(super) fn phase(page: &mut Page<'_>, phase: Phase, left: Option<f64>) -> fmt::Result {
    let now = PhaseName::from(phase);
    page.gauges(&family("host_phase", "1 for the phase that the process is in."), |samples| {
        PhaseName::ALL.iter().try_for_each(|one| {
            samples.gauge(&[("phase", one.name())], f64::from(u8::from(*one == now)))
        })
    })?;
    match left {
        Some(left) => page.gauge(
            &seconds(
                "host_drain_deadline",
                "Time left until what still runs is cut; absent while serving.",
            ),
            left,
        ),
        None => Ok(()),
    }
}

/// Writes what is in flight, which is what a stop waits for.
pub(super) fn in_flight(page: &mut Page<'_>, trackers: &Trackers) -> fmt::Result {
    page.gauges(&family("host_in_flight", "What a stop would wait for."), |samples| {
        for (what, tracker) in [
            ("exchanges", &trackers.exchanges),
            ("connections", &trackers.connections),
            ("afterwork", &trackers.afterwork),
            ("instances", &trackers.instances),
            ("swaps", &trackers.swaps),
            ("upgrades", &trackers.upgrades),
        ] {
            samples.gauge(&[("what", what)], tracker.in_flight() as f64)?;
        }
        Ok(())
    })
}

/// Writes what bounds each component, and how much of that is taken.
pub(super) fn apps(page: &mut Page<'_>, apps: &[std::sync::Arc<App>]) -> fmt::Result {
    type Value = fn(&App) -> f64;
    let values: [(_, Value); 8] = [
        (family("host_instances", "Instances that serve."), |app| {
            app.limits().instances.saturating_sub(app.bulkhead.free()) as f64
        }),
        (family("host_instances_limit", "Instances that may serve at once."), |app| {
            app.limits().instances as f64
        }),
        (family("host_queue_length", "Requests that wait for an instance."), |app| {
            app.bulkhead.waiting() as f64
        }),
        (family("host_queue_limit", "Requests that may wait for an instance."), |app| {
            app.limits().queue as f64
        }),
        (bytes("host_memory", "Linear memory of all instances."), |app| {
            number(app.settings.all_memory.used())
        }),
        (
            bytes("host_memory_peak", "The most that it was since the component was loaded."),
            |app| number(app.settings.all_memory.peak()),
        ),
        (bytes("host_code_mapped", "Compiled code that is mapped."), |app| {
            number(app.generation().mapped_code())
        }),
        (
            family(
                "host_breaker_open",
                "1 while the component is put aside because it keeps failing.",
            ),
            |app| {
                let breaker = app.deployment.breaker.as_ref();
                f64::from(u8::from(
                    breaker.is_some_and(|it| matches!(it.state(), BreakerState::Open(_))),
                ))
            },
        ),
    ];
    for (family, value) in &values {
        page.gauges(family, |samples| {
            apps.iter().try_for_each(|app| {
                samples.gauge(&[("host_component", &app.manifest.name)], value(app))
            })
        })?;
    }
    Ok(())
}

/// Writes the generations that are here, with what they still have.
pub(super) fn generations(page: &mut Page<'_>, all: &[GenerationInfo]) -> fmt::Result {
    let family = family(
        "host_generation_in_flight",
        "Exchanges and work after answers on a generation that is here.",
    );
    page.gauges(&family, |samples| {
        all.iter().try_for_each(|it| {
            let number = it.number.to_string();
            let labels = [
                ("host_component", &*it.component),
                ("generation", &*number),
                ("role", it.role.name()),
            ];
            samples.gauge(&labels, it.in_flight as f64)
        })
    })
}
