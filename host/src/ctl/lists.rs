//! `host ctl connections` and `host ctl generations`.

use host_manifest::escape;

use super::numbers::age;
use super::screen_size::ScreenSize;
use super::table::{Cell, Cut, Table, column, cut};
use crate::config::{CONNECTION_COLUMNS, GENERATION_COLUMNS};
use crate::control::schema::{
    ConnectionActivity, ConnectionList, ConnectionStatus, GenerationList, GenerationState,
    GenerationStatus,
};

/// Enough of a digest to tell two files apart.
const DIGEST: usize = 12;

/// The connections, sorted by a column; the oldest first if by none.
pub(super) fn connections(list: &ConnectionList, sort: Option<&str>, size: ScreenSize) -> String {
    let mut table = Table::new(&CONNECTION_COLUMNS.map(|name| match name {
        "peer" => column(name, Cut::Middle),
        "age" => column(name, Cut::Never).optional(1),
        "in-flight" => column(name, Cut::Never).optional(2),
        "quiet" => column(name, Cut::Never).optional(3),
        "protocol" => column(name, Cut::Never).optional(4),
        "requests" => column(name, Cut::Never).optional(5),
        "listener" => column(name, Cut::Middle).optional(6),
        _ => column(name, Cut::Never),
    }));
    for connection in &list.connections {
        table.row([
            Cell::number(connection.id),
            Cell::text(&connection.peer),
            Cell::text(&connection.listener),
            Cell::text(spoken(connection)),
            Cell::text(ConnectionActivity::name(connection.state)),
            Cell::sized(age(connection.age_ms), connection.age_ms),
            Cell::sized(age(connection.idle_ms), connection.idle_ms),
            Cell::number(connection.exchanges_served),
            Cell::number(connection.exchanges_in_flight),
        ]);
    }
    sorted(table, sort, size)
}

/// What a connection speaks, and over which version of TLS.
fn spoken(connection: &ConnectionStatus) -> String {
    let protocol = connection.protocol.name();
    connection.tls.as_ref().map_or_else(|| protocol.into(), |tls| format!("{protocol} {tls}"))
}

/// The generations, sorted by a column; the newest first if by none.
pub(super) fn generations(list: &GenerationList, sort: Option<&str>, size: ScreenSize) -> String {
    let mut table = Table::new(&GENERATION_COLUMNS.map(|name| match name {
        "component" => column(name, Cut::Middle),
        "path" => column(name, Cut::Start),
        "in-flight" => column(name, Cut::Never).optional(1),
        "since" => column(name, Cut::Never).optional(2),
        "cut-in" => column(name, Cut::Never).optional(3),
        "digest" => column(name, Cut::Never).optional(4),
        "kind" => column(name, Cut::Never).optional(5),
        _ => column(name, Cut::Never),
    }));
    for generation in &list.generations {
        let deadline = generation.deadline_ms;
        table.row([
            Cell::number(generation.number),
            Cell::text(&generation.component),
            Cell::text(state(generation)),
            Cell::sized(age(generation.since_ms), generation.since_ms),
            Cell::number(generation.in_flight),
            Cell::sized(deadline.map_or_else(|| "-".into(), age), deadline.unwrap_or(0)),
            Cell::text(&generation.kind),
            Cell::text(generation.digest.chars().take(DIGEST).collect::<String>()),
            Cell::text(escape::quote(&generation.path.display().to_string())),
        ]);
    }
    let mut text = sorted(table, sort, size);
    for generation in &list.generations {
        if let Some(why) = &generation.why {
            let line = format!("generation {} was taken back: {why}", generation.number);
            text += &(cut(&line, size.columns, Cut::End) + "\n");
        }
    }
    text
}

fn state(generation: &GenerationStatus) -> String {
    let state = match generation.state {
        GenerationState::Current => "current",
        GenerationState::Canary => "canary",
        GenerationState::Aborted => "aborted",
        GenerationState::Previous => "previous",
        GenerationState::Retired => "retired",
    };
    generation.share.as_ref().map_or_else(|| state.into(), |share| format!("{state} {share}"))
}

fn sorted(mut table: Table, sort: Option<&str>, size: ScreenSize) -> String {
    if let Some(column) = sort {
        table.sort(column);
    }
    table.print(size.columns, usize::MAX)
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;
    use crate::control::schema::{ConnectionStatus, ProtocolName};

    fn generation(number: u64, in_flight: u64) -> GenerationStatus {
        GenerationStatus {
            number,
            component: "a-component-with-a-long-name".into(),
            path: "/srv/components/shop/current/shop.wasm".into(),
            digest: "9f86d081884c7d659a2feaa0c55ad015".into(),
            kind: "wasi:http 0.3".into(),
            state: GenerationState::Retired,
            in_flight,
            since_ms: 3_660_000,
            deadline_ms: Some(23_800),
            share: None,
            why: None,
        }
    }

    #[test]
    fn generations_are_cut_to_the_width_and_sorted_by_a_column() {
        let why = Some("errors > 1%: ".repeat(9));
        let aborted = GenerationStatus { why, ..generation(3, 0) };
        let list =
            GenerationList { generations: vec![generation(1, 2), generation(2, 7), aborted] };
        let size = |columns| ScreenSize { columns, rows: Some(24) };
        let text = generations(&list, Some("in-flight"), size(80));
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
        for columns in [40, 80, 200] {
            let text = generations(&list, None, size(columns));
            assert!(text.lines().all(|line| line.width() <= columns), "{text}");
            assert!(text.contains("p.wasm"), "{text}");
        }
        let firsts: Vec<_> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(firsts, ["GENERATION", "2", "1", "3", "generation"]);
        assert!(text.contains("shop.wasm") && !text.contains("KIND"), "{text}");
        let text = generations(&list, None, ScreenSize::UNBOUNDED);
        assert!(
            text.contains("wasi:http 0.3")
                && text.contains("generation 3 was taken back: errors > 1%: errors")
                && text.contains("/srv/components/shop/current/shop.wasm"),
            "{text}"
        );
    }

    #[test]
    fn connections_are_cut_to_the_width_and_keep_the_port_of_the_peer() {
        let connection = ConnectionStatus {
            id: 123_456,
            peer: "[2001:db8:0:1:2:3:4:5]:54321".into(),
            listener: "[2001:db8:0:1:2:3:4:6]:8443".into(),
            protocol: ProtocolName::Http2,
            tls: Some("TLSv1.3".into()),
            state: ConnectionActivity::Serving,
            age_ms: 3_660_000,
            idle_ms: 59_900,
            exchanges_served: 123_456,
            exchanges_in_flight: 100,
        };
        let list = ConnectionList { connections: vec![connection] };
        for columns in [40, 80, 200] {
            let size = ScreenSize { columns, rows: Some(24) };
            let text = connections(&list, None, size);
            assert!(text.lines().all(|line| line.width() <= columns), "{text}");
            assert!(text.contains(":54321  ") && text.contains("1h 1m"), "{text}");
            let text = connections(&list, Some("requests"), size);
            assert!(text.contains("REQUESTS"), "it is sorted by them: {text}");
        }
        assert!(
            connections(&list, None, ScreenSize::UNBOUNDED).contains("[2001:db8:0:1:2:3:4:6]:8443")
        );
    }
}
