//! Hooks that a component exports from `host:lifecycle` (`wit/lifecycle.wit`): found when it is linked,
//! called at the start, the drain and the shutdown of an instance.

use host_manifest::escape::quote;
use std::time::Duration;

use tracing::warn;
use wasmtime::Store;
use wasmtime::component::{Accessor, Instance, InstancePre};

use crate::component::code::survey::Kind;
use crate::component::sandbox::guest_failure::{GuestFailure, HookTime};
use crate::component::sandbox::state::GuestState;

/// Bindings, one world per hook, because each may be missing.
mod bindings {
    macro_rules! world {
        ($module:ident, $world:literal, $($how:tt)*) => {
            pub(super) mod $module {
                #![allow(missing_docs, unreachable_pub, trivial_numeric_casts,
                    unused_qualifications, reason = "generated")]
                wasmtime::component::bindgen!({
                    path: "../wit",
                    world: $world,
                    exports: { default: $($how)* },
                });
            }
        };
    }
    world!(start_p2, "start-p2", async);
    world!(drain_p2, "drain-p2", async);
    world!(shutdown_p2, "shutdown-p2", async);
    world!(start_p3, "start-p3", async | store);
    world!(drain_p3, "drain-p3", async | store);
    world!(shutdown_p3, "shutdown-p3", async | store);
}

use bindings::drain_p2::DrainP2Indices;
use bindings::drain_p3::{DrainP3, DrainP3Indices};
use bindings::shutdown_p2::ShutdownP2Indices;
use bindings::shutdown_p3::ShutdownP3Indices;
use bindings::start_p2::StartP2Indices;
use bindings::start_p3::StartP3Indices;

/// The hooks of a component. 0.2 guests export functions, 0.3 guests async functions.
#[derive(Default)]
pub(crate) struct Hooks {
    start: Option<Abi<StartP2Indices, StartP3Indices>>,
    drain: Option<Abi<DrainP2Indices, DrainP3Indices>>,
    shutdown: Option<Abi<ShutdownP2Indices, ShutdownP3Indices>>,
}

enum Abi<P2, P3> {
    P2(P2),
    P3(P3),
}

const START: &str = "on-start";
const DRAIN: &str = "on-drain";
const SHUTDOWN: &str = "on-shutdown";

impl Hooks {
    /// Finds the hooks of a component.
    pub(crate) fn find(pre: &InstancePre<GuestState>, kind: Kind) -> wasmtime::Result<Self> {
        Ok(Self {
            start: find(pre, kind, START, StartP2Indices::new, StartP3Indices::new)?,
            drain: find(pre, kind, DRAIN, DrainP2Indices::new, DrainP3Indices::new)?,
            shutdown: find(pre, kind, SHUTDOWN, ShutdownP2Indices::new, ShutdownP3Indices::new)?,
        })
    }

    /// Whether there is an `on-start`.
    pub(crate) fn has_start(&self) -> bool {
        self.start.is_some()
    }

    /// The same without `on-start`, for instances that begin behind it.
    #[must_use]
    pub(crate) fn without_start(self) -> Self {
        Self { start: None, ..self }
    }

    /// Calls `on-start`, if there is one.
    pub(crate) async fn start(
        &self,
        store: &mut Store<GuestState>,
        instance: &Instance,
        limit: Duration,
    ) -> wasmtime::Result<()> {
        let Some(start) = &self.start else { return Ok(()) };
        let answer = within(START, limit, None, async {
            match start {
                Abi::P2(indices) => {
                    let guest = indices.load(&mut *store, instance)?;
                    guest.host_lifecycle_on_start().call_on_start(&mut *store).await
                }
                Abi::P3(indices) => {
                    let guest = indices.load(&mut *store, instance)?;
                    let call = async |accessor: &Accessor<GuestState>| {
                        guest.host_lifecycle_on_start_async().call_on_start(accessor).await
                    };
                    store.run_concurrent(call).await?
                }
            }
        })
        .await?;
        answer.map_err(|why| wasmtime::Error::from(GuestFailure::StartRefused(quote(&why))))
    }

    /// Whether an instance has a hook for its end.
    pub(crate) fn has_end(&self) -> bool {
        self.shutdown.is_some() || matches!(self.drain, Some(Abi::P2(_)))
    }

    /// Whether an instance has an `on-shutdown`.
    pub(crate) fn has_shutdown(&self) -> bool {
        self.shutdown.is_some()
    }

    /// Calls the hooks that are due at the orderly end of an instance of one exchange. A failed hook does not
    /// fail the exchange before it, so it is only logged.
    ///
    /// `notified` says that the guest needs no `on-drain`, because the instance was made after its end had been
    /// decided.
    pub(crate) async fn end(
        &self,
        store: &mut Store<GuestState>,
        instance: &Instance,
        limit: Duration,
        notified: bool,
    ) {
        let is_due = !notified && store.data().identity().retirement.is_ending();
        if is_due && self.drain(store, instance, limit).await.is_err() {
            // A store whose guest has trapped cannot be entered again.
            return;
        }
        self.shutdown(store, instance, limit).await;
    }

