//! A component with its compiled code, in one file: what `host compile` writes.
//!
//! ```text
//! "hostwasm1" │ length, 8 │ component … │ artefact …
//! ```
//!
//! The component is in it, so that a host of another version, or on another processor, compiles it anew.

use crate::artefact::{Artefact, ArtefactKey, Damaged};

/// The first bytes of every bundle. Another layout gets another word.
const MAGIC: &[u8; 9] = b"hostwasm1";

const LENGTH: usize = MAGIC.len();
const COMPONENT: usize = LENGTH + 8;

/// A component, and code that is said to have been compiled from it.
#[derive(Clone, PartialEq, Eq)]
pub struct CodeBundle {
    /// The component.
    pub component: Vec<u8>,
    /// The code.
    pub code: BundledCode,
}

/// Code of a bundle, not looked at yet. It may be run only if somebody who is trusted has signed the bundle.
#[derive(Clone, PartialEq, Eq)]
pub struct BundledCode(Vec<u8>);

impl CodeBundle {
    /// Whether these bytes are meant as one.
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// The bytes of a component with its code.
    #[must_use]
    pub fn seal(component: &[u8], artefact: &Artefact) -> Vec<u8> {
        let length = (component.len() as u64).to_le_bytes();
        [MAGIC, &length[..], component, artefact.bytes()].concat()
    }

    /// Takes one apart.
    ///
    /// # Errors
    /// When it is none, or is cut off.
    pub fn read(mut bytes: Vec<u8>) -> Result<Self, Damaged> {
        if !Self::is_one(&bytes) {
            return Err(Damaged::Other);
        }
        let length = bytes.get(LENGTH..COMPONENT).and_then(|length| length.try_into().ok());
        let length = length.map(u64::from_le_bytes).ok_or(Damaged::Length)?;
        let end = usize::try_from(length).ok().and_then(|length| length.checked_add(COMPONENT));
        let end = end.filter(|end| *end <= bytes.len()).ok_or(Damaged::Length)?;
        let code = bytes.split_off(end);
        Ok(Self { component: bytes.split_off(COMPONENT), code: BundledCode(code) })
    }
}

impl BundledCode {
    /// The code, if it is of this key. Call it for bundles only that somebody who is trusted has signed: it will run.
    ///
    /// # Errors
    /// When it was made by another version, for another processor, from another component, or is damaged.
    pub fn vouched(self, key: &ArtefactKey) -> Result<Artefact, Damaged> {
        Artefact::check(key, self.0)
    }
}

impl std::fmt::Debug for CodeBundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeBundle")
            .field("component", &self.component.len())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for BundledCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BundledCode").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::settings;
    use wasmtime::Engine;

    #[test]
    fn bundle_comes_apart_as_it_was_sealed_and_damage_is_seen() {
        let engine = Engine::new(&settings(false)).unwrap();
        let key = ArtefactKey::new(&engine, &[1; 32]);
        let artefact = Artefact::seal(&key, b"code", b"symbols");
        let bytes = CodeBundle::seal(b"\0asm of a component", &artefact);
        assert!(CodeBundle::is_one(&bytes) && !CodeBundle::is_one(b"\0asm"));
        let bundle = CodeBundle::read(bytes.clone()).unwrap();
        assert_eq!(bundle.component, b"\0asm of a component");
        assert_eq!(bundle.code.vouched(&key).unwrap().bytes(), artefact.bytes());
        for cut in 0..bytes.len() {
            let read = CodeBundle::read(bytes[..cut].to_vec());
            assert!(read.is_err() || read.unwrap().code.vouched(&key).is_err(), "{cut}");
        }
        let other = ArtefactKey::new(&engine, &[2; 32]);
        let code = CodeBundle::read(bytes.clone()).unwrap().code;
        assert_eq!(code.vouched(&other).err(), Some(Damaged::Other));
        let mut huge = bytes;
        huge[LENGTH..COMPONENT].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(CodeBundle::read(huge).err(), Some(Damaged::Length));
    }
}
