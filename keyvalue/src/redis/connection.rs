//! The connection to a server: one for all buckets in it, made when it is first needed, and made
//! again by itself.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo as _,
    ProtocolVersion, RedisError, ScriptInvocation,
};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::error::{Failure, OpenError};
use crate::health::Health;
use crate::limits::REDIS_DEADLINE;

/// How long one attempt to connect may take. Half of what a command has.
const CONNECT: Duration = Duration::from_secs(1);

/// More attempts, after [`FIRST_PAUSE`] and then twice that: a server that restarts is back within
/// that, and one that is down is told of before the request's patience is at its end.
const MORE_ATTEMPTS: usize = 2;

/// See [`MORE_ATTEMPTS`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// A peer that no packet reaches any more: the kernel would try for a quarter of an hour.
const UNREACHABLE: Duration = Duration::from_secs(5);

/// A server, and the connection to it. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Redis {
    client: Client,
    manager: OnceCell<ConnectionManager>,
    health: Health,
}

impl Redis {
    /// Reads the URL. Asks nobody.
    pub(crate) fn open(url: &str) -> Result<Self, OpenError> {
        let info = url.into_connection_info().map_err(|why| refused(url, &why))?;
        let health = Health::new(shown(&info));
        let settings = TcpSettings::default().set_nodelay(true).set_user_timeout(UNREACHABLE);
        // The newer protocol tells at once when the server is gone, not with the next command.
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.set_tcp_settings(settings).set_redis_settings(redis);
        let client = Client::open(info).map_err(|why| refused(url, &why))?;
        Ok(Self { client, manager: OnceCell::new(), health })
    }

    /// One operation, within its deadline.
    pub(super) async fn call<T: FromRedisValue>(&self, call: &Call<'_>) -> Result<T, Failure> {
        let result = match timeout(REDIS_DEADLINE, self.run(call)).await {
            Ok(result) => result.map_err(|why| Failure::Unavailable(why.to_string())),
            Err(_) => Err(Failure::Unavailable(format!(
                "no answer within {} s",
                REDIS_DEADLINE.as_secs()
            ))),
        };
        self.health.saw(&result);
        result
    }

    async fn run<T: FromRedisValue>(&self, call: &Call<'_>) -> Result<T, RedisError> {
        let manager = self.manager.get_or_try_init(async || self.connect()).await?;
        match call.run(&mut manager.clone()).await {
            // That may be the outcome of an attempt of long ago, and nothing has been sent.
            Err(why) if why.is_connection_refusal() => call.run(&mut manager.clone()).await,
            result => result,
        }
    }

    /// In the runtime of the first operation, which is where the connection lives.
    fn connect(&self) -> Result<ConnectionManager, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None)
            .set_number_of_retries(MORE_ATTEMPTS)
            .set_min_delay(FIRST_PAUSE);
        ConnectionManager::new_lazy_with_config(self.client.clone(), config)
    }
}

/// What is asked of a server.
pub(super) enum Call<'a> {
    Command(Cmd),
    Script(ScriptInvocation<'a>),
}

impl Call<'_> {
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
    use tokio::net::TcpListener;
    use tokio::time::Instant;

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

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_is_an_error_at_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let redis = Redis::open(&format!("redis://{}", listener.local_addr().unwrap())).unwrap();
        for _ in 0..2 {
            let begun = Instant::now();
            let result: Result<bool, _> = redis.call(&Call::Command(redis::cmd("PING"))).await;
            assert!(matches!(result, Err(Failure::Unavailable(_))), "{result:?}");
            assert!(begun.elapsed() <= REDIS_DEADLINE + Duration::from_millis(1));
        }
    }
}
