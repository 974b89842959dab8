//! Limits of connections and of one component.

use std::time::Duration;

use clap::Args;
use host_manifest::{
    ByteSize, ComponentLimits, ConnectionLimits, DurationOrOff, HumanDuration, LimitsProfile,
    LogRateOrOff, MinRateOrOff, RateOrOff, STRICT, TotalLimits, defaults,
};

use super::complaint::{complaint, refuse};

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Limits that go together, in place of the defaults: `strict` for components of strangers (16 MiB of memory, 50 ms of
    /// CPU time, bodies of 1 MiB, 10 s in all, and more in docs/limits.md). Flags beside it win
    #[arg(long, value_name = "NAME", default_value = "default")]
    profile: LimitsProfile,

    /// Instances at once; each takes 4 GiB of address space, memory only as it is used
    #[arg(long, value_name = "N", default_value = defaults::MAX_INSTANCES)]
    max_instances: usize,

    /// Requests that may wait for an instance; the next one gets 503
    #[arg(long, value_name = "N", default_value = defaults::MAX_QUEUE)]
    max_queue: usize,

    /// How long a request waits for an instance before it gets 503 with Retry-After
    #[arg(long, value_name = "TIME", default_value = defaults::QUEUE_TIMEOUT)]
    queue_timeout: HumanDuration,

    /// Linear memory of one instance; a guest that wants more is refused the growth
    #[arg(long, value_name = "SIZE", default_value = defaults::MAX_MEMORY)]
    #[arg(default_value_if("profile", "strict", STRICT.memory))]
    max_memory: ByteSize,

    /// Linear memory of all instances together [default: three quarters of what the cgroup allows; no
    /// bound but that of each without one]
    #[arg(long, value_name = "SIZE")]
    total_memory: Option<ByteSize>,

    /// CPU time of one exchange; then 504, or a broken stream
    #[arg(long, value_name = "TIME", default_value = defaults::CPU_TIME)]
    #[arg(default_value_if("profile", "strict", STRICT.cpu_time))]
    cpu_time: HumanDuration,

    /// From the request's head to the head of the guest's answer; then 504
    #[arg(long, value_name = "TIME", default_value = defaults::RESPONSE_HEAD_TIMEOUT)]
    #[arg(default_value_if("profile", "strict", STRICT.response_head_timeout))]
    response_head_timeout: HumanDuration,

    /// Longest pause between two frames of a body, in either direction; then the stream is broken
    #[arg(long, value_name = "TIME", default_value = defaults::BODY_IDLE_TIMEOUT)]
    #[arg(default_value_if("profile", "strict", STRICT.body_idle_timeout))]
    body_idle_timeout: HumanDuration,

    /// The whole exchange, or `off`: a stream may be meant to last
    #[arg(long, value_name = "TIME", default_value = defaults::EXCHANGE_TIMEOUT)]
    #[arg(default_value_if("profile", "strict", STRICT.exchange_timeout))]
    exchange_timeout: DurationOrOff,

    /// Work of a guest after its answer has ended
    #[arg(long, value_name = "TIME", default_value = defaults::AFTER_TIMEOUT)]
    #[arg(default_value_if("profile", "strict", STRICT.after_timeout))]
    after_timeout: HumanDuration,

    /// What guests may add to the log in a second, or `off`; as much may come at once. Lines beyond
    /// are left out and counted
    #[arg(long, value_name = "RATE", default_value = defaults::LOG_RATE)]
    #[arg(default_value_if("profile", "strict", STRICT.log_rate))]
    guest_log_rate: LogRateOrOff,

    /// Size of a request body; then 413. Bodies are streamed, never held
    #[arg(long, value_name = "SIZE", default_value = defaults::MAX_REQUEST_BODY)]
    #[arg(default_value_if("profile", "strict", STRICT.request_body))]
    max_request_body: ByteSize,

    /// Size of a request head; then 431 (at least 8KiB)
    #[arg(long, value_name = "SIZE", default_value = defaults::MAX_HEADER_SIZE)]
    max_header_size: ByteSize,

    /// Headers in a request; then 431
    #[arg(long, value_name = "N", default_value = defaults::MAX_HEADERS)]
    max_headers: usize,

    /// Time to receive a request's head; then 408
    #[arg(long, value_name = "TIME", default_value = defaults::REQUEST_HEAD_TIMEOUT)]
    request_head_timeout: HumanDuration,

    /// Time for the handshake of TLS; then the connection is closed
    #[arg(long, value_name = "TIME", default_value = defaults::HANDSHAKE_TIMEOUT)]
    handshake_timeout: HumanDuration,

    /// The slowest that a client may send a body or take an answer, or `off`: measured over 10s of
    /// waiting for it, after 5s for nothing; then 408, or the stream is broken
    #[arg(long, value_name = "RATE", default_value = defaults::MIN_RATE)]
    min_rate: MinRateOrOff,

    /// Size of a request body that is read before an instance is taken, where the head says the
    /// length; 0B for never. Not behind `Expect: 100-continue`
    #[arg(long, value_name = "SIZE", default_value = defaults::PREFETCH_BODY)]
    prefetch_body: ByteSize,

    /// Connections at once; above that the one that has been idle longest makes room
    #[arg(long, value_name = "N", default_value = defaults::MAX_CONNECTIONS)]
    max_connections: usize,

    /// Connections of one client at once: of its address, or its /64 of IPv6. One more gets 429 with Retry-After; over
    /// TLS it is closed [default: no bound]
    #[arg(long, value_name = "N")]
    max_connections_per_client: Option<usize>,

    /// New connections of all clients together (100/s, 600/m, 1000/h), or `off`. Beyond it they wait in the kernel's
    /// queue, and nobody is refused
    #[arg(long, value_name = "RATE", default_value = defaults::CONNECTION_RATE)]
    connection_rate: RateOrOff,

    /// New connections of one client, or `off`. Beyond it they are refused as with --max-connections-per-client
    #[arg(long, value_name = "RATE", default_value = defaults::CONNECTION_RATE_PER_CLIENT)]
    connection_rate_per_client: RateOrOff,

    /// How long a connection may be idle between requests. Longer than your load balancer's (60s
    /// for most), so that it closes first
    #[arg(long, value_name = "TIME", default_value = defaults::KEEP_ALIVE_TIMEOUT)]
    keep_alive_timeout: HumanDuration,
}

