//! The peer's end of the connection, plain or over TLS.

use std::io;

use rustls::version::TLS13;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::Got;
use super::requests::Dice;
use crate::tls::testing::{self, Records};

/// What the peer writes with.
pub(super) struct ModelPeer {
    write: OwnedWriteHalf,
    tls: Option<Records>,
    /// What is not written yet of a record.
    record: Vec<u8>,
}

impl ModelPeer {
    /// Shakes hands, where it is to speak TLS.
    pub(super) async fn connect(stream: UnixStream, over_tls: bool) -> (Self, OwnedReadHalf) {
        let (stream, tls) = if over_tls {
            let config = testing::client_config(&[&TLS13], &["http/1.1"]);
            let (stream, tls) = testing::connect(stream, config).await.into_inner();
            (stream, Some(Records::of(tls)))
        } else {
            (stream, None)
        };
        let (read, write) = stream.into_split();
        (Self { write, tls, record: Vec::new() }, read)
    }

    pub(super) fn records(&self) -> Option<Records> {
        self.tls.clone()
    }

    pub(super) fn socket(&self) -> &UnixStream {
        self.write.as_ref()
    }

    /// Whether part of a record is still to be written.
    pub(super) fn has_more(&self) -> bool {
        !self.record.is_empty()
    }

    /// Writes what there is room for, and gives how much of `piece` that was. Of a record it may be a part; the piece
    /// counts as written with the first byte of it.
    pub(super) async fn write(&mut self, piece: &[u8], dice: &mut Dice) -> io::Result<usize> {
        let Some(tls) = &self.tls else { return self.write.write(piece).await };
        let is_new = self.record.is_empty();
        if is_new {
            self.record = tls.seal(piece);
        }
        let most =
            if dice.one_in(2) { self.record.len() } else { 1 + dice.size(self.record.len()) };
        let wrote = self.write.write(&self.record[..most]).await?;
        self.record.drain(..wrote);
        Ok(if is_new { piece.len() } else { 0 })
    }

    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        self.write.shutdown().await
    }
}

/// Tells of all that comes.
pub(super) async fn read_all(
    mut read: OwnedReadHalf,
    tls: Option<Records>,
    tell: watch::Sender<Got>,
) {
    let mut buffer = [0; 4096];
    loop {
        let read = read.read(&mut buffer).await.unwrap_or(0);
        let (plaintext, closed) = match &tls {
            Some(tls) => tls.open(&buffer[..read]),
            None => (buffer[..read].to_vec(), false),
        };
        tell.send_modify(|got| {
            got.bytes.extend_from_slice(&plaintext);
            got.closed |= closed;
            got.ended = read == 0;
        });
        if read == 0 {
            return;
        }
    }
}
