use compression_codecs::{BrotliDecoder, DecodeV2, GzipDecoder, ZstdDecoder};

use super::*;
use crate::budget::EncoderBudget;

const ALL: [ContentCoding; 3] = [ContentCoding::Gzip, ContentCoding::Brotli, ContentCoding::Zstd];

fn place(coding: ContentCoding) -> EncoderPlace {
    EncoderBudget::new(u64::MAX).take(coding).unwrap()
}

fn encoder(coding: ContentCoding) -> Encoder {
    Encoder::new(place(coding))
}

/// A client that is given pieces.
struct Client {
    codec: Box<dyn DecodeV2>,
    read: Vec<u8>,
    has_ended: bool,
}

impl Client {
    fn new(coding: ContentCoding) -> Self {
        let codec: Box<dyn DecodeV2> = match coding {
            ContentCoding::Gzip => Box::new(GzipDecoder::new()),
            ContentCoding::Brotli => Box::new(BrotliDecoder::new()),
            ContentCoding::Zstd => Box::new(ZstdDecoder::new()),
        };
        Self { codec, read: Vec::new(), has_ended: false }
    }

    fn take(&mut self, piece: &[u8]) {
        let mut piece = PartialBuffer::new(piece);
        while !piece.unwritten().is_empty() {
            let mut room = vec![0; 1 << 20];
            let mut output = WriteBuffer::new_initialized(&mut room);
            self.has_ended |= self.codec.decode(&mut piece, &mut output).unwrap();
            self.read.extend(output.written());
            let is_full = output.has_no_spare_space();
            if self.has_ended {
                return;
            }
            assert!(!is_full || !piece.unwritten().is_empty(), "more room is needed");
        }
    }
}

/// Bytes that compress by half or so, each time the same.
fn text(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..length).map(|_| b"etaoin shrdlu"[random.usize(..13)]).collect()
}

#[test]
fn what_comes_out_is_what_went_in_however_it_is_cut() {
    for coding in ALL {
        for (length, cut) in [(0, 1), (1, 1), (1000, 7), (100_000, 4096), (3_000_000, 1 << 20)] {
            let text = text(length);
            let (mut encoder, mut client) = (encoder(coding), Client::new(coding));
            let mut pieces = 0;
            for part in text.chunks(cut) {
                let mut input = Bytes::copy_from_slice(part);
                while !input.is_empty() {
                    if let Some(piece) = encoder.encode(&mut input, usize::MAX).unwrap() {
                        assert!(piece.len() <= PIECE);
                        client.take(&piece);
                        pieces += 1;
                    }
                }
            }
            while let Some(piece) = encoder.finish().unwrap() {
                assert!(piece.len() <= PIECE);
                client.take(&piece);
                pieces += 1;
            }
            assert!(client.has_ended && client.read == text, "{coding:?}: {length} by {cut}");
            let all = whole(place(coding), Bytes::from(text.clone())).unwrap();
            assert!(pieces >= all.len() / PIECE, "{coding:?}: {pieces} pieces of {length} bytes");
            assert!(length < 1000 || all.len() < length * 2 / 3, "{coding:?}: {} bytes", all.len());
            let mut client = Client::new(coding);
            client.take(&all);
            assert!(client.has_ended && client.read == text, "{coding:?}: {length} at once");
        }
    }
}

/// An event that is held back until the next one comes is late by that.
#[test]
fn client_has_all_that_was_written_before_a_flush() {
    for coding in ALL {
        let (mut encoder, mut client) = (encoder(coding), Client::new(coding));
        let mut written = Vec::new();
        for number in 0..50 {
            let event = format!("data: {number}\n\n");
            written.extend(event.as_bytes());
            let mut input = Bytes::from(event);
            while !input.is_empty() {
                client.take(&encoder.encode(&mut input, usize::MAX).unwrap().unwrap_or_default());
            }
            while let Some(piece) = encoder.flush().unwrap() {
                client.take(&piece);
            }
            assert_eq!(client.read, written, "{coding:?}");
            assert!(encoder.flush().unwrap().is_none(), "{coding:?}: twice is once");
        }
        assert!(!client.has_ended);
        while let Some(piece) = encoder.finish().unwrap() {
            client.take(&piece);
        }
        assert!(client.has_ended && client.read == written, "{coding:?}");
    }
}

/// Nothing counted them, and a client with many streams that it did not read had the host killed by its cgroup.
#[test]
fn encoders_take_no_more_than_the_budget_and_dropping_one_gives_its_room_back() {
    for (coding, most) in
        [(ContentCoding::Gzip, 12), (ContentCoding::Zstd, 3), (ContentCoding::Brotli, 2)]
    {
        let budget = EncoderBudget::new(4 << 20);
        let take = || budget.take(coding).map(Encoder::new);
        let mut encoders: Vec<_> = std::iter::from_fn(take).collect();
        assert_eq!(encoders.len(), most, "{coding:?}");
        encoders.pop();
        encoders.extend(std::iter::from_fn(take));
        assert_eq!(encoders.len(), most, "{coding:?}: the room of the one that was dropped");
        encoders.pop();
        let place = budget.take(coding).unwrap();
        whole(place, Bytes::from(text(2000))).unwrap();
        encoders.extend(std::iter::from_fn(take));
        assert_eq!(encoders.len(), most, "{coding:?}: the room of what was compressed at once");
    }
}
