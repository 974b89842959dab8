//! The child's part of a snapshot (docs/adr/0061): has a component say what is in its memory, and makes a component
//! that begins with that. By the crate wasmtime-wizer, which parses bytes that may be hostile, and panics on some.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmparser::{ComponentAlias, ComponentExternalKind, Encoding, Parser, Payload};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use crate::child_failure::ChildFailure;
use crate::warm::{self, HANDLES, WarmPart, WarmState};

/// Makes a resource of its own and drops it. It can while the store may have one more handle.
const HANDLE: &str = r#"(component
    (type $resource (resource (rep i32)))
    (core func $new (canon resource.new $resource))
    (core func $drop (canon resource.drop $resource))
    (core module $module
        (import "" "new" (func $new (param i32) (result i32)))
        (import "" "drop" (func $drop (param i32)))
        (func (export "take-one") (call $drop (call $new (i32.const 0)))))
    (core instance $own (export "new" (func $new)) (export "drop" (func $drop)))
    (core instance $instance (instantiate $module (with "" (instance $own))))
    (func (export "take-one") (canon lift (core func $instance "take-one"))))"#;

/// The component, with the exports [`warm::ACCESS`] and [`HANDLES`].
pub(crate) fn instrument(component: &[u8]) -> Result<Vec<u8>, ChildFailure> {
    is_suited(component)?;
    let (_, mut instrumented) = wizer().instrument_component(component)?;
    let outline = Outline::read(&instrumented)?;
    let probe = wat::parse_str(HANDLE).map_err(|why| ChildFailure::Unable(why.to_string()))?;
    let added = outline.with_instance(&probe);
    instrumented.extend_from_slice(&added);
    Ok(instrumented)
}

/// The component of what a parent has sent, which begins with the state that it sent.
pub(crate) fn begin_warm(given: &[u8]) -> Result<Vec<u8>, ChildFailure> {
    let garbled = || ChildFailure::Unable("what it was given is not whole".into());
    let (component, state) = warm::read(given).ok_or_else(garbled)?;
    let mut parts = Parts::read(state)?;
    let wizer = wizer();
    let (context, _) = wizer.instrument_component(component)?;
    let made = {
        // Nothing is waited for: all of the state is here.
        let making = pin!(wizer.snapshot_component(&context, &mut parts));
        making.poll(&mut Context::from_waker(Waker::noop()))
    };
    let Poll::Ready(made) = made else { return Err(garbled()) };
    if parts.is_short { Err(garbled()) } else { Ok(made?) }
}

/// Leaves all exports as they are.
fn wizer() -> Wizer {
    let mut wizer = Wizer::new();
    wizer.keep_init_func(true);
    wizer
}

/// Refuses what wizer would get wrong, or panic on.
fn is_suited(component: &[u8]) -> Result<(), ChildFailure> {
    let refused = |why: &str| Err(ChildFailure::Refused(why.into()));
    let (mut memories, mut has_state, mut exports) = (0, false, false);
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(|why| ChildFailure::Refused(why.message().into()))? {
            Payload::Version { encoding: Encoding::Module, .. } => {
                (has_state, exports) = (false, false);
            }
            Payload::MemorySection(section) => {
                memories += section.count();
                has_state = true;
            }
            Payload::GlobalSection(section) => {
                has_state |= section.into_iter().flatten().any(|global| global.ty.mutable);
            }
            Payload::ExportSection(_) => exports = true,
            Payload::End(_) if has_state && !exports => {
                return refused("a module of it has a memory or a global, and exports nothing");
            }
            Payload::End(_) => has_state = false,
            _ => {}
        }
    }
    if memories > 1 { refused("it has more than one memory") } else { Ok(()) }
}

/// How many components and instances the root of a component has.
#[derive(Default)]
struct Outline {
    components: u32,
    instances: u32,
}

