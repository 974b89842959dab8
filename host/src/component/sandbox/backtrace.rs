//! Where a guest was when it trapped: one line for each function, the innermost first.
//!
//! wasmtime knows the functions and the offsets in the compiled component; files, lines and inlined functions come from
//! the table that was made when it was compiled (`host_symbols`). All of its texts come from the guest.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use host_manifest::escape::quote;
use host_symbols::{Place, SymbolTable, demangled};
use wasmtime::{FrameInfo, WasmBacktrace};

use super::identity::Identity;

/// What the log says once for each generation whose components tells no names.
const NO_NAMES: &str = "(no names in this component: build it with debug = \"line-tables-only\" and strip = \
     false; see docs/debugging.md)";

/// Modules that toolchains put between a guest and its host. Their functions only pass a call on.
const BETWEEN: [&str; 2] = ["wit-component:shim", "wit-component:fixups"];

/// Functions of Rust that never return: what they call is how Rust panics, and the guest's fault is below them.
const PANICS: [&str; 8] = [
    "core::panicking::",
    "core::result::unwrap_failed",
    "core::option::unwrap_failed",
    "core::option::expect_failed",
    "core::slice::index::slice_",
    "core::str::slice_error_fail",
    "alloc::alloc::handle_alloc_error",
    "alloc::raw_vec::",
];

/// The symbols of a generation's code. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Symbols(Arc<dyn Fn() -> Arc<SymbolTable> + Send + Sync>, Arc<AtomicBool>);

impl Symbols {
    /// Those that `table` finds when a trap is told.
    pub(crate) fn new(table: impl Fn() -> Arc<SymbolTable> + Send + Sync + 'static) -> Self {
        Self(Arc::new(table), Arc::default())
    }

    fn table(&self) -> Arc<SymbolTable> {
        (self.0)()
    }

    /// Whether it has not been said yet that there are no names.
    fn are_missed(&self) -> bool {
        !self.1.swap(true, Ordering::Relaxed)
    }
}

/// The functions that were running when a guest trapped. Its text is made only if it is logged.
pub(crate) struct Backtrace {
    frames: Vec<Frame>,
    symbols: Symbols,
    identity: Identity,
}

/// A function of the compiled component.
#[derive(PartialEq, Eq)]
struct Frame {
    name: Option<String>,
    index: u32,
    /// Of the instruction, in the component.
    offset: Option<u32>,
}

impl Frame {
    fn new(frame: &FrameInfo) -> Option<Self> {
        if frame.module().name().is_some_and(|name| BETWEEN.contains(&name)) {
            return None;
        }
        Some(Self {
            name: frame.func_name().map(str::to_owned),
            index: frame.func_index(),
            offset: frame.module_offset().and_then(|offset| u32::try_from(offset).ok()),
        })
    }
}

impl Backtrace {
    /// That of an error, if it has one.
    pub(crate) fn of(
        why: &wasmtime::Error,
        symbols: &Symbols,
        identity: &Identity,
    ) -> Option<Self> {
        let frames = why.downcast_ref::<WasmBacktrace>()?.frames();
        let frames: Vec<_> = frames.iter().filter_map(Frame::new).collect();
        let (symbols, identity) = (symbols.clone(), identity.clone());
        (!frames.is_empty()).then_some(Self { frames, symbols, identity })
    }

    /// Its lines, unless there were too many such lines of this generation just now.
    pub(crate) fn text(&self) -> Option<String> {
        let permit = self.identity.topics.permit("backtrace")?;
        let mut lines = self.lines();
        if !self.has_names() && self.symbols.are_missed() {
            lines.push(NO_NAMES.into());
        }
        if let Some(left_out) = permit.left_out {
            lines.push(format!("({left_out} backtraces were left out before this one)"));
        }
        Some(lines.join("\n"))
    }

    fn has_names(&self) -> bool {
        !self.symbols.table().is_empty() || self.frames.iter().any(|frame| frame.name.is_some())
    }

