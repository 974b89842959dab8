//! One component's part in an exchange, from the moment when it has its request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use host_telemetry::{End, StageRecord};
use http::StatusCode;
use tokio::time::Instant;

use super::admission::Admitted;
use super::exchange_info::ExchangeInfo;
use super::stage_spans;

/// A component that has its request, and the right to an instance. Dropping it gives the right back. It ends as it
/// was told to, or when it is dropped: then its peer has gone.
pub(super) struct Stage {
    admitted: Admitted,
    info: Arc<ExchangeInfo>,
    is_plugin: bool,
    began: Instant,
    head: Option<Duration>,
    status: Option<StatusCode>,
    has_ended: bool,
}

impl Stage {
    /// A stage of an exchange, or of a part of one, begins now.
    pub(super) fn begin(admitted: Admitted, info: &Arc<ExchangeInfo>, is_plugin: bool) -> Self {
        info.set_generation(Some(admitted.generation().number()));
        info.set_cpu(Duration::ZERO);
        Self {
            admitted,
            info: info.clone(),
            is_plugin,
            began: Instant::now(),
            head: None,
            status: None,
            has_ended: false,
        }
    }

    /// The right to an instance, and what it runs on.
    pub(super) fn admitted(&self) -> &Admitted {
        &self.admitted
    }

    /// Whether others come behind it.
    pub(super) fn is_plugin(&self) -> bool {
        self.is_plugin
    }

    /// The guest has given the head of its answer.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
        self.head = Some(self.began.elapsed());
    }

    /// It ends now, like this. What it is told after that changes nothing.
    pub(super) fn end(&mut self, end: End) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let (generation, traffic) = (self.admitted.generation(), self.admitted.traffic());
        let stage = StageRecord {
            component: traffic.component(),
            generation: Some(generation.number()),
            is_plugin: self.is_plugin,
            after: self.began - self.info.began,
            queue: self.admitted.queue(),
            head: self.head,
            took: self.began.elapsed(),
            cpu: self.info.cpu(),
            status: self.status,
            end,
        };
        traffic.count(&stage);
        if self.info.stage.is_recorded() {
            stage_spans::record(&stage, self.info.stage, self.began);
        }
        self.info.add_stage(stage);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let cut = self.admitted.generation().cut_reason();
        self.end(cut.map_or(End::PeerGone, |_| End::Cut));
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("info", &self.info).finish_non_exhaustive()
    }
}
