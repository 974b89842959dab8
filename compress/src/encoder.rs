//! Bytes in, pieces of compressed bytes out.

use std::fmt;
use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use compression_codecs::brotli::params::EncoderParams as BrotliParams;
use compression_codecs::zstd::params::CParameter;
use compression_codecs::{BrotliEncoder, EncodeV2, GzipEncoder, ZstdEncoder};
use compression_core::Level;
use compression_core::util::{PartialBuffer, WriteBuffer};

use crate::budget::EncoderPlace;
use crate::coding::ContentCoding;

/// The largest piece that comes out at once: as hyper writes it.
const PIECE: usize = 16 * 1024;

/// How hard each tries. For responses that are made while a client waits, the last percents of size cost more time
/// than they save: these are near the knee of each.
const GZIP_LEVEL: i32 = 5;
const BROTLI_QUALITY: i32 = 3;
const ZSTD_LEVEL: i32 = 3;

/// How far back each looks, as a power of two: what it holds of a response follows from that.
const BROTLI_WINDOW: i32 = 18;
const ZSTD_WINDOW: u32 = 18;

/// Compresses one response. Holds 0.3 MiB (gzip), 1.2 (zstd) or 1.4 (brotli) at most while it does, for which it has
/// its place; dropping it gives both back.
pub struct Encoder {
    codec: Box<dyn EncodeV2 + Send + Sync>,
    scratch: Vec<u8>,
    /// It has taken bytes that have not come out.
    holds_back: bool,
    is_finished: bool,
    place: EncoderPlace,
}

impl Encoder {
    /// For the bytes of one response, in the coding that there is room for.
    #[must_use]
    pub fn new(place: EncoderPlace) -> Self {
        let codec: Box<dyn EncodeV2 + Send + Sync> = match place.coding() {
            ContentCoding::Gzip => Box::new(GzipEncoder::new(Level::Precise(GZIP_LEVEL).into())),
            ContentCoding::Brotli => {
                let quality = BrotliParams::default().quality(Level::Precise(BROTLI_QUALITY));
                Box::new(BrotliEncoder::new(quality.window_size(BROTLI_WINDOW)))
            }
            ContentCoding::Zstd => {
                let window = [CParameter::window_log(ZSTD_WINDOW)];
                Box::new(ZstdEncoder::new_with_params(ZSTD_LEVEL, &window))
            }
        };
        Self { codec, scratch: vec![0; PIECE], holds_back: false, is_finished: false, place }
    }

    /// Takes of `input` until a piece is full, or so many bytes are taken at `most`. None if nothing comes out yet.
    ///
    /// # Errors
    /// When the codec fails, which is a fault of it.
    pub fn encode(&mut self, input: &mut Bytes, most: usize) -> io::Result<Option<Bytes>> {
        let part = input.get(..most).unwrap_or(input);
        let mut taken = PartialBuffer::new(part);
        let mut piece = WriteBuffer::new_initialized(&mut self.scratch);
        while !taken.unwritten().is_empty() && !piece.has_no_spare_space() {
            self.codec.encode(&mut taken, &mut piece)?;
            self.holds_back = true;
        }
        let piece = some(piece.written());
        let taken = taken.written_len();
        input.advance(taken);
        Ok(piece)
    }

    /// The next piece of all that was taken, so that a client has all that the guest has written. None once
    /// nothing is held back.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn flush(&mut self) -> io::Result<Option<Bytes>> {
        if !self.holds_back {
            return Ok(None);
        }
        let mut piece = WriteBuffer::new_initialized(&mut self.scratch);
        self.holds_back = !self.codec.flush(&mut piece)?;
        Ok(some(piece.written()))
    }

    /// The next piece of the end. None once it is all out.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn finish(&mut self) -> io::Result<Option<Bytes>> {
        if self.is_finished {
            return Ok(None);
        }
        let mut piece = WriteBuffer::new_initialized(&mut self.scratch);
        self.is_finished = self.codec.finish(&mut piece)?;
        Ok(some(piece.written()))
    }

    fn all(&mut self, mut bytes: Bytes) -> io::Result<Bytes> {
        let mut all = BytesMut::new();
        while !bytes.is_empty() {
            all.extend(self.encode(&mut bytes, usize::MAX)?.unwrap_or_default());
        }
        while let Some(piece) = self.finish()? {
            all.extend(piece);
        }
        Ok(all.freeze())
    }
}

fn some(bytes: &[u8]) -> Option<Bytes> {
    (!bytes.is_empty()).then(|| Bytes::copy_from_slice(bytes))
}

/// All of a response that is here.
///
/// # Errors
/// The place, for another encoder: the codec of this one has failed, which is a fault of it.
pub fn whole(place: EncoderPlace, bytes: Bytes) -> Result<Bytes, EncoderPlace> {
    let mut encoder = Encoder::new(place);
    let all = encoder.all(bytes);
    all.map_err(|_| encoder.place)
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { holds_back, is_finished, .. } = self;
        let mut shown = f.debug_struct("Encoder");
        shown
            .field("holds_back", holds_back)
            .field("is_finished", is_finished)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "encoder_tests.rs"]
mod tests;
