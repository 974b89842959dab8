//! The connection of a component to a server: one for all of its buckets there, made when it is
//! first needed, and made again by itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo as _,
    ProtocolVersion, RedisError, ScriptInvocation,
};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::owner::Owners;
use crate::error::{OpenError, StoreError};
use crate::health::{StoreHealth, Trouble};
use crate::limits::REDIS_DEADLINE;

/// How long one attempt to connect may take. Half of what a command has.
const CONNECT: Duration = Duration::from_secs(1);

/// More attempts, after [`FIRST_PAUSE`] and then twice that: a server that restarts is back within
/// that, and one that is down is told of before the request's patience is at its end.
const MORE_ATTEMPTS: usize = 2;

/// See [`MORE_ATTEMPTS`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Before a server that refused a connection (`-LOADING`, `-NOAUTH`, a database that is not there) is asked
/// for another: doubled from the first to the longest. Whatever it refused for may be over.
const FIRST_REFUSAL: Duration = Duration::from_millis(50);

/// See [`FIRST_REFUSAL`]. Half of what an operation has, so that each one asks the server.
const LONGEST_REFUSAL: Duration = Duration::from_secs(1);

/// A peer that no packet reaches any more: the kernel would try for a quarter of an hour.
const UNREACHABLE: Duration = Duration::from_secs(5);

/// Operations of one component that a server works on at a time. It answers a connection's in their
/// order, so many small ones cost little more than one; many large ones would be a pile.
const TOGETHER: u32 = 8;

/// Bytes of a write that count as one more operation: two of the largest go at a time.
const HEAVY: usize = 2 << 20;

/// A server, and one user's connection to it. Dropping it closes the connection.
///
/// Each component has its own: answers come in the order of the questions, so with one connection
/// for all, who asks for much would keep the others waiting.
#[derive(Debug)]
pub(crate) struct Redis {
    server: Arc<Server>,
    link: Mutex<Link>,
    room: Arc<Semaphore>,
}

/// The connection, or what is left of it.
#[derive(Debug, Default)]
struct Link {
    /// None before the first operation, after an answer that was late, and after a refusal.
    manager: Option<ConnectionManager>,
    /// Which manager it is, counted.
    number: u64,
    refusals: u32,
    /// When a server that has refused is asked again.
    again: Option<Instant>,
}

/// A manager for one attempt.
struct Taken {
    manager: ConnectionManager,
    number: u64,
    /// It has been made for this operation.
    fresh: bool,
}

impl Link {
    /// Takes note that the server refused the manager's connection. Others may have seen that before.
    fn refuse(&mut self, number: u64) {
        if self.number == number && self.manager.take().is_some() {
            self.number += 1;
            self.again = Some(Instant::now() + pause(self.refusals));
            self.refusals = self.refusals.saturating_add(1);
        }
    }
}

/// After so many refusals before this one.
fn pause(refusals: u32) -> Duration {
    FIRST_REFUSAL.saturating_mul(2_u32.saturating_pow(refusals)).min(LONGEST_REFUSAL)
}

/// What all who use a server know of it.
#[derive(Debug)]
struct Server {
    client: Client,
    health: StoreHealth,
    owners: Owners,
}

impl Redis {
    /// Reads the URL. Connects to nothing.
    pub(crate) fn open(url: &str) -> Result<Self, OpenError> {
        let info = url.into_connection_info().map_err(|why| refused(url, &why))?;
        let health = StoreHealth::new(shown(&info));
        let settings = TcpSettings::default().set_nodelay(true).set_user_timeout(UNREACHABLE);
        // The newer protocol tells at once when the server is gone, not with the next command.
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.set_tcp_settings(settings).set_redis_settings(redis);
        let client = Client::open(info).map_err(|why| refused(url, &why))?;
        Ok(Self::with_server(Arc::new(Server { client, health, owners: Owners::default() })))
    }

    /// For one more user of the server: nothing is shared but what is known of it.
    pub(crate) fn another(&self) -> Self {
        Self::with_server(self.server.clone())
    }

    /// Whose bytes count together on this server.
    pub(super) fn owners(&self) -> &Owners {
        &self.server.owners
    }

