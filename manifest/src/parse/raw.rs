//! The file as it is written. The comments here are the descriptions in the schema.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde_json::Value;

use super::ability::{AbilitySyntax, KeyTable};
use super::enums::{Backend, Reached};
use super::limits::Limits;
use super::listen::Listen;
use super::listeners::Listener;
use super::logs::{Log, Trace};
use super::raw_route::Route;
use super::registry::{Registry, Trust};
use super::secrets::SecretText;
use super::spanned::{Spanned, Written};
use super::values::number;
use crate::{
    AbortRules, ByteSize, Fail, HumanDuration, SmokeCheck, Stdio, Stickiness, TrafficShare,
    defaults,
};

/// A manifest of `host`: what is served, where, with which grants and limits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(title = "host.toml")]
pub(super) struct Raw {
    /// Where the process listens, how it is operated, and what connections may do. A change needs a
    /// restart.
    pub(super) listen: Listen,
    /// Where the process listens beside listen.addr: with TLS, or under a name. Certificates and what else belongs
    /// to TLS change by a reload, the rest by a restart.
    pub(super) listener: Vec<Spanned<Listener>>,
    /// Files with more components and routes, relative to this one: a file, or a folder with a `*` in the name of its files, such as
    /// `tenants/*.toml`. What stands in one is relative to it.
    #[serde(rename = "include")]
    pub(super) _include: Option<Include>,
    /// Deadlines of a stop. A change needs a restart.
    pub(super) stop: Stop,
    /// How a swap goes. A change needs a restart.
    pub(super) swap: Swap,
    /// What is logged, how, and where it goes. A change needs a restart.
    pub(super) log: Log,
    /// Where spans of requests go. A change needs a restart.
    pub(super) trace: Trace,
    /// Bounds of all components together. A change needs a restart.
    pub(super) total: Total,
    /// Limits of every component that does not say otherwise.
    pub(super) limits: Limits,
    /// What can serve, by name: small letters, digits and `-`.
    pub(super) component: BTreeMap<Spanned<String>, Spanned<Component>>,
    /// Where key-value buckets are kept, by name: small letters, digits and `-`.
    pub(super) keyvalue: BTreeMap<Spanned<String>, Spanned<Store>>,
    /// How registries are spoken to that components come from.
    pub(super) registry: Registry,
    /// Who has to vouch for components. Nobody by default.
    pub(super) trust: Trust,
    /// Which requests go where. A single component without any route gets all requests.
    pub(super) route: Vec<Spanned<Route>>,
}

/// They have been read by then.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
#[expect(dead_code, reason = "they are read before, by `include`, to be one text with this file")]
pub(super) enum Include {
    One(String),
    Several(Vec<String>),
}

/// Deadlines of a stop.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Stop {
    /// After SIGTERM, go on accepting for this long; part of drain-timeout. Kubernetes needs about
    /// 5s.
    #[schemars(extend("default" = defaults::DRAIN_DELAY))]
    pub(super) drain_delay: Option<Written<HumanDuration>>,
    /// From SIGTERM to the moment when what is still running is cut. Below what the supervisor
    /// grants (Kubernetes 30s, systemd 90s).
    #[schemars(extend("default" = defaults::DRAIN_TIMEOUT))]
    pub(super) drain_timeout: Option<Written<HumanDuration>>,
    /// During a stop an idle kept-alive connection may still send its next request for this long.
    #[schemars(extend("default" = defaults::LINGER))]
    pub(super) linger: Option<Written<HumanDuration>>,
}

/// How a swap goes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Swap {
    /// Reload by itself when the manifest or the file of a component changes. In production, let a
    /// deploy ask for its swap and read the outcome.
    #[schemars(extend("default" = false))]
    pub(super) watch: bool,
    /// How long compiling may take; then the component is refused.
    #[schemars(extend("default" = defaults::COMPILE_TIMEOUT))]
    pub(super) compile_timeout: Option<Written<HumanDuration>>,
    /// Memory that compiling one component may take; then it is refused.
    #[schemars(extend("default" = defaults::COMPILE_MEMORY))]
    pub(super) compile_memory: Option<Written<ByteSize>>,
    /// From a swap to the moment when what still runs on the version before is cut.
    #[schemars(extend("default" = defaults::RETIRE_TIMEOUT))]
    pub(super) retire_timeout: Option<Written<HumanDuration>>,
    /// Replaced versions of one component that may linger; one more, and the oldest is cut.
    #[schemars(extend("default" = number(defaults::MAX_RETIRED)))]
    pub(super) max_retired: Option<u64>,
}

