//! A server of HTTP/2 that writes its frames by hand, for what no library sends.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Requests that a connection loses, before the next one is its last and is answered.
pub(crate) const LOST: usize = 4;

/// What becomes of a request once the server is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Half a response, and `REFUSED_STREAM`.
    HalfThenRefused,
    /// Half a response, and GOAWAY that takes none.
    HalfThenGoaway,
    /// Its stream is reset with CANCEL.
    Cancelled,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
/// `END_STREAM` of DATA, ACK of SETTINGS.
const LAST: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The head and the body of a response with status 200. It ends with them, or does not.
fn response(stream: u32, last: u8) -> Vec<u8> {
    // The eighth entry of the static table of HPACK.
    [frame(HEADERS, END_HEADERS, stream, &[0x88]), frame(DATA, last, stream, b"ok")].concat()
}

fn reset(stream: u32, why: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &why.to_be_bytes())
}

fn goaway(last: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())
}

/// Serves a connection until the client closes it.
pub(crate) async fn serve(
    mut stream: TcpStream,
    stop: watch::Receiver<bool>,
    cut: Cut,
) -> io::Result<()> {
    stream.read_exact(&mut [0; 24]).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let mut lost = 0;
    let mut is_gone = false;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
        stream.read_exact(&mut payload).await?;
        let id = u32::from_be_bytes(id);
        let said = match kind {
            SETTINGS if flags & LAST == 0 => frame(SETTINGS, LAST, 0, &[]),
            HEADERS if is_gone => continue,
            HEADERS if !*stop.borrow() => response(id, LAST),
            HEADERS if lost == LOST => {
                is_gone = true;
                [goaway(id), response(id, LAST)].concat()
            }
            HEADERS => {
                lost += 1;
                is_gone = cut == Cut::HalfThenGoaway;
                match cut {
                    Cut::HalfThenRefused => [response(id, 0), reset(id, REFUSED_STREAM)].concat(),
                    Cut::HalfThenGoaway => [response(id, 0), goaway(0)].concat(),
                    Cut::Cancelled => reset(id, CANCEL),
                }
            }
            _ => continue,
        };
        stream.write_all(&said).await?;
    }
}
