//! What an exchange is called.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{Method, Request, Uri};

use host_lifecycle::Guard;

/// What an exchange is called in logs and among the survivors of a drain.
#[derive(Debug)]
pub(super) struct ExchangeInfo {
    method: Method,
    uri: Uri,
    /// Of which exchange it is a part, in a chain.
    pub(super) part_of: Option<u64>,
    /// The number of the generation, once it has an instance: a request that waits for one may get one of a
    /// newer generation. 0 before that, which no generation has.
    generation: AtomicU64,
}

impl ExchangeInfo {
    pub(super) fn new<B>(request: &Request<B>, part_of: Option<u64>) -> Self {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        Self { method, uri, part_of, generation: AtomicU64::new(0) }
    }

    /// The number of its exchange: of the one around it, in a chain.
    pub(super) fn exchange(&self, guard: &Guard) -> u64 {
        self.part_of.unwrap_or_else(|| guard.id())
    }

    /// It has an instance of this generation, or has lost the one that it had.
    pub(super) fn set_generation(&self, generation: Option<u64>) {
        self.generation.store(generation.unwrap_or(0), Ordering::Relaxed);
    }

    /// The generation of its instance, if it has one.
    pub(super) fn generation(&self) -> Option<u64> {
        Some(self.generation.load(Ordering::Relaxed)).filter(|generation| *generation != 0)
    }
}

/// Bytes of a method or a path in a line of the log: a plugin can make either as long as it likes.
const SHOWN: usize = 256;

/// The beginning of a text, with a sign where there is more of it.
fn cut(text: &str) -> (&str, &'static str) {
    let end = text.floor_char_boundary(SHOWN);
    text.split_at_checked(end)
        .filter(|(_, rest)| !rest.is_empty())
        .map_or((text, ""), |it| (it.0, "…"))
}

impl fmt::Display for ExchangeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, uri, .. } = self;
        let path = uri.path_and_query().map_or("*", |path| path.as_str());
        let ((method, more), (path, on)) = (cut(method.as_str()), cut(path));
        write!(f, "{method}{more} {path}{on}")?;
        if let Some(exchange) = self.part_of {
            write!(f, " of exchange={exchange}")?;
        }
        self.generation().map_or(Ok(()), |generation| write!(f, " generation={generation}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plugin could pass on a path of 64 KiB, and a line of the log was as long.
    #[test]
    fn a_long_path_is_cut() {
        let info = |path: &str| {
            ExchangeInfo::new(&Request::builder().uri(path).body(()).unwrap(), None).to_string()
        };
        let shown = format!("/{}", "x".repeat(SHOWN - 1));
        assert_eq!(info(&shown), format!("GET {shown}"));
        assert_eq!(info(&format!("{shown}x")), format!("GET {shown}…"));
        assert_eq!(info(&format!("/{}", "é".repeat(SHOWN))).len(), "GET /…".len() + SHOWN - 2);
    }
}