/// Bounds of all components together.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Total {
    /// Instances at once; each takes 4 GiB of address space, memory only as it is used.
    #[schemars(extend("default" = number(defaults::MAX_INSTANCES)))]
    pub(super) instances: Option<u64>,
    /// Linear memory of all instances. By default three quarters of what the cgroup allows; without one
    /// there is no bound but that of each.
    pub(super) memory: Option<Written<ByteSize>>,
    /// Compiled code that is mapped, in bytes of the code cache. Beyond it what has not run for longest is given back, and
    /// loaded from the code cache again when a request needs it. What runs stays. No bound by default.
    pub(super) code_memory: Option<Written<ByteSize>>,
}

/// One component with what it is given and what it may use.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["source"]))]
pub(super) struct Component {
    /// Its file, .wasm or .wat, relative to the manifest; or where it is pulled from: oci://REGISTRY/REPOSITORY:TAG, with
    /// @sha256:… behind it or in place of the tag, or https://HOST/PATH#sha256=….
    #[schemars(with = "String")]
    pub(super) source: Option<Spanned<String>>,
    /// Requests that a new version must answer with this status before it serves.
    pub(super) smoke: Vec<Written<SmokeCheck>>,
    /// What becomes of a request when the component fails as a plugin of a chain: `open`, it goes
    /// on without the plugin unless that has passed it on; `closed`, it gets 502 or 504.
    #[schemars(extend("default" = "closed"))]
    pub(super) fail: Option<Written<Fail>>,
    /// The file that what it prints goes to, in place of the log of the host; relative to the manifest. SIGUSR1
    /// opens it again.
    pub(super) log: Option<Spanned<String>>,
    /// A component that its outgoing HTTP requests go through, as a plugin: those that its grants allow, and no others.
    pub(super) egress: Option<Spanned<String>>,
    /// What it may use. A limit that is not here is as in the table limits.
    pub(super) limits: Limits,
    /// How far instances are reused. A fresh instance for each request by default.
    pub(super) reuse: Option<Spanned<Reuse>>,
    /// Fresh instances begin where one was behind its `on-start`, which runs once, when the component is loaded.
    #[schemars(extend("default" = false))]
    pub(super) snapshot: Option<Spanned<bool>>,
    /// Puts the component aside for a while when it keeps failing. Never by default.
    pub(super) breaker: Option<Spanned<Breaker>>,
    /// Has a new version take over step by step, judged by its traffic. At once by default.
    pub(super) canary: Option<Spanned<Canary>>,
    /// What it is given beyond the sandbox. Nothing by default.
    pub(super) grants: Grants,
}

/// How far instances are reused. Nothing of one request is left for the next without it; it is for
/// guests that are slow to start and to be trusted that far.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["exchanges"]))]
pub(super) struct Reuse {
    /// Requests that one instance serves in its life.
    #[schemars(with = "u64")]
    pub(super) exchanges: Option<u64>,
    /// Requests that one instance serves at once; for wasi:http 0.3.
    #[schemars(extend("default" = number(defaults::REUSE_CONCURRENCY)))]
    pub(super) concurrency: Option<u64>,
    /// How long an instance waits for its next request before it ends.
    #[schemars(extend("default" = defaults::REUSE_IDLE))]
    pub(super) idle: Option<Written<HumanDuration>>,
}

/// When a component that keeps failing is put aside.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Breaker {
    /// Failures (traps, time-outs) that open it.
    #[schemars(extend("default" = number(defaults::BREAKER_FAILURES)))]
    pub(super) failures: Option<u64>,
    /// The time within which they count.
    #[schemars(extend("default" = defaults::BREAKER_WITHIN))]
    pub(super) within: Option<Written<HumanDuration>>,
    /// How long requests get 503 with Retry-After then.
    #[schemars(extend("default" = defaults::BREAKER_PAUSE))]
    pub(super) pause: Option<Written<HumanDuration>>,
}

