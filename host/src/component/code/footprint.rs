//! What each fresh instance of a component pays for, counted in its bytes.

use std::fmt;

use serde::Serialize;
use wasmparser::{
    BinaryReaderError, CanonicalFunction, Instance, MemorySectionReader, Parser, Payload,
};

use crate::component::slot_size::WASM_PAGE;

/// From here on functions cost more than all else that an instance is made of: some 0.1 µs each.
const MANY_FUNCTIONS: usize = 64;

const MIB: u64 = 1 << 20;

/// What wasmtime makes anew for each instance of a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Footprint {
    /// Functions of the host and of the component model that it imports, used or not.
    pub functions: usize,
    /// Core instances, as they are compiled.
    pub core_instances: usize,
    /// Bytes of memory that it begins with.
    pub memory: u64,
    /// Bytes of that memory which its file gives.
    pub data: u64,
}

impl Footprint {
    /// Counts, on all levels of a component.
    pub(crate) fn read(component: &[u8]) -> Result<Self, BinaryReaderError> {
        let mut all = Self::default();
        for payload in Parser::new(0).parse_all(component) {
            match payload? {
                Payload::ComponentCanonicalSection(section) => {
                    for function in section {
                        let lift = matches!(function?, CanonicalFunction::Lift { .. });
                        all.functions += usize::from(!lift);
                    }
                }
                Payload::InstanceSection(section) => {
                    for instance in section {
                        let made = matches!(instance?, Instance::Instantiate { .. });
                        all.core_instances += usize::from(made);
                    }
                }
                Payload::MemorySection(section) => {
                    all.memory = all.memory.saturating_add(initial(section)?);
                }
                Payload::DataSection(section) => {
                    for data in section {
                        all.data = all.data.saturating_add(data?.data.len() as u64);
                    }
                }
                _ => {}
            }
        }
        if host_unshim::unshim(component).is_ok() {
            all.core_instances -= 1;
        }
        Ok(all)
    }

    /// What it could do with less of, in words.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        (self.functions >= MANY_FUNCTIONS)
            .then_some("many functions: docs/guests.md, \"Build a lean guest\"")
    }
}

/// Bytes of the memories in a section, at their beginning.
fn initial(memories: MemorySectionReader<'_>) -> Result<u64, BinaryReaderError> {
    memories.into_iter().try_fold(0_u64, |sum, memory| {
        Ok(sum.saturating_add(memory?.initial.saturating_mul(WASM_PAGE)))
    })
}

/// `48 functions, 2 core instances, 1.1 MiB of memory, 9 KiB of it from the file`.
impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { functions, core_instances, memory, data } = *self;
        let tenths = memory.saturating_mul(10) / MIB;
        write!(
            f,
            "{functions} functions, {core_instances} core instances, {}.{} MiB of memory, {} KiB of it from the file",
            tenths / 10,
            tenths % 10,
            data.div_ceil(1 << 10)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_instance_is_made_of_is_counted_on_all_levels() {
        let component = wat::parse_str(
            "(component (import \"f\" (func $f))
               (core module $m (memory 17) (data (i32.const 0) \"0123456789\"))
               (core func $low (canon lower (func $f)))
               (core instance (instantiate $m)) (core instance (export \"x\" (func $low)))
               (component (core module $n (memory 3)) (core instance (instantiate $n))))",
        )
        .unwrap();
        let found = Footprint::read(&component).unwrap();
        let pages = 20 * (64 << 10);
        let all = Footprint { functions: 1, core_instances: 2, memory: pages, data: 10 };
        assert_eq!(found, all);
        assert_eq!(
            found.to_string(),
            "1 functions, 2 core instances, 1.2 MiB of memory, 1 KiB of it from the file"
        );
        assert_eq!(found.hint(), None);
        assert!(Footprint { functions: 64, ..all }.hint().is_some());
    }
}