    /// One line for each function. What recurses is told once.
    pub(crate) fn lines(&self) -> Vec<String> {
        let offsets: Vec<_> = self.frames.iter().map(|frame| frame.offset.unwrap_or(0)).collect();
        let table = self.symbols.table();
        let places = table.find(&offsets);
        let mut told = Vec::<(String, usize)>::new();
        for (index, (frame, places)) in self.frames.iter().zip(places).enumerate() {
            match told.last_mut() {
                Some((_, again)) if self.frames.get(index - 1) == Some(frame) => *again += 1,
                _ => told.extend(functions(frame, &places).into_iter().map(|line| (line, 0))),
            }
        }
        let panicking =
            told.iter().rposition(|(line, _)| is_panic(line)).map_or(0, |last| last + 1);
        let mut lines = Vec::new();
        for (number, (line, again)) in told.iter().skip(panicking).enumerate() {
            lines.push(format!("{number:>2}: {}", quote(line)));
            if *again > 0 {
                lines.push(format!("    and {again} times more from there"));
            }
        }
        if panicking > 0 {
            lines.push(format!("(and {panicking} functions with which Rust panics, called by 0)"));
        }
        lines
    }
}

fn is_panic(line: &str) -> bool {
    PANICS.iter().any(|name| line.starts_with(name))
}

/// A function, and before it those that were inlined into it.
fn functions(frame: &Frame, places: &[Place<'_>]) -> Vec<String> {
    let own = match (&frame.name, frame.offset) {
        (Some(name), _) => demangled(name),
        (None, Some(offset)) => format!("function {} (at {offset:#x})", frame.index),
        (None, None) => format!("function {}", frame.index),
    };
    if places.is_empty() {
        return vec![own];
    }
    let last = places.len() - 1;
    let line = |(index, place): (usize, &Place<'_>)| {
        // Of a function that is not inlined, its own name says more than lines do, which leave modules out.
        let named = place.function.filter(|_| index < last || frame.name.is_none());
        let function = named.unwrap_or(&own);
        match place.at {
            Some((file, line)) => format!("{function} at {file}:{line}"),
            None => function.to_owned(),
        }
    };
    places.iter().enumerate().map(line).collect()
}

impl fmt::Debug for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backtrace").field("frames", &self.frames.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::sandbox::guest_log::GuestLog;
    use crate::component::sandbox::retirement::Retirement;

    fn backtrace(frames: Vec<Frame>) -> Backtrace {
        let identity = Identity::new(
            (1, "1f2e3d4c"),
            "shop".into(),
            GuestLog::unbounded(),
            Retirement::default().watch(),
            Arc::default(),
        );
        Backtrace { frames, symbols: Symbols::new(Arc::default), identity }
    }

    fn frame(name: Option<&str>, index: u32) -> Frame {
        Frame { name: name.map(str::to_owned), index, offset: Some(0x1a2f) }
    }

    #[test]
    fn each_function_is_a_line_and_no_name_can_make_another() {
        let frames = vec![
            frame(Some("_ZN3pan17look_up_the_price17h0123456789abcdefE"), 7),
            frame(Some("evil\n 9: \u{1b}[31mnot there"), 8),
            frame(None, 9),
        ];
        let lines = backtrace(frames).lines();
        let expected = [
            " 0: pan::look_up_the_price",
            " 1: evil\\n 9: \\u{1b}[31mnot there",
            " 2: function 9 (at 0x1a2f)",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn recursion_is_told_once() {
        let deep = || frame(Some("deep"), 1);
        let lines = backtrace(vec![deep(), deep(), deep(), frame(Some("run"), 2)]).lines();
        assert_eq!(lines, [" 0: deep", "    and 2 times more from there", " 1: run"]);
    }

    #[test]
    fn what_rust_does_to_panic_is_left_out() {
        let names = ["abort", "core::panicking::panic_fmt", "core::panicking::panic", "shop::cart"];
        let lines = backtrace(names.map(|name| frame(Some(name), 1)).into()).lines();
        let expected = [" 0: shop::cart", "(and 3 functions with which Rust panics, called by 0)"];
        assert_eq!(lines, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_traps_at_every_request_does_not_flood_the_log() {
        let trap = backtrace(vec![frame(None, 1)]);
        let texts: Vec<_> = (0..1000).filter_map(|_| trap.text()).collect();
        assert_eq!(texts.len(), 20);
        assert!(texts[0].ends_with(NO_NAMES), "{}", texts[0]);
        assert_eq!(texts[1], " 0: function 1 (at 0x1a2f)", "said once");
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        let next = trap.text().unwrap();
        assert!(next.ends_with("(980 backtraces were left out before this one)"), "{next}");
    }
}
