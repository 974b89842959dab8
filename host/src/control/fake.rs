//! A host of tests: says what it is told to say, and takes note of what it is asked.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::schema::{
    BucketName, BucketStatus, CanaryRequest, CanaryStatus, ChangeOutcome, CommandError,
    ConnectionActivity, ConnectionCounts, ConnectionStatus, GenerationStatus, InstanceCount,
    KeyList, KeyWritten, PhaseName, ProtocolName, SCHEMA, Status, StopEnd, StopProgress,
    TrafficHistory, TrafficReport, TrafficStatus, UpgradeRequest, UsageStatus,
};
use super::{
    BucketAnswer, BucketFuture, BucketOperation, BucketRefusal, CommandFuture, Host, UpgradeFuture,
};

pub(super) struct Fake {
    pub(super) asked: Mutex<Vec<String>>,
    pub(super) ended: watch::Sender<Option<StopEnd>>,
    pub(super) ticks: watch::Sender<u64>,
    pub(super) canaries: Mutex<Vec<CanaryStatus>>,
}

impl Fake {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            asked: Mutex::default(),
            ended: watch::Sender::new(None),
            ticks: watch::Sender::new(0),
            canaries: Mutex::default(),
        })
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn note(&self, what: impl Into<String>) {
        self.asked.lock().unwrap().push(what.into());
    }
}

impl Host for Fake {
    fn status(&self) -> Status {
        Status {
            schema: SCHEMA.into(),
            version: "0".into(),
            pid: 1,
            uptime_ms: 1,
            phase: PhaseName::Ready,
            stopping: None,
            addresses: vec!["127.0.0.1:1".into()],
            connections: ConnectionCounts::default(),
            traffic: TrafficStatus::default(),
            exchanges_in_flight: 0,
            afterwork_in_flight: 0,
            instances: InstanceCount { in_use: 0, limit: 1 },
            generations: self.generations(),
            last_swap: None,
            tls: Vec::new(),
            components: Vec::new(),
            stores: vec![],
            rate_limits: vec![],
            limits: [("linger".into(), "1s".into())].into(),
        }
    }

    fn connections(&self) -> Vec<ConnectionStatus> {
        vec![ConnectionStatus {
            id: 1,
            peer: "unix".into(),
            listener: "unix:/a".into(),
            protocol: ProtocolName::Http1,
            tls: None,
            state: ConnectionActivity::Idle,
            age_ms: 1,
            idle_ms: 1,
            exchanges_served: 1,
            exchanges_in_flight: 0,
        }]
    }

    fn generations(&self) -> Vec<GenerationStatus> {
        Vec::new()
    }

    fn traffic_report(&self) -> TrafficReport {
        TrafficReport {
            all: TrafficStatus { window_ms: 60_000, requests: 1, ..TrafficStatus::default() },
            seconds: vec![(1, 0)],
            routes: Vec::new(),
            exchanges: Vec::new(),
            events: Vec::new(),
        }
    }

    fn usage(&self) -> Vec<UsageStatus> {
        Vec::new()
    }

    fn buckets(&self) -> Vec<BucketStatus> {
        Vec::new()
    }

    /// Has one pair in each bucket but in two of them.
    fn key_value(&self, name: BucketName, operation: BucketOperation) -> BucketFuture {
        let BucketName { component, bucket } = name;
        self.note(format!("{component:?} {bucket}: {operation:?}"));
        Box::pin(std::future::ready(match (&*bucket, operation) {
            ("none", _) => Err(BucketRefusal::Missing(bucket)),
            ("full", _) => Err(BucketRefusal::Refused(bucket)),
            (_, BucketOperation::List { .. }) => {
                let (keys, cursor) = (vec!["k".into()], Some("c".into()));
                Ok(BucketAnswer::Keys(KeyList { keys, cursor }))
            }
            (_, BucketOperation::Get(_)) => Ok(BucketAnswer::Value(b"v".to_vec())),
            _ => {
                let component = component.unwrap_or_default();
                Ok(BucketAnswer::Written(KeyWritten { component, bucket }))
            }
        }))
    }

    fn history(&self, _: usize) -> TrafficHistory {
        TrafficHistory {
            span_ms: 5_000,
            first: 0,
            all: vec![(1, 0, Some(900), None)],
            components: Vec::new(),
            other: None,
        }
    }

    fn ticks(&self) -> watch::Receiver<u64> {
        self.ticks.subscribe()
    }

    fn reload(&self) -> CommandFuture {
        self.note("reload");
        Box::pin(async { ChangeOutcome::Unchanged { generation: 1 } })
    }

    fn reload_tls(&self) -> CommandFuture {
        self.note("reload-tls");
        Box::pin(async { ChangeOutcome::refused("no listener has TLS".into()) })
    }

    /// Panics for one path and rejects another.
    fn swap(
        &self,
        _component: Option<String>,
        path: PathBuf,
        _canary: Option<CanaryRequest>,
    ) -> CommandFuture {
        self.note(format!("swap {}", path.display()));
        Box::pin(async move {
            assert!(path != *"/panic", "as it was told");
            if path == *"/canary" {
                let component = "app".into();
                return ChangeOutcome::Canary { component, from: 1, to: 2, took_ms: 3 };
            }
            if path == *"/bad" {
                return ChangeOutcome::Rejected {
                    step: "load".into(),
                    why: "it is bad".into(),
                    stack: Vec::new(),
                };
            }
            ChangeOutcome::Swapped { from: 1, to: 2, took_ms: 3 }
        })
    }

    fn rollback(&self, _component: Option<String>) -> CommandFuture {
        self.note("rollback");
        Box::pin(async { ChangeOutcome::Swapped { from: 2, to: 1, took_ms: 0 } })
    }

    fn promote(&self, _component: Option<String>) -> CommandFuture {
        self.note("promote");
        Box::pin(async { ChangeOutcome::refused("there is no canary".into()) })
    }

    fn abort(&self, _component: Option<String>) -> CommandFuture {
        self.note("abort");
        let (component, why) = ("app".into(), "it was told to".into());
        Box::pin(async { ChangeOutcome::Aborted { component, from: 1, to: 2, why } })
    }

    fn canaries(&self) -> Vec<CanaryStatus> {
        self.canaries.lock().unwrap().clone()
    }

    fn upgrade(&self, request: UpgradeRequest) -> UpgradeFuture {
        self.note(format!("upgrade {request:?}"));
        let error = "no upgrade".to_owned();
        Box::pin(std::future::ready(Err(CommandError { error })))
    }

    fn drain(&self) -> Result<(), CommandError> {
        self.note("drain");
        Ok(())
    }

    fn undrain(&self) -> Result<(), CommandError> {
        self.note("undrain");
        Err(CommandError { error: "it is stopping".into() })
    }

    fn stop(&self, now: bool) -> Result<(), CommandError> {
        self.note(format!("stop now={now}"));
        Ok(())
    }

    fn progress(&self) -> StopProgress {
        StopProgress {
            phase: PhaseName::Draining,
            elapsed_ms: 1,
            deadline_ms: Some(25_000),
            exchanges: 1,
            connections: 1,
            afterwork: 0,
            upgrades: 0,
        }
    }

    fn ended(&self) -> watch::Receiver<Option<StopEnd>> {
        self.ended.subscribe()
    }
}
