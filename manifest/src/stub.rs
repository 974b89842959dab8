//! Until the parser is here.
use crate::Manifest;
/// Stub.
#[derive(Debug)]
pub struct Report;
impl Report {
    /// Stub.
    pub fn one_line(&self) -> String {
        String::new()
    }
    /// Stub.
    pub fn render(&self, _colour: bool) -> String {
        String::new()
    }
}
impl std::fmt::Display for Report {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
/// Stub.
pub fn load(_: &std::path::Path, _: &dyn Fn(&str) -> Option<String>) -> Result<Manifest, Report> {
    Err(Report)
}
/// Stub.
pub fn schema() -> String {
    String::new()
}
impl Default for crate::Limits {
    fn default() -> Self {
        let s = std::time::Duration::from_secs;
        Self {
            instances: 1000,
            queue: 1000,
            queue_wait: s(1),
            memory: 128 << 20,
            memory_total: None,
            cpu: s(10),
            response_head: s(30),
            body_idle: s(30),
            total: None,
            after: s(20),
            hook: s(5),
            request_body: 64 << 20,
            response_body: None,
            handles: 10_000,
            outgoing: 100,
            keyvalue: 64 << 20,
        }
    }
}