impl LimitArgs {
    pub(super) fn connection(&self) -> Result<ConnectionLimits, clap::Error> {
        let connection = ConnectionLimits {
            connections: self.max_connections,
            per_client: self.max_connections_per_client,
            accept_rate: self.connection_rate.0,
            client_rate: self.connection_rate_per_client.0,
            head: self.request_head_timeout.0,
            handshake: self.handshake_timeout.0,
            keep_alive: self.keep_alive_timeout.0,
            body_idle: self.body_idle_timeout.0,
            min_rate: self.min_rate.0,
            prefetch: self.prefetch_body.0,
            header_size: usize::try_from(self.max_header_size.0).unwrap_or(usize::MAX),
            headers: self.max_headers,
        };
        refuse(connection.faults())?;
        Ok(connection)
    }

    pub(super) fn total(&self) -> Result<TotalLimits, clap::Error> {
        let total = TotalLimits {
            instances: self.max_instances,
            memory: self.total_memory.map(|size| size.0),
            code_memory: None,
        };
        if total.memory.is_some_and(|total| total < self.max_memory.0) {
            return Err(complaint(
                "--total-memory is less than --max-memory: no instance could have what it may; raise \
                 the one or lower the other",
            ));
        }
        Ok(total)
    }

    pub(super) fn guest(&self, hook: Duration) -> Result<ComponentLimits, clap::Error> {
        let limits = ComponentLimits {
            queue: self.max_queue,
            queue_wait: self.queue_timeout.0,
            memory: usize::try_from(self.max_memory.0).unwrap_or(usize::MAX),
            cpu: self.cpu_time.0,
            response_head: self.response_head_timeout.0,
            body_idle: self.body_idle_timeout.0,
            total: self.exchange_timeout.0,
            after: self.after_timeout.0,
            hook,
            request_body: self.max_request_body.0,
            log_rate: self.guest_log_rate.0,
            ..self.profile.over(&ComponentLimits::with_instances(self.max_instances))
        };
        refuse(limits.faults())?;
        Ok(limits)
    }
}
