//! The limits in force, as people write them.

use std::collections::BTreeMap;
use std::time::Duration;

use host_manifest::{Rate, exact_size};

use crate::config::{Manifest, ServeConfig};

/// A rate as the flag takes it.
fn rate(bytes_per_second: Option<u64>) -> String {
    bytes_per_second.map_or_else(|| "off".into(), |bytes| exact_size(bytes) + "/s")
}

/// How often something may happen, as the flag takes it.
fn often(rate: Option<Rate>) -> String {
    rate.map_or_else(|| "off".into(), |rate| rate.to_string())
}

/// The limits in force, by their flags: those of the process, and those of the component where there
/// is no manifest. With a manifest, they stand there.
pub(super) fn limits(config: &ServeConfig, connections: usize) -> BTreeMap<String, String> {
    let time = |span: Duration| humantime::format_duration(span).to_string();
    let Manifest { stop, connection, swap, total, components, .. } = &config.manifest;
    let mut limits: BTreeMap<String, String> = [
        ("drain-delay", time(stop.delay)),
        ("drain-timeout", time(stop.timeout)),
        ("linger", time(stop.linger)),
        ("retire-timeout", time(swap.retire)),
        ("max-retired", swap.retired.to_string()),
        ("compile-timeout", time(swap.compile)),
        ("max-instances", total.instances.to_string()),
        ("max-header-size", exact_size(connection.header_size as u64)),
        ("max-headers", connection.headers.to_string()),
        ("request-head-timeout", time(connection.head)),
        ("handshake-timeout", time(connection.handshake)),
        ("min-rate", rate(connection.min_rate.map(|rate| rate.bytes_per_second))),
        ("prefetch-body", exact_size(connection.prefetch)),
        ("max-connections", connections.to_string()),
        (
            "max-connections-per-client",
            connection.per_client.map_or_else(|| "off".into(), |most| most.to_string()),
        ),
        ("connection-rate", often(connection.accept_rate)),
        ("connection-rate-per-client", often(connection.client_rate)),
        ("keep-alive-timeout", time(connection.keep_alive)),
    ]
    .map(|(flag, value)| (flag.to_owned(), value))
    .into();
    if config.file.is_none()
        && let Some(component) = components.values().next()
    {
        let guest = &component.limits;
        let of_component = [
            ("hook-timeout", time(guest.hook)),
            ("reuse", component.reuse.map_or(1, |reuse| reuse.exchanges).to_string()),
            ("max-queue", guest.queue.to_string()),
            ("queue-timeout", time(guest.queue_wait)),
            ("max-memory", exact_size(guest.memory as u64)),
            ("cpu-time", time(guest.cpu)),
            ("response-head-timeout", time(guest.response_head)),
            ("body-idle-timeout", time(guest.body_idle)),
            ("exchange-timeout", guest.total.map_or_else(|| "off".into(), time)),
            ("after-timeout", time(guest.after)),
            ("max-request-body", exact_size(guest.request_body)),
            ("guest-log-rate", rate(guest.log_rate)),
        ];
        limits.extend(of_component.map(|(flag, value)| (flag.to_owned(), value)));
    }
    limits
}
