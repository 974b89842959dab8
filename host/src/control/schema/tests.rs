//! The examples of `docs/control.md` are what goes over the socket.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;

const DOCS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/control.md"));

/// Every block that begins with ```` ```json TYPE ````, as its type and its text.
fn examples() -> Vec<(&'static str, &'static str)> {
    DOCS.split("```json ")
        .skip(1)
        .filter_map(|rest| rest.split_once("```"))
        .filter_map(|(block, _)| block.split_once('\n'))
        .collect()
}

/// Text to type to text again.
fn there_and_back<T: DeserializeOwned + Serialize>(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_str::<T>(text)?)
}

fn parse(name: &str, text: &str) -> Result<Value, serde_json::Error> {
    match name {
        "Status" => there_and_back::<Status>(text),
        "ConnectionList" => there_and_back::<ConnectionList>(text),
        "GenerationList" => there_and_back::<GenerationList>(text),
        "UsageList" => there_and_back::<UsageList>(text),
        "BucketList" => there_and_back::<BucketList>(text),
        "KeysRequest" => there_and_back::<KeysRequest>(text),
        "KeyList" => there_and_back::<KeyList>(text),
        "KeyRequest" => there_and_back::<KeyRequest>(text),
        "KeyValue" => there_and_back::<KeyValue>(text),
        "SetRequest" => there_and_back::<SetRequest>(text),
        "KeyWritten" => there_and_back::<KeyWritten>(text),
        "ChangeOutcome" => there_and_back::<ChangeOutcome>(text),
        "RollbackRequest" => there_and_back::<RollbackRequest>(text),
        "SwapRequest" => there_and_back::<SwapRequest>(text),
        "ReloadRequest" => there_and_back::<ReloadRequest>(text),
        "CanaryList" => there_and_back::<CanaryList>(text),
        "UpgradeRequest" => there_and_back::<UpgradeRequest>(text),
        "UpgradeReport" => there_and_back::<UpgradeReport>(text),
        "StopRequest" => there_and_back::<StopRequest>(text),
        "EmptyRequest" => there_and_back::<EmptyRequest>(text),
        "StopProgress" => there_and_back::<StopProgress>(text),
        "TrafficReport" => there_and_back::<TrafficReport>(text),
        "StopEnd" => there_and_back::<StopEnd>(text),
        "CommandError" => there_and_back::<CommandError>(text),
        other => panic!("docs/control.md shows a {other}, which is no type of the schema"),
    }
}

#[test]
fn every_example_of_the_docs_is_a_type_of_the_schema_and_back_the_same() {
    let examples = examples();
    for (name, text) in &examples {
        let again = parse(name, text).unwrap_or_else(|why| panic!("{name}: {why} in\n{text}"));
        let shown: Value = serde_json::from_str(text).unwrap();
        assert_eq!(again, shown, "{name}");
    }
    for needed in [
        "Status",
        "ConnectionList",
        "GenerationList",
        "UsageList",
        "BucketList",
        "KeysRequest",
        "KeyList",
        "KeyRequest",
        "KeyValue",
        "SetRequest",
        "KeyWritten",
        "ChangeOutcome",
        "SwapRequest",
        "UpgradeRequest",
        "UpgradeReport",
        "RollbackRequest",
        "ReloadRequest",
        "CanaryList",
        "StopRequest",
        "StopProgress",
        "StopEnd",
        "TrafficReport",
        "CommandError",
    ] {
        assert!(examples.iter().any(|(name, _)| *name == needed), "no example of {needed}");
    }
}

#[test]
fn every_block_of_json_in_the_docs_names_its_type() {
    assert_eq!(DOCS.matches("```json").count(), examples().len());
}

#[test]
fn request_with_an_unknown_field_is_refused() {
    assert!(serde_json::from_str::<StopRequest>(r#"{"now":true,"fast":true}"#).is_err());
    assert!(serde_json::from_str::<SwapRequest>(r#"{"path":"/a","force":true}"#).is_err());
    assert!(serde_json::from_str::<EmptyRequest>(r#"{"x":1}"#).is_err());
}

#[test]
fn a_line_of_a_followed_stop_is_progress_or_the_end() {
    let ended = StopEnd { exit: 143, report: "stopped in 0.100s".into() };
    let line = serde_json::to_string(&StopLine::Ended(ended.clone())).unwrap();
    assert_eq!(serde_json::from_str::<StopLine>(&line).unwrap(), StopLine::Ended(ended));
    let progress = StopProgress {
        phase: PhaseName::Draining,
        elapsed_ms: 1,
        deadline_ms: Some(2),
        exchanges: 3,
        connections: 4,
        afterwork: 5,
        upgrades: 6,
    };
    let line = serde_json::to_string(&StopLine::Progress(progress)).unwrap();
    assert_eq!(serde_json::from_str::<StopLine>(&line).unwrap(), StopLine::Progress(progress));
}

#[test]
fn names_are_those_of_the_json() {
    for phase in [
        PhaseName::Starting,
        PhaseName::Ready,
        PhaseName::LameDuck,
        PhaseName::Draining,
        PhaseName::Cut,
    ] {
        assert_eq!(serde_json::to_value(phase).unwrap(), phase.name());
    }
    for doing in [
        ConnectionActivity::Idle,
        ConnectionActivity::Reading,
        ConnectionActivity::Serving,
        ConnectionActivity::Writing,
        ConnectionActivity::Handshake,
    ] {
        assert_eq!(serde_json::to_value(doing).unwrap(), doing.name());
    }
    for protocol in [ProtocolName::Unknown, ProtocolName::Http1, ProtocolName::Http2] {
        assert_eq!(serde_json::to_value(protocol).unwrap(), protocol.name());
    }
}
