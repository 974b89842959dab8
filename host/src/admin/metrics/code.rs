//! Where the code of components came from, and what compiling it took.

use std::fmt;

use host_telemetry::ComponentTotals;

use super::page::{Page, bytes, family, number, seconds};

/// Writes it.
pub(super) fn code(page: &mut Page<'_>, all: &[ComponentTotals]) -> fmt::Result {
    let loads = family("host_code_loads", "Code that was loaded, by where it came from.");
    page.counters(&loads, |samples| {
        for ComponentTotals { name, usage, .. } in all {
            let code = &usage.code;
            for (source, count) in [("cache", code.cached), ("compiler", code.compiles.count())] {
                samples.counter(&[("host_component", name), ("source", source)], number(count))?;
            }
        }
        Ok(())
    })?;
    let compiles = seconds("host_compile", "What compiles took that gave code.");
    page.histograms(&compiles, |samples| {
        all.iter().try_for_each(|it| {
            samples.histogram(&[("host_component", it.name)], &it.usage.code.compiles)
        })
    })?;
    let memory =
        bytes("host_compile_memory_peak", "The most memory of the compiler, at the last compile.");
    page.gauges(&memory, |samples| {
        for ComponentTotals { name, usage, .. } in all {
            if let Some(peak) = usage.code.compile_memory {
                samples.gauge(&[("host_component", name)], number(peak))?;
            }
        }
        Ok(())
    })
}
