//! An HTTP/2 client that sends frame by frame, for exact schedules.
//!
//! It has no flow control of its own: its windows are as large as the protocol allows unless
//! [`H2::connect_with_window`] sets another. Frames that a wait skips are kept for the next wait.

use std::collections::VecDeque;

use super::broken::Broken;
use super::h2frame::{
    self, ACK, END_HEADERS, END_STREAM, FIRST_WINDOW, Frame, MAX_WINDOW, PREFACE,
};
use super::hpack::{self, Fields};
use super::raw::Conn;
use super::target::Target;

/// A whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The fields, without `:status`.
    pub headers: Fields,
    /// All data.
    pub body: Vec<u8>,
}

/// One connection. Dropping it closes it.
#[derive(Debug)]
pub struct H2 {
    /// The connection below, for bytes that no method here sends.
    pub conn: Conn,
    ack_pings: bool,
    kept: VecDeque<Frame>,
}

impl H2 {
    /// Connects and sends the preface, SETTINGS and the largest windows.
    #[track_caller]
    pub fn connect(target: impl Into<Target>) -> Self {
        Self::connect_with_window(target, MAX_WINDOW)
    }

    /// Connects with this initial window for each stream, to be a slow reader.
    #[track_caller]
    pub fn connect_with_window(target: impl Into<Target>, window: u32) -> Self {
        match Conn::connect(target) {
            Ok(conn) => Self::over(conn, window),
            Err(e) => panic!("cannot connect: {e}"),
        }
    }

    /// Sends the preface over `conn`.
    #[track_caller]
    pub fn over(mut conn: Conn, window: u32) -> Self {
        if let Err(e) = conn.send(PREFACE) {
            panic!("cannot send the preface: {e}");
        }
        let mut h2 = Self { conn, ack_pings: true, kept: VecDeque::new() };
        // HEADER_TABLE_SIZE 0 (see `hpack`), ENABLE_PUSH 0, INITIAL_WINDOW_SIZE.
        let mut settings = vec![0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 4];
        settings.extend(window.to_be_bytes());
        h2.send_frame(4, 0, 0, &settings);
        h2.send_window_update(0, MAX_WINDOW - FIRST_WINDOW);
        h2
    }

    /// Says whether to acknowledge PINGs, which is the default. SETTINGS are always acknowledged.
    pub fn ack_pings(&mut self, ack: bool) {
        self.ack_pings = ack;
    }

    /// Opens `stream` (odd, and higher than any before).
    #[track_caller]
    pub fn send_headers(&mut self, stream: u32, method: &str, path: &str, end_stream: bool) {
        self.send_fields(stream, &fields(method, path), end_stream);
    }

    /// Opens `stream` with exactly these fields, or sends them as trailers.
    #[track_caller]
    pub fn send_fields(&mut self, stream: u32, fields: &[(&str, &str)], end_stream: bool) {
        let flags = END_HEADERS | if end_stream { END_STREAM } else { 0 };
        self.send_frame(1, flags, stream, &hpack::encode(fields));
    }

    /// Sends a `GET` without a body.
    #[track_caller]
    pub fn get(&mut self, stream: u32, path: &str) {
        self.send_headers(stream, "GET", path, true);
    }

    /// Sends DATA.
    #[track_caller]
    pub fn send_data(&mut self, stream: u32, bytes: &[u8], end_stream: bool) {
        self.send_frame(0, if end_stream { END_STREAM } else { 0 }, stream, bytes);
    }

    /// Sends `RST_STREAM`.
    #[track_caller]
    pub fn send_rst(&mut self, stream: u32, code: u32) {
        self.send_frame(3, 0, stream, &code.to_be_bytes());
    }

    /// Sends PING, or with `ack` the acknowledgement of one.
    #[track_caller]
    pub fn send_ping(&mut self, ack: bool, payload: [u8; 8]) {
        self.send_frame(6, if ack { ACK } else { 0 }, 0, &payload);
    }

    /// Sends GOAWAY.
    #[track_caller]
    pub fn send_goaway(&mut self, last: u32, code: u32) {
        self.send_frame(7, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat());
    }

    /// Sends `WINDOW_UPDATE`; stream 0 is the connection.
    #[track_caller]
    pub fn send_window_update(&mut self, stream: u32, by: u32) {
        self.send_frame(8, 0, stream, &by.to_be_bytes());
    }

