//! Compiled code with our checksum over all of it.
//!
//! ```text
//! "hostcode3" │ key, 32 │ length, 8 │ length, 8 │ code … │ symbols … │ BLAKE3 of all before it, 32
//! ```

use std::fmt;
use std::fs::{self, File};
use std::hash::{Hash as _, Hasher};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;

use host_symbols::SymbolTable;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tracing::debug;
use wasmtime::Engine;
use wasmtime::component::Component;

/// The first bytes of every artefact. Another layout gets another word.
const MAGIC: &[u8; 9] = b"hostcode3";

const KEY: usize = MAGIC.len();
const LENGTH: usize = KEY + 32;
const SYMBOLS_LENGTH: usize = LENGTH + 8;
const CODE: usize = SYMBOLS_LENGTH + 8;
const CHECKSUM: usize = 32;

/// The inputs that code was made from: the bytes of the component, all settings of the compiler with
/// wasmtime's full version and the features of this processor, the layout of an artefact, and the versions of the
/// host and of what rewrites components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArtefactKey([u8; 32]);

impl ArtefactKey {
    /// The key of the component with this SHA-256, compiled with the settings of `engine`.
    #[must_use]
    pub fn new(engine: &Engine, component: &[u8; 32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(MAGIC);
        hash.update(env!("CARGO_PKG_VERSION"));
        hash.update([0]);
        hash.update(host_unshim::VERSION.to_le_bytes());
        hash.update(host_prefault::VERSION.to_le_bytes());
        hash.update(host_symbols::VERSION.to_le_bytes());
        hash.update(component);
        let mut settings = Collect(hash);
        engine.precompile_compatibility_hash().hash(&mut settings);
        Self(settings.0.finalize().into())
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for ArtefactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Hashes the bytes that are written to it: the result of `Hasher` has 64 bits, too few to rely on.
struct Collect(Sha256);

impl Hasher for Collect {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// Why bytes are no artefact. Each of these is a cache miss, and the fault of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Damaged {
    /// It was cut off, or bytes were added.
    #[error("its length is wrong")]
    Length,
    /// Made by another version or from another component, or stored under a wrong name.
    #[error("it is of something else")]
    Other,
    /// A bit has changed.
    #[error("its checksum is wrong")]
    Checksum,
}

/// Compiled code and its symbols with our checksum, which has been checked, in memory that only we can change.
///
/// Comes only from a child of ours, from a directory of ours, or from a bundle that is signed.
pub struct Artefact {
    bytes: Vec<u8>,
    /// Where the code ends and the symbols begin.
    code_end: usize,
}

impl Artefact {
    /// Adds key and checksum to code that the compiler has just made, and to the bytes of its
    /// [`SymbolTable`].
    pub(crate) fn seal(key: &ArtefactKey, code: &[u8], symbols: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(CODE + code.len() + symbols.len() + CHECKSUM);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&key.0);
        bytes.extend_from_slice(&(code.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&(symbols.len() as u64).to_le_bytes());
        bytes.extend_from_slice(code);
        bytes.extend_from_slice(symbols);
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        Self { bytes, code_end: CODE + code.len() }
    }

    /// Checks bytes from a child or a file of ours.
    pub(crate) fn check(key: &ArtefactKey, bytes: Vec<u8>) -> Result<Self, Damaged> {
        let head = bytes.get(..CODE).ok_or(Damaged::Length)?;
        if head[..KEY] != *MAGIC || head[KEY..LENGTH] != key.0 {
            return Err(Damaged::Other);
        }
        let length = |at: usize| {
            let length: [u8; 8] = head.get(at..at + 8)?.try_into().ok()?;
            usize::try_from(u64::from_le_bytes(length)).ok()
        };
        let code_end = length(LENGTH).and_then(|length| length.checked_add(CODE));
        let code_end = code_end.ok_or(Damaged::Length)?;
        let end = length(SYMBOLS_LENGTH)
            .and_then(|length| length.checked_add(code_end))
            .filter(|end| end.checked_add(CHECKSUM) == Some(bytes.len()))
            .ok_or(Damaged::Length)?;
        let (covered, checksum) = bytes.split_at(end);
        if blake3::hash(covered).as_bytes()[..] != *checksum {
            return Err(Damaged::Checksum);
        }
        Ok(Self { bytes, code_end })
    }

    /// All of its bytes, as they are stored.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn code(&self) -> &[u8] {
        &self.bytes[CODE..self.code_end]
    }

    /// The functions, files and lines of its code: a copy, empty where the component says nothing of them.
    #[must_use]
    pub fn symbols(&self) -> SymbolTable {
        SymbolTable::new(self.bytes[self.code_end..self.bytes.len() - CHECKSUM].to_vec())
    }

    /// Loads it as a component. The code goes into memory of its own, so a later change of the file cannot
    /// change the code that runs.
    ///
    /// # Errors
    /// When it was compiled with other settings than the engine's, or does not fit its pool.
    pub fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        let sealed = sealed_file(self.code())
            .inspect_err(|why| debug!(%why, "code is copied: no memory of it can be sealed"));
        #[expect(unsafe_code, reason = "wasmtime has no safe way to load code (ADR 0020)")]
        // SAFETY: the bytes must be what `Engine::precompile_component` gave, unchanged. An artefact is
        // made in four places: from that very function (`seal`), from the pipe of a child of this
        // program that called it, from a file that such an artefact was written to, in a
        // directory where only our user and root could write, and from a bundle that a key which
        // the operator trusts has signed (`BundledCode::vouched`). All but the first went through
        // `check`, which finds every change by accident. No other code can change them: they are in a
        // vector of ours, which `deserialize` copies; or in a file without a name that was written from that
        // vector and then sealed, so that no process can write to it or cut it. That they fit the engine's
        // settings and version is checked by wasmtime itself.
        unsafe {
            match sealed {
                Ok(file) => Component::deserialize_file(engine, path_of(&file)),
                Err(_) => Component::deserialize(engine, self.code()),
            }
        }
    }
}

/// A file in memory without a name that holds these bytes and cannot be changed any more. To map it costs less
/// than to copy the bytes: only pages that run are mapped, and initial memories of guests come from it too.
fn sealed_file(bytes: &[u8]) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create(c"host-code", flags)?);
    file.write_all(bytes)?;
    fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    // Wasmtime opens it anew.
    fs::metadata(path_of(&file))?;
    Ok(file)
}

