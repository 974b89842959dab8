//! A client that sends exactly the given bytes and reads HTTP/1.1 responses strictly.

mod session;

use std::io::{self, Read as _, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::Socket;

use super::broken::{Broken, Ended, Glance, broken, malformed};
use super::http1::{Body, Framing, Head, Response, chunk_size, field};
use super::target::Target;
use super::tls_client::ClientSession;
use super::{CONNECT_PATIENCE, PATIENCE};

/// The largest head and the longest chunk line that the client reads.
const MAX_HEAD: usize = 256 << 10;

/// One connection. Dropping it closes it.
#[derive(Debug)]
pub struct Conn {
    socket: Socket,
    /// Over TLS; an end without `close_notify` counts as a reset.
    tls: Option<ClientSession>,
    /// Bytes that no call has taken yet.
    buffer: Vec<u8>,
    trailers: Vec<(String, String)>,
    patience: Duration,
}

impl Conn {
    /// Connects within [`CONNECT_PATIENCE`].
    ///
    /// # Errors
    /// Errors of the system: refused, timed out, and for a Unix socket also not found.
    pub fn connect(target: impl Into<Target>) -> io::Result<Self> {
        let target = target.into();
        let socket = target.connect(CONNECT_PATIENCE)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        match target {
            Target::Tls(_) => Self::over(socket).hello()?.shake_hands(),
            Target::Tcp(_) | Target::Unix(_) => Ok(Self::over(socket)),
        }
    }

    /// Speaks over a socket that is connected already.
    pub fn over(socket: Socket) -> Self {
        let (buffer, trailers) = (Vec::new(), Vec::new());
        Self { socket, tls: None, buffer, trailers, patience: PATIENCE }
    }

    /// Reads what there is, at least one byte.
    ///
    /// # Errors
    /// When nothing comes.
    pub fn read_some(&mut self) -> Result<Vec<u8>, Broken> {
        if self.buffer.is_empty() {
            self.fill(self.deadline(), "some bytes")?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Two connections joined to each other, to test the client itself.
    pub fn pair() -> io::Result<(Self, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Self::over(ours.into()), theirs))
    }

    /// Waits at most `patience` in each later call.
    pub fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// When the peer has reset the connection, or does not read for too long.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Broken> {
        let sent = match &self.tls {
            None => self.socket.write_all(bytes.as_ref()),
            Some(tls) => self.socket.write_all(&tls.seal(bytes.as_ref())),
        };
        sent.map_err(|e| broken(e, "room to send"))
    }

    /// A second handle for sending, from another thread.
    pub fn writer(&self) -> Writer {
        let socket = self.socket.try_clone().expect("a socket can be cloned");
        Writer { socket, tls: self.tls.clone() }
    }

    /// Sends FIN, and `close_notify` before it over TLS. No byte follows, but responses are still read.
    pub fn half_close(&self) {
        if let Some(tls) = &self.tls {
            // A peer that has closed shows that in its responses.
            (&self.socket).write_all(&tls.close_notify()).ok();
        }
        self.socket.shutdown(Shutdown::Write).expect("a connected socket can be half closed");
    }

    /// Closes with RST.
    pub fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).expect("linger can be set");
    }

    /// Sends a bare `GET` and reads the whole response.
    ///
    /// # Errors
    /// As [`Self::send`] and [`Self::read_response`].
    pub fn get(&mut self, path: &str) -> Result<Response, Broken> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))?;
        self.read_response("GET")
    }

    /// Reads one head, interim (1xx) or final.
    ///
    /// # Errors
    /// When it does not come whole, or is malformed.
    pub fn read_head(&mut self) -> Result<Head, Broken> {
        let until = self.deadline();
        loop {
            if let Some(head) = Head::parse(&self.buffer).map_err(Broken::Malformed)? {
                self.buffer.drain(..head.raw.len());
                return Ok(head);
            }
            self.refuse_endless("a head")?;
            self.fill(until, "a whole head")?;
        }
    }

    /// Reads the body after `head`, the response to a request with `method`.
    ///
    /// # Errors
    /// When it does not come whole: fewer bytes than promised, a bad chunk, no last chunk, or a
    /// reset where the close marks the end.
    pub fn read_body(&mut self, head: &Head, method: &str) -> Result<Body, Broken> {
        match Framing::read(head, method).map_err(Broken::Malformed)? {
            Framing::None => Ok(Body::default()),
            Framing::Length(length) => {
                let length = usize::try_from(length).map_err(|e| malformed(&e))?;
                Ok(Body { bytes: self.read_exact(length)?, trailers: Vec::new() })
            }
            Framing::Chunked => {
                let mut bytes = Vec::new();
                while let Some(chunk) = self.read_chunk()? {
                    bytes.extend(chunk);
                }
                Ok(Body { bytes, trailers: self.take_trailers() })
            }
            Framing::Close => match self.read_to_end()? {
                (bytes, Ended::Fin) => Ok(Body { bytes, trailers: Vec::new() }),
                (_, Ended::Reset) => Err(Broken::Reset),
            },
        }
    }

    /// Reads one whole final response to a request with `method`.
    ///
    /// # Errors
    /// As [`Self::read_head`] and [`Self::read_body`].
    pub fn read_response(&mut self, method: &str) -> Result<Response, Broken> {
        loop {
            let head = self.read_head()?;
            if head.status >= 200 || head.status == 101 {
                let body = self.read_body(&head, method)?;
                return Ok(Response { head, body });
            }
        }
    }

    /// Reads one chunk of a chunked body, as the peer cut it. None for the last one; then
    /// [`Self::take_trailers`] has its trailers.
    ///
    /// # Errors
    /// When it does not come whole, or is malformed.
    pub fn read_chunk(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        let size = chunk_size(&self.read_line()?).map_err(Broken::Malformed)?;
        if size > 0 {
            let mut chunk =
                self.read_exact(size.checked_add(2).ok_or_else(|| malformed(&size))?)?;
            return match chunk.split_off(size).as_slice() {
                b"\r\n" => Ok(Some(chunk)),
                other => Err(malformed(&format!("{other:?} behind a chunk"))),
            };
        }
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok(None);
            }
            self.trailers.push(field(&line).map_err(Broken::Malformed)?);
        }
    }

    /// The trailers of the latest chunked body.
    pub fn take_trailers(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.trailers)
    }

    /// Reads exactly `length` bytes.
    ///
    /// # Errors
    /// When they do not come.
    pub fn read_exact(&mut self, length: usize) -> Result<Vec<u8>, Broken> {
        let until = self.deadline();
        while self.buffer.len() < length {
            let missing = length - self.buffer.len();
            self.fill(until, &format!("{missing} of {length} bytes"))?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// Reads up to the end of the connection, in order or by a reset.
    ///
    /// # Errors
    /// When it does not end.
    pub fn read_to_end(&mut self) -> Result<(Vec<u8>, Ended), Broken> {
        let until = self.deadline();
        loop {
            let ended = match self.fill(until, "the end") {
                Ok(()) => continue,
                Err(Broken::Fin(_)) => Ended::Fin,
                Err(Broken::Reset) => Ended::Reset,
                Err(other) => return Err(other),
            };
            return Ok((std::mem::take(&mut self.buffer), ended));
        }
    }

    /// Waits for the peer's FIN, with no byte before it.
    ///
    /// # Errors
    /// When bytes come, or a reset, or no FIN.
    pub fn wait_fin(&mut self) -> Result<(), Broken> {
        match self.read_to_end()? {
            (bytes, Ended::Fin) if bytes.is_empty() => Ok(()),
            (bytes, Ended::Fin) => {
                Err(malformed(&format!("unasked {:?}", String::from_utf8_lossy(&bytes))))
            }
            (_, Ended::Reset) => Err(Broken::Reset),
        }
    }

    /// Fails unless the peer closes with FIN, with no byte before it.
    #[track_caller]
    pub fn expect_fin(&mut self) {
        if let Err(e) = self.wait_fin() {
            panic!("a clean FIN was due: {e}");
        }
    }

    /// Fails unless the connection ends. Returns the bytes before the end.
    #[track_caller]
    pub fn expect_reset_or_eof(&mut self) -> (Vec<u8>, Ended) {
        match self.read_to_end() {
            Ok(end) => end,
            Err(e) => panic!("the end of the connection was due: {e}"),
        }
    }

    /// The state of the connection now. Does not wait or take bytes.
    pub fn glance(&self) -> Glance {
        if !self.buffer.is_empty() {
            return Glance::Bytes;
        }
        if let Some(tls) = &self.tls {
            return self.glance_over(tls);
        }
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match recv(&self.socket, &mut [0_u8; 1][..], flags) {
            Ok((_, 0)) => Glance::Fin,
            Ok(_) => Glance::Bytes,
            Err(Errno::AGAIN | Errno::INTR) => Glance::Quiet,
            Err(_) => Glance::Reset,
        }
    }

    /// Whether it is open and no byte waits, right now.
    pub fn is_quiet(&self) -> bool {
        self.glance() == Glance::Quiet
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }

    fn read_line(&mut self) -> Result<String, Broken> {
        let until = self.deadline();
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = self.buffer.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).map_err(|e| malformed(&e));
            }
            self.refuse_endless("a line")?;
            self.fill(until, "the end of a line")?;
        }
    }

    fn refuse_endless(&self, what: &str) -> Result<(), Broken> {
        if self.buffer.len() > MAX_HEAD {
            return Err(malformed(&format!("{what} of more than {MAX_HEAD} bytes")));
        }
        Ok(())
    }

    /// Reads the available bytes, at least one, by `until`. `what` names the missing part.
    fn fill(&mut self, until: Instant, what: &str) -> Result<(), Broken> {
        let left = until.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(left)).map_err(Broken::Io)?;
        if self.tls.as_ref().is_some_and(|tls| tls.take_plaintext(&mut self.buffer)) {
            return Ok(());
        }
        let mut bytes = [0; 16 << 10];
        loop {
            match self.socket.read(&mut bytes) {
                Ok(0) if self.tls.as_ref().is_some_and(|tls| !tls.is_closed()) => {
                    return Err(Broken::Reset);
                }
                Ok(0) => return Err(Broken::Fin(self.missing(what))),
                Ok(n) if self.take(&bytes[..n])? => return Ok(()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(broken(e, &self.missing(what))),
            }
        }
    }

    /// Takes what has come. Gives whether any of it can be read.
    fn take(&mut self, bytes: &[u8]) -> Result<bool, Broken> {
        let Some(tls) = &self.tls else {
            self.buffer.extend_from_slice(bytes);
            return Ok(true);
        };
        tls.receive(bytes).map_err(Broken::Io)?;
        Ok(tls.take_plaintext(&mut self.buffer))
    }

    fn missing(&self, what: &str) -> String {
        format!("{what} (unread: {:?})", String::from_utf8_lossy(&self.buffer))
    }
}

/// Sends bytes of a connection.
#[derive(Debug)]
pub struct Writer {
    socket: Socket,
    tls: Option<ClientSession>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.tls {
            None => self.socket.write(bytes),
            Some(tls) => self.socket.write_all(&tls.seal(bytes)).map(|()| bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
