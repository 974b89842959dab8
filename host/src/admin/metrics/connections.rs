//! Connections.

use std::collections::BTreeMap;
use std::fmt;

use host_lifecycle::Tracker;
use host_net::{ConnectionProtocol, ConnectionTransport, NetCounts};

use super::page::{Family, Page, family, number};
use crate::admin::convert;
use crate::control::schema::ConnectionStatus;

/// Writes open connections by what they do and speak.
pub(super) fn open(page: &mut Page<'_>, all: &[ConnectionStatus]) -> fmt::Result {
    let mut counts = BTreeMap::<_, u64>::new();
    for connection in all {
        *counts.entry((connection.protocol.name(), connection.state.name())).or_default() += 1;
    }
    page.gauges(&family("host_connections", "Open connections."), |samples| {
        counts.iter().try_for_each(|((protocol, state), count)| {
            let labels = [("network_protocol", *protocol), ("state", *state)];
            samples.gauge(&labels, number(*count))
        })
    })
}

/// Writes what all connections since the start add up to: those in `tracker`, counted in `net`.
pub(super) fn totals(page: &mut Page<'_>, tracker: &Tracker, net: &NetCounts) -> fmt::Result {
    // In the order of a connection's life, backwards: none has ended that has not come.
    let ended = tracker.counts();
    let identified = [ConnectionProtocol::Http1, ConnectionProtocol::Http2]
        .map(|protocol| (convert::protocol(protocol).name(), net.speaking(protocol)));
    let accepted = [("tcp", ConnectionTransport::Tcp), ("unix", ConnectionTransport::Unix)]
        .map(|(name, transport)| (name, net.accepted_over(transport)));
    let handshakes = net.handshakes().map(|(outcome, count)| (outcome.name(), count));
    for (family, label, counts) in [
        (
            family("host_connections_accepted", "Connections that were accepted."),
            "network_transport",
            &accepted[..],
        ),
        (
            family("host_connections_identified", "Connections whose first bytes have come."),
            "network_protocol",
            &identified,
        ),
        (
            family(
                "host_connections_ended",
                "Connections that have ended: by themselves, or cut by a stop.",
            ),
            "ended",
            &[("finished", ended.finished), ("cut", ended.cut)],
        ),
        (
            family("host_tls_handshakes", "TLS handshakes that have ended, by what they came to."),
            "outcome",
            &handshakes,
        ),
        (
            family(
                "host_connections_refused",
                "Connections that were refused, because their client has one too many.",
            ),
            "reason",
            &net.refusals(),
        ),
        (
            family("host_streams_reset", "HTTP/2 streams that the host reset before their end."),
            "error_code",
            &net.resets(),
        ),
        (
            family("host_goaways_sent", "GOAWAY frames of HTTP/2 that the host sent."),
            "error_code",
            &net.goaways(),
        ),
    ] {
        by_label(page, &family, label, counts)?;
    }
    at_the_door(page, net)
}

/// Writes what became of those that came to a listener and were not served, or not at once.
fn at_the_door(page: &mut Page<'_>, net: &NetCounts) -> fmt::Result {
    let proxies = family(
        "host_proxy_protocol_refused",
        "Connections that were refused for want of a header of the PROXY protocol.",
    );
    by_label(page, &proxies, "reason", &net.refused_proxies())?;
    let waits = family(
        "host_accept_waits",
        "Times that a listener waited because connections came faster than connection-rate.",
    );
    page.counters(&waits, |samples| samples.counter(&[], number(net.waits_to_accept())))
}

/// Writes a family whose samples differ in one label.
fn by_label(
    page: &mut Page<'_>,
    family: &Family,
    label: &'static str,
    counts: &[(&str, u64)],
) -> fmt::Result {
    page.counters(family, |samples| {
        counts
            .iter()
            .try_for_each(|(value, count)| samples.counter(&[(label, value)], number(*count)))
    })
}
