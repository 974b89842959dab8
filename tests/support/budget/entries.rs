//! Functions whose calls count.

use std::collections::HashMap;

use super::image::{Image, Origin, Symbol};

/// What a call of a function counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Entry {
    /// Memory is asked for.
    Allocate(Size),
    /// Memory is given back.
    Free,
    /// Bytes are copied or set.
    Copy,
    /// Bytes are compared or searched.
    Compare,
    ReadClock,
    WakeTask,
    PollTask,
}

/// Which argument of an allocating function is the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Size {
    First,
    Second,
    Product,
}

/// All of them, by their first address.
pub(super) fn entries(image: &Image) -> HashMap<u64, Entry> {
    let named = image.symbols().filter_map(|symbol| Some((symbol.start, entry(symbol)?)));
    let chosen = image.chosen.iter().filter_map(|(name, at)| Some((*at, of_libc(name)?)));
    named.chain(chosen).collect()
}

/// Whether this function is a part of an allocator.
pub(super) fn is_of_allocator(name: &str) -> bool {
    const LIBC: [&str; 5] = ["malloc", "calloc", "realloc", "free", "posix_memalign"];
    name.starts_with("mi_") || name.starts_with("_mi_") || LIBC.contains(&name)
}

/// For these libc chooses one of many variants that fits the processor.
fn of_libc(name: &str) -> Option<Entry> {
    match name {
        "memcpy" | "memmove" | "memset" => Some(Entry::Copy),
        "memcmp" | "bcmp" | "memchr" | "memrchr" | "strlen" => Some(Entry::Compare),
        _ => None,
    }
}

fn entry(symbol: &Symbol) -> Option<Entry> {
    let name = symbol.name.as_str();
    if symbol.origin == Origin::Vdso {
        return (name == "__vdso_clock_gettime").then_some(Entry::ReadClock);
    }
    let is_generic = |function: &str| {
        name.strip_prefix(function).is_some_and(|rest| rest.is_empty() || rest.starts_with("::<"))
    };
    Some(match name {
        "mi_malloc" | "mi_malloc_aligned" | "mi_zalloc" | "mi_zalloc_aligned" | "malloc" => {
            Entry::Allocate(Size::First)
        }
        "mi_realloc" | "mi_realloc_aligned" | "realloc" => Entry::Allocate(Size::Second),
        "mi_calloc" | "calloc" => Entry::Allocate(Size::Product),
        "mi_free" | "free" => Entry::Free,
        "tokio::runtime::task::waker::wake_by_val" | "tokio::runtime::task::waker::wake_by_ref" => {
            Entry::WakeTask
        }
        _ if is_generic("tokio::runtime::task::raw::poll") => Entry::PollTask,
        _ => return None,
    })
}
