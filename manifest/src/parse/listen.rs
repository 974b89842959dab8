//! Where the process listens, and what connections may do.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::listeners::{self, Listener};
use super::reader::Reader;
use super::spanned::{Spanned, Written};
use super::values::{count, default, fitting, number, span};
use crate::error::Problem;
use crate::{
    ByteSize, ConnectionLimits, DashboardAddr, HealthAddr, HumanDuration, ListenAddr, ListenConfig,
    ListenerConfig, MinRateOrOff, RateOrOff, TrustedProxies, TrustedProxy, defaults,
};

/// Where the process listens, how it is operated, and what connections may do.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Listen {
    /// Addresses without TLS: HOST:PORT (IPv6 in brackets) or unix:PATH; port 0 lets the kernel choose. None by
    /// default where there is a table listener.
    #[schemars(extend("default" = [defaults::ADDRESS]))]
    pub(super) addr: Option<Spanned<Vec<Written<ListenAddr>>>>,
    /// Path of the control socket, or `off`. By default $XDG_RUNTIME_DIR/host/PID.sock, for root
    /// without it /run/host/PID.sock.
    pub(super) control: Option<Spanned<String>>,
    /// HOST:PORT for GET /livez, /readyz and /metrics, or `off`.
    #[schemars(extend("default" = defaults::HEALTH_ADDRESS))]
    pub(super) health_addr: Option<Written<HealthAddr>>,
    /// HOST:PORT for the dashboard, a port alone for one of 127.0.0.1, or `off`.
    #[schemars(extend("default" = defaults::DASHBOARD_ADDRESS))]
    pub(super) dashboard_addr: Option<Written<DashboardAddr>>,
    /// Connections at once, over all listeners. Above that the one that has been idle longest makes
    /// room; if none is idle, a new one gets 503 after 2s.
    #[schemars(extend("default" = number(defaults::MAX_CONNECTIONS)))]
    pub(super) max_connections: Option<u64>,
    /// Connections of one client at once: of its address, or its /64 of IPv6. One more gets 429 with Retry-After; over
    /// TLS it is closed. No bound by default: many people may be behind one address.
    pub(super) max_connections_per_client: Option<u64>,
    /// New connections of all clients together, per second, minute or hour, or `off`. Beyond it they wait in the
    /// kernel's queue, and nobody is refused.
    #[schemars(extend("default" = defaults::CONNECTION_RATE))]
    pub(super) connection_rate: Option<Written<RateOrOff>>,
    /// New connections of one client, or `off`. Beyond it they are refused as in max-connections-per-client.
    #[schemars(extend("default" = defaults::CONNECTION_RATE_PER_CLIENT))]
    pub(super) connection_rate_per_client: Option<Written<RateOrOff>>,
    /// Time to receive the head of a request; then 408.
    #[schemars(extend("default" = defaults::REQUEST_HEAD_TIMEOUT))]
    pub(super) request_head_timeout: Option<Written<HumanDuration>>,
    /// Time for the handshake of TLS; then the connection is closed.
    #[schemars(extend("default" = defaults::HANDSHAKE_TIMEOUT))]
    pub(super) handshake_timeout: Option<Written<HumanDuration>>,
    /// How long a connection may be idle between requests. Longer than that of your load balancer
    /// is best, so that it closes first.
    #[schemars(extend("default" = defaults::KEEP_ALIVE_TIMEOUT))]
    pub(super) keep_alive_timeout: Option<Written<HumanDuration>>,
    /// Least rate at which a client sends a body or takes an answer, or `off`: measured over 10s of
    /// waiting for it, after 5s for nothing; then 408, or the stream is broken.
    #[schemars(extend("default" = defaults::MIN_RATE))]
    pub(super) min_rate: Option<Written<MinRateOrOff>>,
    /// Size of a request body that is read before an instance is taken, where the head says the length; 0B for
    /// never. Not behind `Expect: 100-continue`.
    #[schemars(extend("default" = defaults::PREFETCH_BODY))]
    pub(super) prefetch_body: Option<Written<ByteSize>>,
    /// Size of the head of a request; then 431. At least 8KiB.
    #[schemars(extend("default" = defaults::MAX_HEADER_SIZE))]
    pub(super) max_header_size: Option<Written<ByteSize>>,
    /// Headers in a request; then 431.
    #[schemars(extend("default" = number(defaults::MAX_HEADERS)))]
    pub(super) max_headers: Option<u64>,
    /// Proxies that are believed who their client is, by Forwarded, X-Forwarded-For and the PROXY protocol:
    /// networks (10.0.0.0/8), addresses, `unix` for whoever connects to a Unix socket. Nobody by default.
    pub(super) trusted_proxies: Vec<Written<TrustedProxy>>,
}

