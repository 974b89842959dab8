//! A connection that speaks TLS: its handshake, and a look at it.

use std::io::{self, Read as _, Write as _};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::super::broken::Glance;
use super::super::tls_client::ClientSession;
use super::Conn;

impl Conn {
    /// Sends the hello of a TLS session, and waits for nothing.
    ///
    /// # Errors
    /// When the peer has reset the connection.
    pub fn hello(mut self) -> io::Result<Self> {
        let tls = ClientSession::new();
        self.socket.write_all(&tls.outgoing())?;
        Ok(self.speaking(tls))
    }

    /// Speaks TLS from now on.
    pub fn speaking(mut self, tls: ClientSession) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Finishes the handshake that [`Self::hello`] has begun.
    ///
    /// # Errors
    /// When it fails.
    pub fn shake_hands(mut self) -> io::Result<Self> {
        self.socket.set_read_timeout(Some(self.patience))?;
        while let Some(tls) = self.tls.clone().filter(ClientSession::is_handshaking) {
            let mut bytes = [0; 16 << 10];
            match self.socket.read(&mut bytes)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => tls.receive(&bytes[..read])?,
            }
            self.socket.write_all(&tls.outgoing())?;
        }
        Ok(self)
    }

    /// The connection without its TLS session, so that its records can be sent in pieces.
    #[track_caller]
    pub fn apart(mut self) -> (Self, ClientSession) {
        let tls = self.tls.take().expect("it speaks TLS");
        (self, tls)
    }

    /// The same over TLS: tickets are no bytes.
    pub(super) fn glance_over(&self, tls: &ClientSession) -> Glance {
        loop {
            let mut bytes = [0; 16 << 10];
            match recv(&self.socket, &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) if tls.is_closed() => return Glance::Fin,
                Ok((_, 0)) => return Glance::Reset,
                Ok((_, read)) => {
                    if tls.receive(&bytes[..read]).is_err() {
                        return Glance::Reset;
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) if tls.has_plaintext() => return Glance::Bytes,
                Err(Errno::AGAIN | Errno::INTR) if tls.is_closed() => return Glance::Fin,
                Err(Errno::AGAIN | Errno::INTR) => return Glance::Quiet,
                Err(_) => return Glance::Reset,
            }
        }
    }
}