    /// What is wrong with the server.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.server.health.trouble()
    }

    fn with_server(server: Arc<Server>) -> Self {
        let room = Arc::new(Semaphore::new(TOGETHER as usize));
        Self { server, link: Mutex::default(), room }
    }

    /// One operation, within its deadline. `bytes`: what it sends.
    ///
    /// It has its place until the server has answered, also when the caller has gone meanwhile:
    /// the answer is on its way, and as many more behind it would be a pile.
    pub(super) async fn call<T: FromRedisValue + Send + 'static>(
        self: &Arc<Self>,
        call: Call,
        bytes: usize,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + REDIS_DEADLINE;
        let places = u32::try_from(bytes / HEAVY).unwrap_or(TOGETHER).saturating_add(1);
        let place = self.room.clone().acquire_many_owned(places.min(TOGETHER));
        let Ok(Ok(place)) = timeout_at(deadline, place).await else {
            return Err(StoreError::Busy);
        };
        let redis = self.clone();
        let answer = tokio::spawn(async move {
            let result = redis.run(&call, deadline).await;
            drop(place);
            result
        });
        let broke_off = |_| Err(StoreError::Unavailable("the operation broke off".to_owned()));
        answer.await.unwrap_or_else(broke_off)
    }

    async fn run<T: FromRedisValue>(
        &self,
        call: &Call,
        deadline: Instant,
    ) -> Result<T, StoreError> {
        let result = match timeout_at(deadline, self.ask(call)).await {
            Ok(result) => result.map_err(|why| StoreError::Unavailable(why.to_string())),
            Err(_) => {
                // What else is on its way on that connection is late too. It is closed when those
                // who wait for it have given up.
                drop(self.lock().manager.take());
                let limit = REDIS_DEADLINE.as_secs();
                Err(StoreError::Unavailable(format!("no answer within {limit} s")))
            }
        };
        self.server.health.record(&result);
        result
    }

    async fn ask<T: FromRedisValue>(&self, call: &Call) -> Result<T, RedisError> {
        loop {
            self.pause().await;
            let Taken { mut manager, number, fresh } = self.manager()?;
            let mut result = call.run(&mut manager).await;
            // That may be the outcome of an attempt of long ago, and nothing has been sent.
            if result.as_ref().is_err_and(RedisError::is_connection_refusal) {
                result = call.run(&mut manager).await;
            }
            let Err(why) = &result else {
                self.lock().refusals = 0;
                return result;
            };
            if why.is_io_error() || !is_refused(&mut manager).await {
                return result;
            }
            // The manager would give that outcome for ever. One that was there before this operation may
            // have it from long ago too: the server is asked again.
            self.lock().refuse(number);
            if fresh {
                return result;
            }
        }
    }

    /// Waits until a server that has refused is to be asked again.
    async fn pause(&self) {
        let again = self.lock().again;
        if let Some(again) = again {
            sleep_until(again).await;
        }
    }

    /// The connection. It is made in the runtime of the operation that needs it first, which is where
    /// it lives.
    fn manager(&self) -> Result<Taken, RedisError> {
        let mut link = self.lock();
        if let Some(manager) = &link.manager {
            return Ok(Taken { manager: manager.clone(), number: link.number, fresh: false });
        }
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None)
            .set_number_of_retries(MORE_ATTEMPTS)
            .set_min_delay(FIRST_PAUSE);
        let client = self.server.client.clone();
        let new = ConnectionManager::new_lazy_with_config(client, config)?;
        link.manager = Some(new.clone());
        Ok(Taken { manager: new, number: link.number, fresh: true })
    }

    fn lock(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is the connection that an error is of, and not what was asked: a server that has let one in
/// answers to this whatever it thinks of other commands. Errors of I/O the manager mends by itself.
async fn is_refused(manager: &mut ConnectionManager) -> bool {
    let ping: Result<redis::Value, _> = redis::cmd("PING").query_async(manager).await;
    ping.is_err_and(|why| !why.is_io_error())
}

/// What is asked of a server.
pub(super) enum Call {
    Command(Cmd),
    Script(ScriptInvocation<'static>),
}

impl Call {
    async fn run<T: FromRedisValue>(
        &self,
        manager: &mut ConnectionManager,
    ) -> Result<T, RedisError> {
        match self {
            Self::Command(command) => command.query_async(manager).await,
            Self::Script(script) => script.invoke_async(manager).await,
        }
    }
}

/// Where the server is, without the password.
fn shown(info: &ConnectionInfo) -> String {
    let db = info.redis_settings().db();
    match info.addr() {
        ConnectionAddr::Unix(path) => format!("unix://{}?db={db}", path.display()),
        address => format!("redis://{address}/{db}"),
    }
}

fn refused(url: &str, why: &RedisError) -> OpenError {
    if ["rediss:", "valkeys:"].iter().any(|scheme| url.starts_with(scheme)) {
        let why = "TLS is not built in: use redis:// through a local TLS proxy, or a Unix socket";
        return OpenError::Redis(why.to_owned());
    }
    OpenError::Redis(format!(
        "{why}. Write redis://HOST:PORT/DATABASE, redis://USER:PASSWORD@HOST:PORT/DATABASE or \
         unix:///PATH"
    ))
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_url_that_cannot_be_used_is_refused_and_its_password_not_repeated() {
        for url in ["", "localhost", "http://u:secret@h", "redis://:secret@h/x", "redis://"] {
            let refusal = Redis::open(url).unwrap_err().to_string();
            assert!(refusal.contains("redis://HOST:PORT/DATABASE"), "{refusal}");
            assert!(!refusal.contains("secret"), "{refusal}");
        }
        let refusal = Redis::open("rediss://:secret@h").unwrap_err().to_string();
        assert!(refusal.contains("TLS is not built in"), "{refusal}");
        assert!(!refusal.contains("secret"), "{refusal}");
    }

    #[test]
    fn what_the_log_calls_a_server_has_no_password_in_it() {
        for (url, name) in [
            ("redis://user:secret@example.com:7000/3", "redis://example.com:7000/3"),
            ("redis://example.com", "redis://example.com:6379/0"),
            ("unix:///run/redis.sock?db=2&pass=secret", "unix:///run/redis.sock?db=2"),
        ] {
            assert_eq!(shown(&url.into_connection_info().unwrap()), name);
        }
    }

    #[test]
    fn pauses_after_refusals_grow_to_less_than_an_operation_has() {
        let pauses: Vec<_> = [0, 1, 2, 4, 5, 99].map(|refusals| pause(refusals).as_millis()).into();
        assert_eq!(pauses, [50, 100, 200, 800, 1000, 1000]);
        assert!(LONGEST_REFUSAL < REDIS_DEADLINE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_is_an_error_at_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let redis = Arc::new(Redis::open(&url).unwrap());
        for _ in 0..2 {
            let begun = Instant::now();
            let ping = Call::Command(redis::cmd("PING"));
            let result: Result<bool, _> = redis.call(ping, 0).await;
            assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
            assert!(begun.elapsed() <= REDIS_DEADLINE + Duration::from_millis(1));
        }
    }

    /// An operation is on its way even if its caller has left: as many more would be a pile.
    #[tokio::test(start_paused = true)]
    async fn callers_that_leave_keep_their_places_until_the_deadline_and_no_longer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let redis = Arc::new(Redis::open(&url).unwrap());
        let ping = || Call::Command(redis::cmd("PING"));
        let begun = Instant::now();
        for _ in 0..TOGETHER {
            let mut call = std::pin::pin!(redis.call::<bool>(ping(), 0));
            let left = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending()));
            assert!(left.await);
        }
        assert_eq!(redis.room.available_permits(), 0);
        assert_eq!(redis.another().room.available_permits(), TOGETHER as usize);
        redis.room.acquire_many(TOGETHER).await.unwrap().forget();
        assert!(begun.elapsed() <= REDIS_DEADLINE + Duration::from_millis(1));
        // A caller that gets no place hears of it at its own deadline, and has asked nothing.
        let begun = Instant::now();
        assert_eq!(redis.call::<bool>(ping(), 0).await, Err(StoreError::Busy));
        assert!(begun.elapsed() <= REDIS_DEADLINE + Duration::from_millis(1));
    }
}