/// Where the process listens: the addresses of `[listen]`, and the tables `[[listener]]`. Without any of them it is at
/// the default one.
pub(super) fn listen(
    reader: &mut Reader<'_>,
    raw: &Listen,
    tables: &[Spanned<Listener>],
) -> ListenConfig {
    let mut all: Vec<ListenerConfig> = Vec::new();
    let written = raw.addr.as_ref().map(|addr| addr.value.as_slice()).unwrap_or_default();
    for one in written {
        let address = listeners::address(reader, one, &all);
        all.extend(address.map(ListenerConfig::plain));
    }
    listeners::listeners(reader, tables, &mut all);
    match &raw.addr {
        None if tables.is_empty() => all.push(ListenerConfig::plain(default(defaults::ADDRESS))),
        Some(addr) if addr.value.is_empty() => {
            let problem = Problem::new(addr.span.clone(), "there is no address to listen at");
            reader.report(problem.help("write one, or leave addr out for 127.0.0.1:8080"));
        }
        Some(_) | None => {}
    }
    let (off, no_page) = (default(defaults::HEALTH_ADDRESS), default(defaults::DASHBOARD_ADDRESS));
    ListenConfig {
        control: raw.control.as_ref().and_then(|control| socket(reader, control, &all)),
        listeners: all,
        health: reader.parse_or(raw.health_addr.as_ref(), off).0,
        dashboard: reader.parse_or(raw.dashboard_addr.as_ref(), no_page).0,
        trusted_proxies: trusted(reader, &raw.trusted_proxies, tables),
    }
}

/// Whom the host believes who the client is. Where listeners expect the PROXY protocol, somebody has to be.
fn trusted(
    reader: &mut Reader<'_>,
    written: &[Written<TrustedProxy>],
    tables: &[Spanned<Listener>],
) -> TrustedProxies {
    if written.is_empty()
        && let Some(table) = tables.iter().find(|table| table.value.proxy_protocol)
    {
        let problem = Problem::new(
            table.span.clone(),
            "proxy-protocol is for trusted proxies only, and nobody is trusted",
        );
        reader.report(problem.help(
            "add trusted-proxies = [\"10.0.0.0/8\"] to [listen], with your proxies' own network",
        ));
    }
    reader.parse_all(written).into_iter().collect()
}

/// The path of the control socket. The word `off` stays as it is.
fn socket(
    reader: &mut Reader<'_>,
    written: &Spanned<String>,
    listeners: &[ListenerConfig],
) -> Option<PathBuf> {
    if reader.text(written)? == "off" {
        return Some("off".into());
    }
    let path = reader.path(written)?;
    reader.places.hold("the control socket", &path);
    let taken = |address: &ListenAddr| matches!(address, ListenAddr::Unix(other) if *other == path);
    if listeners.iter().any(|listener| taken(&listener.address)) {
        reader.report(
            Problem::new(written.span.clone(), "requests are listened for at this path")
                .help("choose another path for the control socket, or for the one in addr"),
        );
    }
    Some(path)
}

pub(super) fn connection(
    reader: &mut Reader<'_>,
    raw: &Listen,
    body_idle: Duration,
) -> ConnectionLimits {
    let connection = ConnectionLimits {
        connections: count(raw.max_connections, default(defaults::MAX_CONNECTIONS)),
        per_client: raw.max_connections_per_client.map(|most| count(Some(most), 0)),
        accept_rate: reader.parse_or(raw.connection_rate.as_ref(), RateOrOff(None)).0,
        client_rate: reader.parse_or(raw.connection_rate_per_client.as_ref(), RateOrOff(None)).0,
        head: span(reader, raw.request_head_timeout.as_ref(), defaults::REQUEST_HEAD_TIMEOUT),
        handshake: span(reader, raw.handshake_timeout.as_ref(), defaults::HANDSHAKE_TIMEOUT),
        keep_alive: span(reader, raw.keep_alive_timeout.as_ref(), defaults::KEEP_ALIVE_TIMEOUT),
        body_idle,
        min_rate: reader
            .parse_or(raw.min_rate.as_ref(), default::<MinRateOrOff>(defaults::MIN_RATE))
            .0,
        prefetch: reader
            .parse_or(raw.prefetch_body.as_ref(), default::<ByteSize>(defaults::PREFETCH_BODY))
            .0,
        header_size: fitting(
            reader.parse_or(raw.max_header_size.as_ref(), default(defaults::MAX_HEADER_SIZE)),
        ),
        headers: count(raw.max_headers, default(defaults::MAX_HEADERS)),
    };
    let mut faults = connection.faults();
    // A fault of the limits that has been reported.
    faults.retain(|fault| fault.key != "body-idle-timeout");
    reader.report_faults(faults, &["listen"]);
    connection
}
