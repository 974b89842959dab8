//! Defaults, each with its reason. As text, because `--help` prints them as people write them.

use std::time::Duration;

/// Loopback only: to be reachable from outside is a decision of the operator.
pub const ADDRESS: &str = "127.0.0.1:8080";

/// No delay: right for a terminal and for load balancers that watch the connection; Kubernetes
/// needs about 5 s because endpoints are withdrawn beside the signal, not before it.
pub const DRAIN_DELAY: &str = "0s";

/// Below the 30 s that Kubernetes grants by default before SIGKILL.
pub const DRAIN_TIMEOUT: &str = "25s";

/// Longer than a round trip around the world and a client's think time under load.
pub const LINGER: &str = "1s";

/// As many as `wasmtime serve` admits; each takes 4 GiB of address space, not of memory.
pub const MAX_INSTANCES: &str = "1000";

/// As many again may wait: a burst is served late instead of refused.
pub const MAX_QUEUE: &str = "1000";

/// Longer waits do not help: the client's own timeout is near.
pub const QUEUE_TIMEOUT: &str = "1s";

/// What Fastly and Cloudflare grant.
pub const MAX_MEMORY: &str = "128MiB";

/// A head fits into a few packets; a client that needs longer is broken or hostile.
pub const REQUEST_HEAD_TIMEOUT: &str = "10s";

/// Two round trips and a signature, as a head takes.
pub const HANDSHAKE_TIMEOUT: &str = "10s";

/// Most clients give up after 30 s.
pub const RESPONSE_HEAD_TIMEOUT: &str = "30s";

/// Half of what nginx waits between two reads; streams that are silent for longer send a comment.
pub const BODY_IDLE_TIMEOUT: &str = "30s";

/// Off, because a stream may be meant to last.
pub const EXCHANGE_TIMEOUT: &str = "off";

/// Work after the answer must fit into the drain.
pub const AFTER_TIMEOUT: &str = "20s";

/// Twice what a modem of 1985 sent: slower than that is not slow, it holds on. Apache's
/// mod_reqtimeout asks for 500 B/s.
pub const MIN_RATE: &str = "240B/s";

/// Seconds of waiting over which a rate is measured: a pause of a radio link is no slow peer.
pub const MIN_RATE_WINDOW: Duration = Duration::from_secs(10);

/// Seconds of waiting before that: a connection gets up to speed.
pub const MIN_RATE_GRACE: Duration = Duration::from_secs(5);

/// Most forms and calls of APIs; how long larger ones take is not known.
pub const PREFETCH_BODY: &str = "64KiB";

/// Ten thousand lines a second: more than a person reads, and less than a disk writes.
pub const LOG_RATE: &str = "1MiB/s";

/// A request that computes longer belongs into a job queue.
pub const CPU_TIME: &str = "10s";

/// Room for uploads; bodies are streamed, never held.
pub const MAX_REQUEST_BODY: &str = "64MiB";

/// What most servers take in all (nginx 4 × 8 KiB).
pub const MAX_HEADER_SIZE: &str = "32KiB";

/// hyper's own default.
pub const MAX_HEADERS: &str = "100";

/// Well below the file descriptors that systemd grants with `LimitNOFILE=`; checked at start.
pub const MAX_CONNECTIONS: &str = "10000";

/// Off: who comes waits for a place, and the kernel's queue is the bound.
pub const CONNECTION_RATE: &str = "off";

/// Off: an office or a mobile network is one address, and a proxy brings everybody.
pub const CONNECTION_RATE_PER_CLIENT: &str = "off";

/// What nginx keeps; longer than the 60 s of most load balancers, so that they close first.
pub const KEEP_ALIVE_TIMEOUT: &str = "75s";

/// An 11 MB JavaScript component took 25 s beside other builds; ten times that is a hang.
pub const COMPILE_TIMEOUT: &str = "5m";

/// The 11 MB component above takes a third of it on two cores; hostile ones of 9 KB took all there was.
pub const COMPILE_MEMORY: &str = "1GiB";

/// Longer than a request takes; streams that last end at their next event or are cut.
pub const RETIRE_TIMEOUT: &str = "60s";

/// Deploys in quick succession, each with streams that linger; beyond that something is wrong.
pub const MAX_RETIRED: &str = "4";

/// Room for opening or flushing something, well within the drain timeout.
pub const HOOK_TIMEOUT: &str = "5s";

/// A fresh instance for each request.
pub const REUSE: &str = "1";

/// One at a time.
pub const REUSE_CONCURRENCY: &str = "1";

/// Longer than a pause within a burst; an idle instance holds memory.
pub const REUSE_IDLE: &str = "10s";

/// Nowhere: health on a port is for a supervisor or a load balancer that asks.
pub const HEALTH_ADDRESS: &str = "off";

/// Nowhere: whoever may open it sees what the host serves.
pub const DASHBOARD_ADDRESS: &str = "off";

/// A request takes a dozen. Each keeps something in the memory of the host, or a descriptor open.
pub const MAX_HANDLES: &str = "1000";

/// Eight requests that use all of the 32 that Fastly grants to each; far below the sockets that the
/// process may open, so that one slow upstream does not take them all.
pub const MAX_OUTGOING_REQUESTS: &str = "256";

/// Eight times what one instance can hold, so it is in the way only of a guest that passes downloads on, and
/// an upstream without an end ends.
pub const MAX_OUTGOING_RESPONSE_BODY: &str = "1GiB";

/// What Fastly grants to one request.
pub const MAX_OUTGOING_PER_EXCHANGE: &str = "32";

/// Half of the memory of one instance: sessions and counters, not files.
pub const MAX_KEYVALUE: &str = "64MiB";

/// One request in twenty: enough to be compared within a minute where there is some traffic.
pub const CANARY_SHARE: &str = "5%";

/// As long as a person looks at a deploy.
pub const CANARY_PERIOD: &str = "60s";

/// What users notice: one request in a hundred fails, or the slow ones take twice as long.
pub const CANARY_ABORT_IF: &str = "errors > 1%, p99 > 2x";

/// More than bad luck.
pub const BREAKER_FAILURES: &str = "10";

/// As long as a pause: failures that are rarer than that do no harm.
pub const BREAKER_WITHIN: &str = "10s";

/// A client that obeys Retry-After comes back after this.
pub const BREAKER_PAUSE: &str = "10s";

/// Whom most limits are for: each client by itself.
pub const RATE_LIMIT_KEY: &str = "client";

/// What RFC 6585 has for it.
pub const RATE_LIMIT_ANSWER: u16 = 429;
