//! Signatures over bytes: who vouches for a component.
//!
//! ```text
//! PEM ─→ pem ─┬→ public_key ─→ policy ─→ is it trusted, by which key, or why not
//!             └→ private_key ─→ signature        ↑
//!                (cosign_key)   detached, or ────┤
//!                               simple_signing: the payload that cosign signs of an image
//! ```
//!
//! Keys are Ed25519 and ECDSA P-256, as `cosign generate-key-pair` and `openssl genpkey` write them. A detached
//! signature (`app.wasm.sig`) is what `cosign sign-blob --key` writes; a signature of an image in a registry is what
//! `cosign sign --key` pushes. No certificates, no transparency log: a key is trusted because an operator names it.
//!
//! Works on bytes: has no files, no sockets, no tasks. Private keys and passphrases show up in no `Debug` and in no
//! error. May not know wasmtime, HTTP or the host.

mod cosign_key;
mod error;
mod key_name;
mod pem;
mod policy;
mod private_key;
mod public_key;
mod signature;
mod simple_signing;

pub use error::{KeyError, KeyProblem, Untrusted};
pub use key_name::KeyName;
pub use policy::{TrustPolicy, Vouched};
pub use private_key::{NoSignature, PrivateKey};
pub use public_key::PublicKey;
pub use signature::DetachedSignature;
pub use simple_signing::{ImageIdentity, ImageSignature, same_repository};

#[cfg(test)]
mod blob_tests;
#[cfg(test)]
mod image_tests;
#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod openssl_tests;
#[cfg(test)]
mod test_keys;
