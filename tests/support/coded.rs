//! What a client makes of compressed bytes.

use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::{BrotliDecoder, DecodeV2, GzipDecoder, ZstdDecoder};

/// A client's decoder. It is given bytes as they come.
pub struct Decoder {
    codec: Box<dyn DecodeV2>,
    /// All that it has made of them.
    pub text: Vec<u8>,
    /// The coding has come to its end.
    pub has_ended: bool,
}

impl Decoder {
    /// Of a response with this `Content-Encoding`.
    #[track_caller]
    pub fn new(coding: &str) -> Self {
        let codec: Box<dyn DecodeV2> = match coding {
            "gzip" => Box::new(GzipDecoder::new()),
            "br" => Box::new(BrotliDecoder::new()),
            "zstd" => Box::new(ZstdDecoder::new()),
            other => panic!("no client asks for {other:?}"),
        };
        Self { codec, text: Vec::new(), has_ended: false }
    }

    /// Takes more of the body.
    #[track_caller]
    pub fn take(&mut self, bytes: &[u8]) {
        let mut input = PartialBuffer::new(bytes);
        let mut is_full = false;
        while (is_full || !input.unwritten().is_empty()) && !self.has_ended {
            let mut room = vec![0; 64 * 1024];
            let mut output = WriteBuffer::new_initialized(&mut room);
            self.has_ended = self.codec.decode(&mut input, &mut output).expect("it is well coded");
            self.text.extend(output.written());
            is_full = output.has_no_spare_space();
        }
        assert!(input.unwritten().is_empty(), "bytes behind the end of the coding");
    }
}

/// All of a body with this `Content-Encoding`.
#[track_caller]
pub fn decoded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::new(coding);
    decoder.take(bytes);
    assert!(decoder.has_ended, "{coding} is cut short");
    decoder.text
}
