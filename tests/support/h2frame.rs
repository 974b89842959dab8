//! HTTP/2 frames (RFC 9113): bytes out, frames in.

use super::broken::{Broken, malformed};
use super::hpack::{self, Fields};
use super::raw::Conn;

/// The preface that opens every connection (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The last stream id in the first GOAWAY of a graceful stop, which is a warning.
pub const ANY_STREAM: u32 = 0x7fff_ffff;

/// The code of an end without an error.
pub const NO_ERROR: u32 = 0;
/// The code of a stream that was not processed, so that the client may send its request again.
pub const REFUSED_STREAM: u32 = 7;

/// Error codes of HTTP/2 (RFC 9113 §7).
pub const PROTOCOL_ERROR: u32 = 0x1;
pub const FLOW_CONTROL_ERROR: u32 = 0x3;
pub const STREAM_CLOSED: u32 = 0x5;
pub const FRAME_SIZE_ERROR: u32 = 0x6;
pub const ENHANCE_YOUR_CALM: u32 = 0xb;

/// Types of frames (RFC 9113 §6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// The largest window.
pub const MAX_WINDOW: u32 = 0x7fff_ffff;
/// The window of a connection before any update.
pub const FIRST_WINDOW: u32 = 65_535;

/// Flag of HEADERS and DATA: nothing follows on the stream.
pub const END_STREAM: u8 = 0x1;
/// Flag of SETTINGS and PING: an acknowledgement.
pub const ACK: u8 = 0x1;
/// Flag of HEADERS: no CONTINUATION follows.
pub const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const HAS_PRIORITY: u8 = 0x20;

/// A frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// SETTINGS, or the acknowledgement of ours.
    Settings { ack: bool },
    /// HEADERS with all its CONTINUATIONs. `status` is None in trailers.
    Headers { stream: u32, status: Option<u16>, headers: Fields, end_stream: bool },
    /// DATA, without padding.
    Data { stream: u32, bytes: Vec<u8>, end_stream: bool },
    /// GOAWAY.
    GoAway { last: u32, code: u32 },
    /// `RST_STREAM`.
    RstStream { stream: u32, code: u32 },
    /// PING, or the acknowledgement of ours.
    Ping { ack: bool, payload: [u8; 8] },
    /// `WINDOW_UPDATE`; stream 0 is the connection.
    WindowUpdate { stream: u32, by: u32 },
    /// Any other frame.
    Other { kind: u8, stream: u32 },
}

impl Frame {
    /// Reads one frame, and HEADERS with all its CONTINUATIONs.
    ///
    /// # Errors
    /// When it does not come whole, or is malformed.
    pub fn read(conn: &mut Conn) -> Result<Self, Broken> {
        let (kind, flags, stream, payload) = read_raw(conn)?;
        Ok(match kind {
            DATA => Self::Data {
                stream,
                bytes: unpad(flags & PADDED != 0, payload)?,
                end_stream: flags & END_STREAM != 0,
            },
            HEADERS => read_headers(conn, flags, stream, payload)?,
            RST_STREAM => Self::RstStream { stream, code: number(&payload, 0)? },
            SETTINGS => Self::Settings { ack: flags & ACK != 0 },
            PING => Self::Ping {
                ack: flags & ACK != 0,
                payload: payload.try_into().map_err(|p| malformed(&format!("PING {p:?}")))?,
            },
            GOAWAY => {
                Self::GoAway { last: number(&payload, 0)? & ANY_STREAM, code: number(&payload, 4)? }
            }
            WINDOW_UPDATE => Self::WindowUpdate { stream, by: number(&payload, 0)? },
            kind => Self::Other { kind, stream },
        })
    }
}

/// The bytes of a frame.
pub fn bytes(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn read_raw(conn: &mut Conn) -> Result<(u8, u8, u32, Vec<u8>), Broken> {
    let head = conn.read_exact(9)?;
    let length = number(&head, 0)? >> 8;
    let payload = conn.read_exact(length as usize)?;
    Ok((head[3], head[4], number(&head, 5)? & ANY_STREAM, payload))
}

fn read_headers(conn: &mut Conn, flags: u8, stream: u32, first: Vec<u8>) -> Result<Frame, Broken> {
    let mut block = unpad(flags & PADDED != 0, first)?;
    if flags & HAS_PRIORITY != 0 {
        block.drain(..5.min(block.len()));
    }
    let mut last = flags & END_HEADERS != 0;
    while !last {
        let (kind, flags, of, more) = read_raw(conn)?;
        if (kind, of) != (CONTINUATION, stream) {
            return Err(malformed(&format!("frame {kind} inside a header block")));
        }
        block.extend(more);
        last = flags & END_HEADERS != 0;
    }
    let mut headers = hpack::decode(&block).map_err(Broken::Malformed)?;
    let at = headers.iter().position(|(name, _)| name == ":status");
    let status = at.map(|at| headers.remove(at).1.parse()).transpose();
    let status = status.map_err(|e| malformed(&format!(":status: {e}")))?;
    Ok(Frame::Headers { stream, status, headers, end_stream: flags & END_STREAM != 0 })
}

fn number(payload: &[u8], at: usize) -> Result<u32, Broken> {
    let four = payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    four.map(u32::from_be_bytes).ok_or_else(|| malformed(&format!("a short frame {payload:?}")))
}

fn unpad(padded: bool, mut payload: Vec<u8>) -> Result<Vec<u8>, Broken> {
    if padded && !payload.is_empty() {
        let padding = usize::from(payload.remove(0));
        let kept = payload.len().checked_sub(padding);
        payload.truncate(kept.ok_or_else(|| malformed(&"too much padding"))?);
    }
    Ok(payload)
}
