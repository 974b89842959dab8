//! A server that gives tokens.

use super::fake_registry::{FakeRegistry, Heard, Reply};

pub(super) struct TokenServer(FakeRegistry);

impl TokenServer {
    /// One that answers this.
    pub(super) async fn new(answer: &'static str) -> Self {
        Self(FakeRegistry::answering(move |_| Reply::new(200, answer)).await)
    }

    /// How a registry names it, with more parameters.
    pub(super) fn challenge(&self, more: &str) -> String {
        format!("Bearer realm=\"http://{}/token\"{more}", self.0.host)
    }

    pub(super) fn heard(&self) -> Vec<Heard> {
        self.0.heard()
    }
}