    /// Calls `on-drain` of a 0.2 instance in which no call is running. A 0.3 guest gets it beside its other
    /// work.
    ///
    /// # Errors
    /// When the hook fails, which is logged.
    pub(crate) async fn drain(
        &self,
        store: &mut Store<GuestState>,
        instance: &Instance,
        limit: Duration,
    ) -> wasmtime::Result<()> {
        let Some(Abi::P2(indices)) = &self.drain else { return Ok(()) };
        let left = store.data().identity().retirement.left().unwrap_or(limit);
        within(DRAIN, limit, Some(left), async {
            let guest = indices.load(&mut *store, instance)?;
            guest.host_lifecycle_on_drain().call_on_drain(&mut *store, millis(left)).await
        })
        .await
        .map_err(|why| {
            let why = store.data().explain(why);
            report(store.data(), DRAIN, &why);
            why
        })
    }

    /// Calls `on-shutdown`. A failure is only logged.
    pub(crate) async fn shutdown(
        &self,
        store: &mut Store<GuestState>,
        instance: &Instance,
        limit: Duration,
    ) {
        let Some(shutdown) = &self.shutdown else { return };
        let left = store.data().identity().retirement.left();
        let time = left.map_or(limit, |left| limit.min(left));
        let done = within(SHUTDOWN, limit, left, async {
            match shutdown {
                Abi::P2(indices) => {
                    let guest = indices.load(&mut *store, instance)?;
                    let hook = guest.host_lifecycle_on_shutdown();
                    hook.call_on_shutdown(&mut *store, millis(time)).await
                }
                Abi::P3(indices) => {
                    let guest = indices.load(&mut *store, instance)?;
                    let call = async |accessor: &Accessor<GuestState>| {
                        let hook = guest.host_lifecycle_on_shutdown_async();
                        hook.call_on_shutdown(accessor, millis(time)).await
                    };
                    store.run_concurrent(call).await?
                }
            }
        });
        if let Err(why) = done.await {
            report(store.data(), SHUTDOWN, &store.data().explain(why));
        }
    }

    /// The `on-drain` of a 0.3 guest, which runs beside its other work.
    pub(crate) fn beside(
        &self,
        store: &mut Store<GuestState>,
        instance: &Instance,
    ) -> wasmtime::Result<Option<Beside>> {
        let Some(Abi::P3(indices)) = &self.drain else { return Ok(None) };
        indices.load(store, instance).map(|guest| Some(Beside(guest)))
    }
}

/// `on-drain` of a 0.3 instance.
pub(crate) struct Beside(DrainP3);

impl Beside {
    /// Waits until the instance's end has been decided, and calls `on-drain`.
    ///
    /// # Errors
    /// When the guest traps. A hook that takes too long is only logged: the guest may be busy with
    /// exchanges.
    pub(crate) async fn tell(
        &self,
        accessor: &Accessor<GuestState>,
        limit: Duration,
    ) -> wasmtime::Result<()> {
        let identity = accessor.with(|mut access| access.get().identity().clone());
        identity.retirement.ending().await;
        let left = identity.retirement.left().unwrap_or_default();
        let call = self.0.host_lifecycle_on_drain_async();
        let called =
            host_clock::timeout(limit.min(left), call.call_on_drain(accessor, millis(left))).await;
        called.unwrap_or_else(|_| {
            let (component, generation) = (&*identity.component, identity.number);
            warn!(
                component,
                generation,
                hook = DRAIN,
                "guest did not return from its hook in time"
            );
            Ok(())
        })
    }
}

/// Runs a hook within its limit, and within what is `left` of a stop or a swap: under a deadline outside the guest's own event loop, so that a guest which spins cannot
/// delay the deadline.
async fn within<T>(
    hook: &'static str,
    limit: Duration,
    left: Option<Duration>,
    call: impl Future<Output = wasmtime::Result<T>>,
) -> wasmtime::Result<T> {
    let (time, which) = match left {
        Some(left) if left < limit => (left, HookTime::Left),
        _ => (limit, HookTime::Limit),
    };
    match host_clock::timeout(time, call).await {
        Ok(done) => done,
        Err(_) => Err(GuestFailure::HookTooSlow(hook, time, which).into()),
    }
}

fn report(guest: &GuestState, hook: &str, why: &wasmtime::Error) {
    let (component, generation) = (&*guest.identity().component, guest.identity().number);
    let why = GuestFailure::from_error(why);
    let stack = why.stacktrace();
    warn!(component, generation, hook, %why, exception.stacktrace = stack, "guest failed in its hook");
}

fn millis(left: Duration) -> u64 {
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
}

/// Finds one hook. A hook for the other kind of guest would never be called, so it is an error, and so is
/// a hook of another type.
fn find<P2, P3>(
    pre: &InstancePre<GuestState>,
    kind: Kind,
    hook: &str,
    p2: impl FnOnce(&InstancePre<GuestState>) -> wasmtime::Result<P2>,
    p3: impl FnOnce(&InstancePre<GuestState>) -> wasmtime::Result<P3>,
) -> wasmtime::Result<Option<Abi<P2, P3>>> {
    let name = |suffix: &str| format!("host:lifecycle/{hook}{suffix}@0.1.0");
    let has = |name: &str| pre.component().get_export_index(None, name).is_some();
    let (sync, concurrent) = (name(""), name("-async"));
    let (own, other) = match kind {
        Kind::P2 => (&sync, &concurrent),
        Kind::P3 => (&concurrent, &sync),
    };
    if has(other) {
        return Err(wasmtime::Error::msg(format!(
            "a component of {kind} exports {own} and not {other}, which would never be called"
        )));
    }
    if !has(own) {
        return Ok(None);
    }
    Ok(Some(match kind {
        Kind::P2 => Abi::P2(p2(pre)?),
        Kind::P3 => Abi::P3(p3(pre)?),
    }))
}
