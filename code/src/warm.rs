//! What an instance has in its memory and its globals, on its way to the child that makes a component of it.
//!
//! ```text
//! length of the component, 8 │ length of the index, 8 │ component │ index │ bytes of all memories that are not zero
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

/// The instance that a component exports, once it is instrumented, with a function for each memory and each global.
pub const ACCESS: &str = "wasmtime:wizer/access";

/// The instance that it exports with a function that holds one handle for a moment.
pub const HANDLES: &str = "host:snapshot/handles";

/// That function.
pub const TAKE_ONE: &str = "take-one";

/// Bytes of a memory that are looked at together. What is all zero is left out.
const PAGE: usize = 4096;

const LENGTH: usize = 8;

/// One memory or global.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WarmPart {
    /// A global.
    S32(i32),
    /// A global.
    S64(i64),
    /// A global, by its bits.
    F32(u32),
    /// A global, by its bits.
    F64(u64),
    /// A memory: its length, and the runs of it that are not zero.
    Memory(u64, Vec<(u64, u64)>),
}

/// What an instance has, by the names of the functions of [`ACCESS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WarmState {
    pub(crate) parts: Vec<(String, WarmPart)>,
    /// The runs of all memories, one behind the other.
    pub(crate) bytes: Vec<u8>,
}

impl WarmState {
    /// Adds a global.
    pub fn add(&mut self, name: &str, part: WarmPart) {
        self.parts.push((name.to_owned(), part));
    }

    /// Adds a memory.
    pub fn add_memory(&mut self, name: &str, memory: &[u8]) {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for (page, bytes) in memory.chunks(PAGE).enumerate() {
            if bytes.iter().all(|byte| *byte == 0) {
                continue;
            }
            let (at, length) = ((page * PAGE) as u64, bytes.len() as u64);
            self.bytes.extend_from_slice(bytes);
            match runs.last_mut() {
                Some((begin, before)) if *begin + *before == at => *before += length,
                _ => runs.push((at, length)),
            }
        }
        self.add(name, WarmPart::Memory(memory.len() as u64, runs));
    }

    /// Bytes of its memories that are not zero, to a page.
    #[must_use]
    pub fn filled(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of its largest memory.
    #[must_use]
    pub fn largest_memory(&self) -> u64 {
        let lengths = self.parts.iter().filter_map(|(_, part)| match part {
            WarmPart::Memory(length, _) => Some(*length),
            WarmPart::S32(_) | WarmPart::S64(_) | WarmPart::F32(_) | WarmPart::F64(_) => None,
        });
        lengths.max().unwrap_or_default()
    }
}

/// A component and the state that it is to begin with.
pub struct WarmComponent(Vec<u8>);

impl WarmComponent {
    /// The two of them.
    ///
    /// # Errors
    /// When the state cannot be written down, in one line.
    pub fn new(component: &[u8], state: &WarmState) -> Result<Self, String> {
        let index = postcard::to_stdvec(&state.parts).map_err(|why| why.to_string())?;
        let length = 2 * LENGTH + component.len() + index.len() + state.bytes.len();
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&(component.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&(index.len() as u64).to_le_bytes());
        bytes.extend_from_slice(component);
        bytes.extend_from_slice(&index);
        bytes.extend_from_slice(&state.bytes);
        Ok(Self(bytes))
    }

    /// As the child gets it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// SHA-256 of both.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        crate::component_digest(&self.0)
    }
}

impl fmt::Debug for WarmComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What a guest has in its memory may be a secret.
        f.debug_struct("WarmComponent").field("bytes", &self.0.len()).finish()
    }
}

/// The component and the state of what a parent has sent.
pub(crate) fn read(bytes: &[u8]) -> Option<(&[u8], WarmState)> {
    let length = |at: usize| {
        let length = bytes.get(at..at + LENGTH)?.try_into().ok()?;
        usize::try_from(u64::from_le_bytes(length)).ok()
    };
    let (component, index) = (length(0)?, length(LENGTH)?);
    let (component, rest) = bytes.get(2 * LENGTH..)?.split_at_checked(component)?;
    let (index, bytes) = rest.split_at_checked(index)?;
    let parts = postcard::from_bytes(index).ok()?;
    Some((component, WarmState { parts, bytes: bytes.to_vec() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_read_as_it_was_written_without_its_zeros() {
        let mut memory = vec![0; 10 * PAGE + 7];
        for at in [3, PAGE, 5 * PAGE + 1, 10 * PAGE + 6] {
            memory[at] = 1;
        }
        let mut state = WarmState::default();
        state.add("global0", WarmPart::S64(-4));
        state.add_memory("memory1", &memory);
        assert_eq!((state.filled(), state.largest_memory()), (3 * PAGE + 7, memory.len() as u64));
        let WarmPart::Memory(_, runs) = &state.parts[1].1 else { panic!("no memory") };
        let page = PAGE as u64;
        assert_eq!(*runs, [(0, 2 * page), (5 * page, page), (10 * page, 7)]);
        let sent = WarmComponent::new(b"component", &state).unwrap();
        assert_eq!(read(sent.bytes()), Some((&b"component"[..], state)));
        for cut in [0, 8, 20, 30] {
            assert_eq!(read(&sent.bytes()[..cut]), None, "{cut}");
        }
    }
}
