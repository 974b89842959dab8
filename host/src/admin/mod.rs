//! What operators use: the control socket, health and the dashboard, and the process as they see it.

mod convert;
mod keyvalue;
mod limits;
mod log_counts;
mod metrics;
mod phases;
mod process;
mod rate_limits;
mod seen;
mod sockets;
mod tls;
mod traffic;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use host_handover::ListenerKind;
use host_lifecycle::Lifecycle;
use host_telemetry::Window;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{ControlSetting, ServeConfig};
use crate::control::schema::StopEnd;
use crate::control::{self, ControlServer, DashboardServer, HealthServer, SocketChoice};
use crate::exit::Exit;
use crate::upgrade::{Predecessor, Upgrader};
use process::Admin;
use sockets::OperatorSockets;

pub(crate) use log_counts::LogCounts;
pub(crate) use process::Serving;
pub(crate) use seen::Seen;

/// A client that follows the stop over the control socket has this long to read how it ended.
const LAST_LINE_PATIENCE: Duration = Duration::from_millis(500);

/// The control socket, health and the dashboard, open. Dropping it closes them.
#[derive(Debug)]
pub(crate) struct AdminServers {
    ended: watch::Sender<Option<StopEnd>>,
    control: Option<ControlServer>,
    health: Option<HealthServer>,
    dashboard: Option<DashboardServer>,
    /// Reads what components use.
    _usage: AbortOnDropHandle<()>,
}

impl AdminServers {
    /// Opens what operators use, before anything is loaded. What is served is announced, once it is, by
    /// the sender that is returned.
    ///
    /// # Errors
    /// A socket or an address that was asked for cannot be had.
    pub(crate) fn open(
        config: &ServeConfig,
        lifecycle: &Lifecycle,
        seen: Seen,
        (upgrader, predecessor): (Upgrader, Option<&Predecessor>),
    ) -> anyhow::Result<(Self, watch::Sender<Option<Serving>>)> {
        let sockets = OperatorSockets::new(&upgrader, predecessor);
        let (runtime, commander) = (lifecycle.runtime(), lifecycle.commander());
        let (announcement, serving) = watch::channel(None);
        let (ended, end) = watch::channel(None);
        // Both end with the lifecycle's runtime: at the end of the process.
        let window = Window::new(seen.traffic.clone());
        drop(runtime.spawn(window.clone().run()));
        let noting = phases::note(lifecycle.watch(), upgrader.gate().clone(), seen.events.clone());
        drop(runtime.spawn(noting));
        let admin = Arc::new(Admin::new(
            config,
            lifecycle,
            (seen, window, upgrader.clone()),
            (serving, end),
        ));
        let usage = AbortOnDropHandle::new(runtime.spawn(admin.usage_meter().run()));
        let health = config.manifest.listen.health.map(|address| {
            let admin = admin.clone();
            let sources = (lifecycle.watch(), move |format| metrics::text(&admin, format));
            let opening = sockets.tcp(ListenerKind::Health, address);
            HealthServer::start(opening, sources, commander.alarm("health"), &runtime)
                .inspect(|health| sockets.offer(ListenerKind::Health, address, health.handle()))
                .with_context(|| format!("cannot answer health on {address}"))
        });
        let health = health.transpose()?;
        let dashboard = config.manifest.listen.dashboard.map(|address| {
            let opening = sockets.tcp(ListenerKind::Dashboard, address);
            DashboardServer::start(opening, admin.clone(), commander.alarm("dashboard"), &runtime)
                .inspect(|shown| sockets.offer(ListenerKind::Dashboard, address, shown.handle()))
                .with_context(|| format!("cannot show the dashboard on {address}"))
        });
        let dashboard = dashboard.transpose()?;
        let choice = match &config.control {
            ControlSetting::Off => SocketChoice::Off,
            ControlSetting::Default => SocketChoice::Default,
            ControlSetting::Path(path) => SocketChoice::Path(path.clone()),
        };
        let control = control::open(sockets.control(choice))?
            .map(|socket| ControlServer::start(socket, admin, commander.alarm("control"), &runtime))
            .transpose()
            .context("serving the control socket")?;
        if let Some(control) = &control {
            let path = control.path().display();
            sockets.offer(ListenerKind::Control, path, control.handle());
        }
        Ok((Self { ended, control, health, dashboard, _usage: usage }, announcement))
    }

    /// Where health is answered and the dashboard is shown, if they are.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let dashboard = self.dashboard.as_ref().map(DashboardServer::address);
        self.health.as_ref().map(HealthServer::address).into_iter().chain(dashboard).collect()
    }

    /// Tells the clients that follow the stop how it ended, and closes. Blocks for at most
    /// [`LAST_LINE_PATIENCE`].
    pub(crate) fn end(self, exit: Exit, report: String) {
        let deadline = Instant::now() + LAST_LINE_PATIENCE;
        self.ended.send_replace(Some(StopEnd { exit: exit.code(), report }));
        if let Some(control) = self.control {
            control.close(deadline.saturating_duration_since(Instant::now()));
        }
        if let Some(dashboard) = self.dashboard {
            dashboard.close(deadline.saturating_duration_since(Instant::now()));
        }
    }
}