/// Where an open file can be opened once more.
fn path_of(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

impl fmt::Debug for Artefact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Artefact").field("bytes", &self.bytes.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_A: ArtefactKey = ArtefactKey([1; 32]);

    fn sealed() -> Vec<u8> {
        Artefact::seal(&KEY_A, b"code of a guest", b"symbols").bytes
    }

    /// One flipped bit in an entry of the first cache: of 40 starts 6 were refused for ever and 4 crashed,
    /// and of 45 swaps on a live host 2 killed it and one ran other code.
    #[test]
    fn every_flipped_bit_is_found() {
        let whole = sealed();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Artefact::check(&KEY_A, bytes).is_err(), "bit {bit}");
        }
        let artefact = Artefact::check(&KEY_A, whole).unwrap();
        assert_eq!((artefact.code(), artefact.symbols().bytes()), (&b"code of a guest"[..], 7));
    }

    #[test]
    fn missing_or_added_bytes_are_found() {
        let whole = sealed();
        for length in 0..whole.len() {
            assert!(Artefact::check(&KEY_A, whole[..length].to_vec()).is_err(), "{length} bytes");
        }
        for more in [&b"\0"[..], &whole] {
            let more = [&whole, more].concat();
            assert_eq!(Artefact::check(&KEY_A, more).unwrap_err(), Damaged::Length);
        }
        let mut huge = whole;
        for length in [LENGTH, SYMBOLS_LENGTH] {
            let was = huge.clone();
            huge[length..length + 8].copy_from_slice(&u64::MAX.to_le_bytes());
            assert_eq!(Artefact::check(&KEY_A, huge).unwrap_err(), Damaged::Length);
            huge = was;
        }
    }

    #[test]
    fn code_of_another_component_or_version_is_found() {
        assert_eq!(Artefact::check(&ArtefactKey([2; 32]), sealed()).unwrap_err(), Damaged::Other);
    }

    #[test]
    fn key_tells_components_and_settings_apart() {
        let plain = Engine::new(&crate::settings(false)).unwrap();
        let again = Engine::new(&crate::settings(false)).unwrap();
        let concurrent = Engine::new(&crate::settings(true)).unwrap();
        let key = |engine: &Engine, byte: u8| ArtefactKey::new(engine, &[byte; 32]);
        assert_eq!(key(&plain, 1), key(&again, 1));
        assert_ne!(key(&plain, 1), key(&plain, 2));
        assert_ne!(key(&plain, 1), key(&concurrent, 1));
        assert_eq!(key(&plain, 1).to_string().len(), 64);
    }

    /// Code is mapped from that file: who could write to it would change what runs.
    #[test]
    fn sealed_file_can_be_opened_and_not_be_changed() {
        let file = sealed_file(b"code of a guest").unwrap();
        let mut anew = File::options().read(true).write(true).open(path_of(&file)).unwrap();
        assert!(anew.write_all(b"other code").is_err());
        assert!(anew.set_len(0).is_err() && anew.set_len(1 << 20).is_err());
        assert!(fcntl_add_seals(&anew, SealFlags::empty()).is_err(), "nor be unsealed");
        assert_eq!(fs::read(path_of(&file)).unwrap(), b"code of a guest");
    }

    #[test]
    fn code_is_mapped_from_a_sealed_file() {
        let engine = Engine::new(&crate::settings(false)).unwrap();
        let code = engine.precompile_component(&wat::parse_str("(component)").unwrap()).unwrap();
        let component = Artefact::seal(&KEY_A, &code, &[]).load(&engine).unwrap();
        let begins = format!("{:x}-", component.image_range().start.addr());
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mapped = maps.lines().find(|line| line.starts_with(&begins)).unwrap();
        assert!(mapped.contains("/memfd:host-code"), "{mapped}");
    }

    #[test]
    fn an_artefact_loads_only_with_its_settings() {
        let engine = Engine::new(&crate::settings(false)).unwrap();
        let component = wat::parse_str("(component)").unwrap();
        let key = ArtefactKey::new(&engine, &crate::component_digest(&component));
        let code = engine.precompile_component(&component).unwrap();
        let artefact = Artefact::check(&key, Artefact::seal(&key, &code, &[]).bytes).unwrap();
        assert!(artefact.load(&engine).is_ok());
        let other = Engine::new(&crate::settings(true)).unwrap();
        assert!(artefact.load(&other).is_err(), "wasmtime compares the settings");
    }
}
