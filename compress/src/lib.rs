//! Responses that are compressed on their way to the client.
//!
//! ```text
//! request ─→ Asked ──┐             EncoderBudget ─→ EncoderPlace ─→ Encoder: bytes in, pieces out
//!                    ├─→ Verdict ──────┘
//! head of response ──┘      └─────→ the head as it is sent
//! ```
//!
//! May not know the host, its bodies or its sockets: heads and bytes, nothing else.

mod budget;
mod coding;
mod encoder;
mod head;
mod verdict;

pub use budget::{EncoderBudget, EncoderPlace};
pub use coding::ContentCoding;
pub use encoder::{Encoder, whole};
pub use verdict::{Asked, Verdict};
