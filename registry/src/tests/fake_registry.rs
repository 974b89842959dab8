//! A server that answers as a test says: bytes onto a socket, one connection for each request.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::image::{BlobDescriptor, ImageManifest, OCI_MANIFEST, WASM_CONFIG, WASM_LAYER};
use crate::push::json;
use crate::{ContentDigest, OciReference};

use super::{COMPONENT, image};

/// What is done when the bytes are written.
#[derive(Clone, Copy)]
pub(super) enum Then {
    Close,
    /// Nothing, until the peer goes.
    Wait,
    /// The bytes of the body again and again, until the peer goes.
    Repeat,
}

/// An answer.
pub(super) struct Reply {
    head: String,
    body: Vec<u8>,
    then: Then,
}

impl Reply {
    /// With a body and its length.
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self {
            head: format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len()),
            body,
            then: Then::Close,
        }
    }

    /// With a head of the test's own, without its last line.
    pub(super) fn raw(head: &str, body: impl Into<Vec<u8>>, then: Then) -> Self {
        Self { head: head.to_owned(), body: body.into(), then }
    }

    pub(super) fn field(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }
}

/// A request, as the server has read it.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) head: String,
}

impl Heard {
    pub(super) fn authorization(&self) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix("authorization: "))
    }
}

pub(super) struct FakeRegistry {
    pub(super) host: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    serving: JoinHandle<()>,
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl FakeRegistry {
    pub(super) async fn answering(
        answer: impl Fn(&Heard) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (heard, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let all = Arc::clone(&heard);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&all), Arc::clone(&answer)));
            }
        });
        Self { host, heard, serving }
    }

    /// One that has an image of COMPONENT as `app:1`.
    pub(super) async fn with_component() -> Self {
        Self::answering(|heard| {
            let manifest = json(&manifest());
            match heard.target.as_str() {
                "/v2/app/manifests/1" => {
                    let digest = ContentDigest::of(&manifest).to_string();
                    Reply::new(200, manifest).field("docker-content-digest", &digest)
                }
                target if target.starts_with("/v2/app/blobs/sha256:") => Reply::new(200, COMPONENT),
                _ => Reply::new(404, ""),
            }
        })
        .await
    }

    pub(super) fn image(&self, name: &str) -> OciReference {
        image(&format!("oci://{}/{name}", self.host))
    }

    pub(super) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }
}

pub(super) fn manifest() -> ImageManifest {
    ImageManifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.into()),
        artifact_type: None,
        config: BlobDescriptor::of(WASM_CONFIG, b"{}"),
        layers: vec![BlobDescriptor::of(WASM_LAYER, COMPONENT)],
        annotations: [].into(),
    }
}

async fn serve<F: Fn(&Heard) -> Reply>(
    mut stream: TcpStream,
    all: Arc<Mutex<Vec<Heard>>>,
    answer: Arc<F>,
) {
    let Some(heard) = hear(&mut stream).await else { return };
    all.lock().unwrap().push(heard.clone());
    let Reply { head, body, then } = answer(&heard);
    let mut bytes = head.into_bytes();
    bytes.extend(b"\r\n");
    if heard.method != "HEAD" {
        bytes.extend(&body);
    }
    let mut went = stream.write_all(&bytes).await;
    while matches!(then, Then::Repeat) && went.is_ok() {
        went = stream.write_all(&body).await;
    }
    if matches!(then, Then::Wait) {
        let _gone = stream.read(&mut [0; 1]).await;
    }
}

/// Reads a request with its body.
async fn hear(stream: &mut TcpStream) -> Option<Heard> {
    let mut bytes = Vec::new();
    let head = loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            break head.to_owned();
        }
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |text| text.parse().unwrap());
    while bytes.len() < head.len() + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let mut words = head.split(' ').map(str::to_owned);
    Some(Heard { method: words.next()?, target: words.next()?, head: head.clone() })
}