    /// Sends any frame.
    #[track_caller]
    pub fn send_frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let frame = h2frame::bytes(kind, flags, stream, payload);
        if let Err(e) = self.conn.send(frame) {
            panic!("cannot send a frame: {e}");
        }
    }

    /// The next frame: one that an earlier wait skipped, or a new one.
    ///
    /// # Errors
    /// When it does not come whole.
    pub fn read_frame(&mut self) -> Result<Frame, Broken> {
        self.kept.pop_front().map_or_else(|| self.receive(), Ok)
    }

    /// Waits for the first frame that `wanted` accepts, and keeps the others.
    #[track_caller]
    pub fn wait<T>(&mut self, what: &str, wanted: impl Fn(&Frame) -> Option<T>) -> T {
        if let Some(at) = self.kept.iter().position(|frame| wanted(frame).is_some()) {
            return self.kept.remove(at).as_ref().and_then(wanted).expect("it was wanted");
        }
        loop {
            match self.receive() {
                Ok(frame) => match wanted(&frame) {
                    Some(found) => return found,
                    None => self.kept.push_back(frame),
                },
                Err(e) => panic!("no {what}: {e}; other frames: {:?}", self.kept),
            }
        }
    }

    /// Waits for GOAWAY, and returns its last stream and its code.
    #[track_caller]
    pub fn expect_goaway(&mut self) -> (u32, u32) {
        self.wait("GOAWAY", |frame| match frame {
            Frame::GoAway { last, code } => Some((*last, *code)),
            _ => None,
        })
    }

    /// Waits for the reset of `stream`, and returns its code.
    #[track_caller]
    pub fn expect_rst(&mut self, stream: u32) -> u32 {
        self.wait(&format!("reset of stream {stream}"), |frame| match frame {
            Frame::RstStream { stream: of, code } if *of == stream => Some(*code),
            _ => None,
        })
    }

    /// Waits for a PING of the server, and returns its payload. It is already acknowledged unless
    /// [`Self::ack_pings`] is off.
    #[track_caller]
    pub fn expect_ping(&mut self) -> [u8; 8] {
        self.wait("PING", |frame| match frame {
            Frame::Ping { ack: false, payload } => Some(*payload),
            _ => None,
        })
    }

    /// Waits for the final head on `stream`, and returns its status.
    #[track_caller]
    pub fn expect_status(&mut self, stream: u32) -> u16 {
        self.expect_head(stream).0
    }

    /// Waits for the next DATA on `stream`, and returns its bytes and whether they are the last.
    #[track_caller]
    pub fn expect_data(&mut self, stream: u32) -> (Vec<u8>, bool) {
        self.wait(&format!("DATA on stream {stream}"), |frame| match frame {
            Frame::Data { stream: of, bytes, end_stream } if *of == stream => {
                Some((bytes.clone(), *end_stream))
            }
            _ => None,
        })
    }

    /// Waits for a whole response on `stream`.
    #[track_caller]
    pub fn expect_answer(&mut self, stream: u32) -> Answer {
        let (status, headers, mut ended) = self.expect_head(stream);
        let mut body = Vec::new();
        while !ended {
            let what = format!("rest of the answer on stream {stream}");
            let (bytes, last) = self.wait(&what, |frame| match frame {
                Frame::Data { stream: of, bytes, end_stream } if *of == stream => {
                    Some((bytes.clone(), *end_stream))
                }
                Frame::Headers { stream: of, status: None, .. } if *of == stream => {
                    Some((Vec::new(), true))
                }
                _ => None,
            });
            body.extend(bytes);
            ended = last;
        }
        Answer { status, headers, body }
    }

    /// Fails unless the server closes with FIN. Frames before it are kept.
    #[track_caller]
    pub fn expect_fin(&mut self) {
        loop {
            match self.receive() {
                Ok(frame) => self.kept.push_back(frame),
                Err(Broken::Fin(_)) => return,
                Err(e) => panic!("a clean FIN was due: {e}; frames: {:?}", self.kept),
            }
        }
    }

    #[track_caller]
    fn expect_head(&mut self, stream: u32) -> (u16, Fields, bool) {
        self.wait(&format!("answer on stream {stream}"), |frame| match frame {
            Frame::Headers { stream: of, status: Some(status), headers, end_stream }
                if *of == stream && *status >= 200 =>
            {
                Some((*status, headers.clone(), *end_stream))
            }
            _ => None,
        })
    }

    /// Reads a frame from the connection and acknowledges it.
    fn receive(&mut self) -> Result<Frame, Broken> {
        let frame = Frame::read(&mut self.conn)?;
        let ack = match &frame {
            Frame::Settings { ack: false } => h2frame::bytes(4, ACK, 0, &[]),
            Frame::Ping { ack: false, payload } if self.ack_pings => {
                h2frame::bytes(6, ACK, 0, payload)
            }
            _ => return Ok(frame),
        };
        match self.conn.send(ack) {
            // A server that has closed needs no acknowledgement. Its earlier bytes are still read.
            Ok(()) | Err(Broken::Reset) => Ok(frame),
            Err(e) => Err(e),
        }
    }
}

/// The fields of every request. Add to them for [`H2::send_fields`].
pub fn fields<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![(":method", method), (":scheme", "http"), (":authority", "test"), (":path", path)]
}