impl Outline {
    fn read(component: &[u8]) -> Result<Self, ChildFailure> {
        let mut outline = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload.map_err(|why| ChildFailure::Refused(why.message().into()))?;
            match payload {
                Payload::ComponentSection { .. } if depth == 0 => {
                    outline.components += 1;
                    depth += 1;
                }
                Payload::ComponentSection { .. } | Payload::ModuleSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                payload if depth == 0 => outline.add(payload),
                _ => {}
            }
        }
        Ok(outline)
    }

    /// Entries that cannot be read have been refused before.
    fn add(&mut self, payload: Payload<'_>) {
        let mut add = |kind| match kind {
            ComponentExternalKind::Instance => self.instances += 1,
            ComponentExternalKind::Component => self.components += 1,
            _ => {}
        };
        match payload {
            Payload::ComponentInstanceSection(section) => self.instances += section.count(),
            Payload::ComponentImportSection(section) => {
                section.into_iter().flatten().for_each(|import| add(import.ty.kind()));
            }
            Payload::ComponentExportSection(section) => {
                section.into_iter().flatten().for_each(|export| add(export.kind));
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.into_iter().flatten() {
                    if let ComponentAlias::InstanceExport { kind, .. } = alias {
                        add(kind);
                    }
                }
            }
            _ => {}
        }
    }

    /// Sections that make an instance of this component and export it as [`HANDLES`].
    fn with_instance(&self, component: &[u8]) -> Vec<u8> {
        use wasm_encoder::{
            ComponentExportKind, ComponentExportSection, ComponentInstanceSection,
            ComponentSection as _, ComponentSectionId, RawSection,
        };
        let nested = RawSection { id: ComponentSectionId::Component.into(), data: component };
        let mut instances = ComponentInstanceSection::new();
        let none: [(&str, ComponentExportKind, u32); 0] = [];
        instances.instantiate(self.components, none);
        let mut exports = ComponentExportSection::new();
        exports.export(HANDLES, ComponentExportKind::Instance, self.instances, None);
        let mut added = Vec::new();
        nested.append_to_component(&mut added);
        instances.append_to_component(&mut added);
        exports.append_to_component(&mut added);
        added
    }
}

/// The state, ready to be asked for.
struct Parts {
    parts: Vec<(String, ReadPart)>,
    /// It was asked for something that it does not have. What comes of it is not to be used.
    is_short: bool,
}

enum ReadPart {
    Part(WarmPart),
    Memory(Vec<u8>),
}

impl Parts {
    fn read(WarmState { parts, bytes }: WarmState) -> Result<Self, ChildFailure> {
        let garbled = || ChildFailure::Unable("the state that it was given is not whole".into());
        let mut rest = &bytes[..];
        let mut read = Vec::with_capacity(parts.len());
        for (name, part) in parts {
            let WarmPart::Memory(length, runs) = part else {
                read.push((name, ReadPart::Part(part)));
                continue;
            };
            let mut memory = vec![0; usize::try_from(length).map_err(|_| garbled())?];
            for (at, length) in runs {
                let at = usize::try_from(at).map_err(|_| garbled())?;
                let length = usize::try_from(length).map_err(|_| garbled())?;
                let (run, behind) = rest.split_at_checked(length).ok_or_else(garbled)?;
                let place = at.checked_add(length).and_then(|end| memory.get_mut(at..end));
                place.ok_or_else(garbled)?.copy_from_slice(run);
                rest = behind;
            }
            read.push((name, ReadPart::Memory(memory)));
        }
        Ok(Self { parts: read, is_short: false })
    }

    fn get(&self, name: &str) -> Option<&ReadPart> {
        self.parts.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// A global, or zero for one that is missing.
    fn global<T: Default>(&mut self, name: &str, read: impl FnOnce(&WarmPart) -> Option<T>) -> T {
        let found = match self.get(name) {
            Some(ReadPart::Part(part)) => read(part),
            Some(ReadPart::Memory(_)) | None => None,
        };
        self.is_short |= found.is_none();
        found.unwrap_or_default()
    }
}

impl ComponentInstanceState for Parts {
    async fn call_func_ret_list_u8(
        &mut self,
        _: &str,
        func: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        match self.get(func) {
            Some(ReadPart::Memory(memory)) => contents(memory),
            Some(ReadPart::Part(_)) | None => self.is_short = true,
        }
    }

    async fn call_func_ret_s32(&mut self, _: &str, func: &str) -> i32 {
        self.global(func, |part| if let WarmPart::S32(value) = part { Some(*value) } else { None })
    }

    async fn call_func_ret_s64(&mut self, _: &str, func: &str) -> i64 {
        self.global(func, |part| if let WarmPart::S64(value) = part { Some(*value) } else { None })
    }

    async fn call_func_ret_f32(&mut self, _: &str, func: &str) -> u32 {
        self.global(func, |part| if let WarmPart::F32(value) = part { Some(*value) } else { None })
    }

    async fn call_func_ret_f64(&mut self, _: &str, func: &str) -> u64 {
        self.global(func, |part| if let WarmPart::F64(value) = part { Some(*value) } else { None })
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