/// How a new version takes over from the one before, after a reload or a swap.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Canary {
    /// What the new version gets of the exchanges after a first step of 1%; from there its share doubles with each
    /// step, until it gets all. At most 50%.
    #[schemars(extend("default" = defaults::CANARY_SHARE))]
    pub(super) share: Option<Written<TrafficShare>>,
    /// From its first exchange until it gets all of them. At least 1s.
    #[schemars(extend("default" = defaults::CANARY_PERIOD))]
    pub(super) r#for: Option<Written<HumanDuration>>,
    /// What takes it back: `errors > SHARE`, `pN > FACTORx` or `pN > TIME`, several with a comma between them;
    /// `never` for nothing.
    #[schemars(extend("default" = defaults::CANARY_ABORT_IF))]
    pub(super) abort_if: Option<Written<AbortRules>>,
    /// Which exchanges stay with one version: `off`, each is decided by itself; `connection`; or `header:NAME`, those
    /// with the same value of it.
    #[schemars(extend("default" = "off"))]
    pub(super) sticky: Option<Written<Stickiness>>,
}

/// What a component is given beyond the sandbox. Each ability adds its own keys here (`abilities/`).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Grants {
    /// Which addresses the names in outgoing and tcp may lead to beyond public ones: loopback,
    /// private, link-local.
    pub(super) outgoing_addresses: Vec<Written<Reached>>,
    /// Where stdout and stderr go: `log`, line by line under the component's name, or `off`.
    #[schemars(extend("default" = "log"))]
    pub(super) stdio: Option<Written<Stdio>>,
}

/// Where key-value buckets are kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["backend"]))]
pub(super) struct Store {
    /// `memory`, until the process ends; `disk`, a database file; `redis`, a server.
    #[schemars(with = "Written<Backend>")]
    pub(super) backend: Option<Written<Backend>>,
    /// The file of `disk`; relative to the manifest. It is made if it is missing.
    pub(super) path: Option<Spanned<String>>,
    /// The server of `redis`: redis://HOST:PORT/DATABASE, or unix:///PATH?db=DATABASE.
    pub(super) url: Option<SecretText>,
}

/// The schema of the whole file with the keys of these abilities; in one piece without references if
/// `inline`.
pub(super) fn schema(inline: bool, abilities: &[AbilitySyntax]) -> Schema {
    let mut transform = RecursiveTransform(without_null);
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = inline)
        .with_transform(transform.clone());
    let mut generator = settings.into_generator();
    let tables: Vec<(KeyTable, Schema)> =
        abilities.iter().map(|it| (it.place, (it.schema)(&mut generator))).collect();
    let mut root = generator.into_root_schema_for::<Raw>();
    for (place, table) in tables {
        let within = match (inline, place) {
            (true, KeyTable::Component) => "/properties/component/additionalProperties/properties",
            (true, KeyTable::Grants) => {
                "/properties/component/additionalProperties/properties/grants/properties"
            }
            (false, KeyTable::Component) => "/$defs/Component/properties",
            (false, KeyTable::Grants) => "/$defs/Grants/properties",
        };
        let keys = root.pointer_mut(within).and_then(Value::as_object_mut);
        if let (Some(keys), Some(Value::Object(own))) = (keys, table.get("properties")) {
            keys.extend(own.clone());
        }
    }
    transform.transform(&mut root);
    root
}

/// The keys of an ability.
pub(super) fn keys(ability: &AbilitySyntax) -> Vec<String> {
    let table = (ability.schema)(&mut SchemaSettings::draft2020_12().into_generator());
    let keys = table.get("properties").and_then(Value::as_object);
    keys.into_iter().flat_map(|keys| keys.keys().cloned()).collect()
}

/// What may be left out is not null: TOML has none.
fn without_null(schema: &mut Schema) {
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    let Some(Value::Array(types)) = schema.get_mut("type") else { return };
    types.retain(|one| one != "null");
    if let [only] = types.as_slice() {
        let only = only.clone();
        schema.insert("type".into(), only);
    }
}
