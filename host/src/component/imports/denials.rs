//! What wasmtime-wasi refuses a guest, said in the log.
//!
//! It has no hook for that. So the functions by which a guest gets a socket are linked once more, around
//! its own; under the versions of its WIT, which tests of all of them hold on to. Files: `opens.rs`.

use host_manifest::escape::quote;
use wasmtime::component::Linker;
use wasmtime_wasi::sockets::WasiSocketsView as _;
use wasmtime_wasi::{TrappableError, p2, p3};

use crate::component::sandbox::log_limit::log_limited;
use crate::component::sandbox::state::GuestState;
use crate::descriptors;

/// A result as a guest sees it.
pub(crate) fn guest_result<T, E>(
    result: Result<T, TrappableError<E>>,
) -> wasmtime::Result<Result<T, E>>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match result {
        Ok(made) => Ok(Ok(made)),
        Err(why) => why.downcast().map(Err),
    }
}

impl GuestState {
    /// Whether the process can spare a descriptor.
    pub(crate) fn has_descriptor(&self) -> bool {
        let left = descriptors::are_left_for_guests();
        if !left {
            log_limited!(
                warn,
                self.identity(),
                descriptors,
                "file or socket refused: three quarters of the process's descriptors are taken \
                 (`ulimit -n`, LimitNOFILE=)"
            );
        }
        left
    }

    fn tcp_refused(&self) {
        log_limited!(
            warn,
            self.identity(),
            sockets,
            "socket refused: none is granted (grants.tcp)"
        );
    }

    fn udp_refused(&self) {
        log_limited!(warn, self.identity(), sockets, "socket refused: nobody is granted udp");
    }

    pub(crate) fn path_refused(&self, path: &str) {
        log_limited!(
            warn,
            self.identity(),
            paths,
            path = quote(path),
            "path refused: it leads out of its directory, or may only be read (grants.directories)"
        );
    }

    pub(crate) fn neither_refused(&self, path: &str) {
        log_limited!(
            warn,
            self.identity(),
            paths,
            path = quote(path),
            "path refused: it is neither a file nor a directory, but a fifo, a socket or a device"
        );
    }
}

/// Links what guests of every kind have.
pub(crate) fn add_p2(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
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
                store.data().tcp_refused();
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
                    store.data().udp_refused();
                }
                Ok((made,))
            })
        },
    )?;
    Ok(())
}

/// Links what takes an engine with component-model async.
pub(crate) fn add_p3(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
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
                store.data().tcp_refused();
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
                    store.data().udp_refused();
                }
                Ok((made,))
            })
        },
    )?;
    Ok(())
}
