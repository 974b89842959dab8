//! Where components come from: OCI registries and URLs, what is kept of them on a disk, and what is pinned.
//!
//! ```text
//! reference ─→ supply ─┬→ store: is it here? (by lock_file, or by a digest in the reference)
//!                      └→ client ─→ session (who we are, where we are sent) ─→ exchange ─→ wire
//!                           │         challenge, redirect                      one request, one connection
//!                           ├ image: manifests and layers
//!                           ├ push
//!                           └ image_signatures
//! ```
//!
//! Nothing that comes from a registry is believed: manifests have the digest that was asked for, layers the size and the
//! digest that their manifest says, and everything has bounds: bytes, silence, time. Credentials go to the registry that
//! they are for and to the server of tokens that it names, and show up in no `Debug` and in no error. Plain HTTP is for
//! addresses of this machine.
//!
//! May not know wasmtime, signatures and keys, or the host.

mod authorities;
mod bounds;
mod challenge;
mod client;
mod credentials;
mod digest;
mod error;
mod exchange;
mod image;
mod image_signatures;
mod lock_file;
mod push;
mod redirect;
mod reference;
mod session;
mod store;
mod supply;
mod wire;

pub use authorities::{AuthoritiesError, PrivateAuthorities};
pub use bounds::PullBounds;
pub use client::{PulledComponent, RegistryAccess, RegistryClient};
pub use credentials::{CredentialsError, DockerConfig, RegistryLogin};
pub use digest::{ContentDigest, NotADigest};
pub use error::RegistryError;
pub use image_signatures::RegistrySignature;
pub use lock_file::{LockFile, LockFileError, PinMismatch, PinnedComponent};
pub use push::{ComponentInterfaces, ComponentToPush};
pub use reference::{FileReference, OciReference, Reference, ReferenceError};
pub use store::{ContentStore, StoreFailure, Trimmed};
pub use supply::{ComponentSupply, SuppliedComponent, SupplyError};

#[cfg(test)]
mod credentials_tests;
#[cfg(test)]
mod lock_file_tests;
#[cfg(test)]
mod reference_tests;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;
