//! TCP connections: sockets, and the endpoints that they may connect to.

use std::fmt;
use std::sync::Arc;

use host_manifest::abilities::{AbilitySyntax, TCP};
use host_manifest::{ComponentConfig, TcpConfig};
use host_outgoing::Endpoints;
use tracing::warn;
use wasmtime::component::Linker;
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsCtx, WasiSocketsView as _};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, p2, p3};

use super::ability::{Ability, GrantResources, ImportUse};
use super::denials::{guest_result, unreachable_loopback};
use crate::component::sandbox::grants::Grant;
use crate::component::sandbox::log_limit::{LogLimit, log_limited};
use crate::component::sandbox::state::GuestState;

/// The ability.
pub(super) struct TcpAbility;

/// What a guest may do with sockets: nothing without granted endpoints.
struct Sockets(WasiSocketsCtx);

/// What a guest wants of an address.
fn verb(what: SocketAddrUse) -> &'static str {
    match what {
        SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => "bind",
        SocketAddrUse::TcpListen => "listen",
        SocketAddrUse::TcpAccept => "accept",
        SocketAddrUse::TcpConnect => "connect",
        SocketAddrUse::UdpSend => "send",
        SocketAddrUse::UdpReceive => "receive",
    }
}

impl Sockets {
    /// TCP connections to these endpoints. `component` is for the log.
    fn new(component: &str, endpoints: Option<Endpoints>) -> Self {
        let (component, limit) = (Arc::<str>::from(component), Arc::new(LogLimit::default()));
        let mut builder = WasiCtxBuilder::new();
        // Each socket is a descriptor of the process, so a guest without endpoints gets none.
        builder.allow_tcp(endpoints.is_some());
        builder.socket_addr_check(move |address, what| {
            let (endpoints, component) = (endpoints.clone(), component.clone());
            let limit = limit.clone();
            Box::pin(async move {
                let connects = matches!(what, SocketAddrUse::TcpConnect);
                // A connect first binds to an address that the kernel chooses.
                let any = address.ip().is_unspecified() && address.port() == 0;
                let binds = matches!(what, SocketAddrUse::TcpBind) && any;
                let granted = match endpoints {
                    Some(_) if binds => true,
                    // In a task, because wasmtime wants a future that is `Sync`.
                    Some(endpoints) if connects => {
                        let asked = tokio::spawn(async move { endpoints.admits(address).await });
                        asked.await.unwrap_or(false)
                    }
                    _ => false,
                };
                if !granted && let Some(permit) = limit.permit() {
                    let left_out = permit.left_out;
                    let (component, what) = (&*component, verb(what));
                    warn!(component, %address, what, left_out, "socket refused: not granted (grants.tcp)");
                }
                granted
            })
        });
        Self(builder.build().sockets().clone())
    }
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sockets")
    }
}

impl Grant for Sockets {
    fn furnish(&self, wasi: &mut WasiCtx) {
        wasi.sockets().clone_from(&self.0);
    }
}

impl Ability for TcpAbility {
    fn syntax(&self) -> AbilitySyntax {
        TCP
    }

    fn words(&self) -> &'static [&'static str] {
        &["tcp"]
    }

    fn uses(&self) -> &'static [ImportUse] {
        &[ImportUse {
            prefix: "wasi:sockets/",
            what: "network",
            grant: "tcp",
            example: "grants.tcp = [\"tcp://db.example.com:5432\"]",
        }]
    }

    fn warnings(&self, component: &ComponentConfig) -> Vec<String> {
        let named = component.grants.get().into_iter().flat_map(|TcpConfig(endpoints)| endpoints);
        let named = named.filter(|target| target.names_loopback()).map(ToString::to_string);
        unreachable_loopback(component, named)
    }

    fn provide(
        &self,
        component: &ComponentConfig,
        resources: &GrantResources<'_>,
    ) -> Result<Option<Arc<dyn Grant>>, String> {
        let granted: Option<&TcpConfig> = component.grants.get();
        let endpoints = granted.map(|TcpConfig(endpoints)| {
            let forbidden = resources.forbidden.to_owned();
            let (reach, resolver) = (component.grants.reach, resources.resolver.clone());
            Endpoints::new(endpoints.clone(), reach, forbidden, resolver)
        });
        Ok(Some(Arc::new(Sockets::new(&component.name, endpoints))))
    }

    /// Wraps wasmtime's functions that give a guest a socket, because they have no hook for a refusal. They are
    /// linked under the versions of wasmtime's WIT; tests of all of them check that.
    fn link(&self, linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        link_p2(linker)
    }

    fn link_async(&self, linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        link_p3(linker)
    }
}

fn log_tcp_refused(state: &GuestState) {
    log_limited!(warn, state.identity(), "sockets", "socket refused: none is granted (grants.tcp)");
}

fn log_udp_refused(state: &GuestState) {
    log_limited!(warn, state.identity(), "sockets", "socket refused: nobody is granted udp");
}

fn link_p2(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    use p2::bindings::sockets::network::{ErrorCode as SocketError, IpAddressFamily};
    use p2::bindings::sockets::tcp_create_socket::Host as _;
    use p2::bindings::sockets::udp_create_socket::Host as _;

    linker.instance("wasi:sockets/tcp-create-socket@0.2.12")?.func_wrap(
        "create-tcp-socket",
        |mut store, (family,): (IpAddressFamily,)| {
            if !store.data().has_descriptor() {
                return Ok((Err(SocketError::NewSocketLimit),));
            }
            let made = guest_result(store.data_mut().sockets().create_tcp_socket(family))?;
            if matches!(made, Err(SocketError::AccessDenied)) {
                log_tcp_refused(store.data());
            }
            Ok((made,))
        },
    )?;
    linker.instance("wasi:sockets/udp-create-socket@0.2.12")?.func_wrap_async(
        "create-udp-socket",
        |mut store, (family,): (IpAddressFamily,)| {
            Box::new(async move {
                let made =
                    guest_result(store.data_mut().sockets().create_udp_socket(family).await)?;
                if matches!(made, Err(SocketError::AccessDenied)) {
                    log_udp_refused(store.data());
                }
                Ok((made,))
            })
        },
    )?;
    Ok(())
}

fn link_p3(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    use p3::bindings::sockets::types::{
        ErrorCode as SocketError, HostTcpSocket, HostUdpSocket, IpAddressFamily,
    };

    let mut sockets = linker.instance("wasi:sockets/types@0.3.0")?;
    sockets.func_wrap(
        "[static]tcp-socket.create",
        |mut store, (family,): (IpAddressFamily,)| {
            if !store.data().has_descriptor() {
                return Ok((Err(SocketError::OutOfMemory),));
            }
            let made =
                guest_result(HostTcpSocket::create(&mut store.data_mut().sockets(), family))?;
            if matches!(made, Err(SocketError::AccessDenied)) {
                log_tcp_refused(store.data());
            }
            Ok((made,))
        },
    )?;
    sockets.func_wrap_async(
        "[static]udp-socket.create",
        |mut store, (family,): (IpAddressFamily,)| {
            Box::new(async move {
                let made = guest_result(
                    HostUdpSocket::create(&mut store.data_mut().sockets(), family).await,
                )?;
                if matches!(made, Err(SocketError::AccessDenied)) {
                    log_udp_refused(store.data());
                }
                Ok((made,))
            })
        },
    )?;
    Ok(())
}
