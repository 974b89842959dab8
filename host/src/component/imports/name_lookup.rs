//! Look-ups of names for guests (`wasi:sockets/ip-name-lookup`), with the resolver of their component.
//!
//! wasmtime's own look-up asks the system, without a bound, on the threads that read files for all
//! components: one request with thousands of names blocked the files and databases of all components,
//! and a stop.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::vec;

use host_manifest::abilities::{AbilitySyntax, NAME_LOOKUP};
use host_manifest::escape::quote;
use host_manifest::{ComponentConfig, NameLookupConfig};
use host_outgoing::{Lookup, LookupError};
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::{Pollable, subscribe};
use wasmtime_wasi::p3::bindings::sockets::ip_name_lookup::ErrorCode as ErrorCodeP3;
use wasmtime_wasi::p3::bindings::sockets::types::IpAddress as IpAddressP3;

use super::ability::{Ability, GrantResources, ImportUse};
use crate::component::sandbox::grants::Grant;
use crate::component::sandbox::log_limit::log_limited;
use crate::component::sandbox::state::GuestState;

/// A look-up of a 0.2 guest, which asks for one address after the other. Dropped with its handle, or with
/// the store.
enum Addresses {
    Asked(Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, LookupError>> + Send>>),
    Known(vec::IntoIter<IpAddr>),
    Failed(LookupError),
}

impl Addresses {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Asked(asked) = self {
            *self = match ready!(asked.as_mut().poll(cx)) {
                Ok(found) => Self::Known(found.into_iter()),
                Err(why) => Self::Failed(why),
            };
        }
        Poll::Ready(())
    }

    fn next(&mut self) -> Result<Option<IpAddress>, ErrorCode> {
        if self.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            return Err(ErrorCode::WouldBlock);
        }
        match self {
            Self::Asked(_) => Err(ErrorCode::WouldBlock),
            Self::Known(left) => Ok(left.next().map(IpAddress::from)),
            Self::Failed(why) => Err(error_p2(why)),
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Addresses {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }
}

fn error_p2(why: &LookupError) -> ErrorCode {
    match why {
        LookupError::NotAName => ErrorCode::InvalidArgument,
        LookupError::Timeout => ErrorCode::TemporaryResolverFailure,
        _ => ErrorCode::NameUnresolvable,
    }
}

fn error_p3(why: &LookupError) -> ErrorCodeP3 {
    match why {
        LookupError::NotAName => ErrorCodeP3::InvalidArgument,
        LookupError::Timeout => ErrorCodeP3::TemporaryResolverFailure,
        _ => ErrorCodeP3::NameUnresolvable,
    }
}

/// The ability.
pub(super) struct NameLookupAbility;

/// The look-up of a component.
#[derive(Debug)]
struct NameLookupGrant(Lookup);

impl Grant for NameLookupGrant {}

impl Ability for NameLookupAbility {
    fn syntax(&self) -> AbilitySyntax {
        NAME_LOOKUP
    }

    fn words(&self) -> &'static [&'static str] {
        &["tcp"]
    }

    /// Programs that connect import the look-up too, so the import tells nothing more than `tcp` does.
    fn uses(&self) -> &'static [ImportUse] {
        &[]
    }

    fn is_used_by(&self, imports: &[String]) -> bool {
        imports.iter().any(|name| name.starts_with("wasi:sockets/"))
    }

    fn provide(
        &self,
        component: &ComponentConfig,
        resources: &GrantResources<'_>,
    ) -> Result<Option<Arc<dyn Grant>>, String> {
        let granted: Option<&NameLookupConfig> = component.grants.get();
        let lookup = || Lookup::new(resources.resolver.clone());
        Ok(granted.map(|_| Arc::new(NameLookupGrant(lookup())) as _))
    }

    fn link(&self, linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        link_p2(linker)
    }

    fn link_async(&self, linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        link_p3(linker)
    }
}

impl GuestState {
    /// The look-up, if it is granted.
    fn granted_lookup(&self, name: &str) -> Option<Lookup> {
        let granted = self.grants().get().map(|NameLookupGrant(lookup)| lookup.clone());
        if granted.is_none() {
            log_limited!(
                warn,
                self.identity(),
                "lookups",
                name = quote(name),
                "name look-up refused: not granted (grants.name-lookup)"
            );
        }
        granted
    }
}

fn link_p2(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut names = linker.instance("wasi:sockets/ip-name-lookup@0.2.12")?;
    names.resource(
        "resolve-address-stream",
        ResourceType::host::<Addresses>(),
        |mut store, rep| {
            store.data_mut().table().delete(Resource::<Addresses>::new_own(rep))?;
            Ok(())
        },
    )?;
    names.func_wrap(
        "resolve-addresses",
        |mut store, (network, name): (Resource<Network>, String)| {
            let state = store.data_mut();
            // The network handle carries the right to ask. wasmtime gives one to every guest.
            state.table().get(&network)?;
            let Some(lookup) = state.granted_lookup(&name) else {
                return Ok((Err(ErrorCode::PermanentResolverFailure),));
            };
            let asked = async move { lookup.lookup(&name).await };
            let mut addresses = Addresses::Asked(Box::pin(asked));
            let known = addresses.poll(&mut Context::from_waker(Waker::noop()));
            match (known, &addresses) {
                (Poll::Ready(()), Addresses::Failed(why)) => Ok((Err(error_p2(why)),)),
                _ => Ok((Ok(state.table().push(addresses)?),)),
            }
        },
    )?;
    names.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store, (addresses,): (Resource<Addresses>,)| {
            Ok((store.data_mut().table().get_mut(&addresses)?.next(),))
        },
    )?;
    names.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store, (addresses,): (Resource<Addresses>,)| {
            Ok((subscribe(store.data_mut().table(), addresses)?,))
        },
    )?;
    Ok(())
}

fn link_p3(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.instance("wasi:sockets/ip-name-lookup@0.3.0")?.func_wrap_concurrent(
        "resolve-addresses",
        |accessor, (name,): (String,)| {
            Box::pin(async move {
                let lookup = accessor.with(|mut access| access.get().granted_lookup(&name));
                let Some(lookup) = lookup else {
                    return Ok((Err(ErrorCodeP3::PermanentResolverFailure),));
                };
                let found = lookup.lookup(&name).await.map_err(|why| error_p3(&why));
                let plain = |found: Vec<IpAddr>| -> Vec<_> {
                    found.into_iter().map(IpAddressP3::from).collect()
                };
                Ok((found.map(plain),))
            })
        },
    )?;
    Ok(())
}
