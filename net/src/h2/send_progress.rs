//! How far an answer has come on its stream.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One HTTP/2 frame of the usual size (RFC 9113 §6.5.2): what a body gives at most in one go.
pub(super) const SLICE: usize = 16 * 1024;

/// What the body of an answer has given to its stream, and how much of that has left.
#[derive(Debug)]
pub(super) struct SendProgress {
    /// Whether hyper has asked for more than what it was given last.
    pub(super) taken: AtomicBool,
    /// Bytes that the body has given.
    pub(super) bytes: AtomicU64,
    /// Bytes that the kernel has taken.
    pub(super) written: AtomicU64,
}

impl Default for SendProgress {
    fn default() -> Self {
        let (bytes, written) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { taken: AtomicBool::new(true), bytes, written }
    }
}

impl SendProgress {
    /// Bytes that the peer has let go. Where it is not known which stream this is, that of slices that are
    /// gone for certain.
    pub(super) fn gone(&self) -> u64 {
        let slices = self.bytes.load(Ordering::Acquire).saturating_sub(SLICE as u64);
        slices.max(self.written.load(Ordering::Acquire))
    }
}
