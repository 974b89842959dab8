//! Stores to test with.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::Duration;

use host_manifest::{Namespace, StoreConfig};
use rustix::process::{Pid, Signal};
use tempfile::{TempDir, tempdir};

use crate::{Bucket, Buckets, StoreError, Stores, Swapped};

/// Room for whatever a test does not count.
pub(crate) const ROOM: u64 = 64 << 20;

/// Longer than anything here takes.
pub(crate) const OUTER: Duration = Duration::from_secs(60);

/// The bucket `name` of a component.
pub(crate) fn own(component: &str, name: &str) -> Namespace {
    Namespace::Own(component.into(), name.to_owned())
}

/// Opens spaces of one store, under their numbers.
pub(crate) fn open(
    stores: &Stores,
    store: &StoreConfig,
    spaces: &[Namespace],
    limit: u64,
) -> Buckets {
    let named = spaces.iter().enumerate().map(|(number, space)| {
        let bucket = host_manifest::BucketConfig { store: store.clone(), space: space.clone() };
        (number.to_string(), bucket)
    });
    stores.open(&named.collect::<BTreeMap<_, _>>(), limit).unwrap()
}

/// Opens one bucket of a component of its own.
pub(crate) fn one(stores: &Stores, store: &StoreConfig, limit: u64) -> Bucket {
    open(stores, store, &[own("app", "data")], limit).get("0").unwrap()
}

/// Sets a value if the one before is as expected, and says whether it was.
pub(crate) async fn swap(
    bucket: &Bucket,
    key: &str,
    expected: Option<Vec<u8>>,
    new: Vec<u8>,
) -> Result<bool, StoreError> {
    let swapped = bucket.compare_and_swap(key.to_owned(), expected, Some(new), None).await?;
    Ok(swapped == Swapped::Done)
}

/// Where a test has its database.
pub(crate) fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("data.redb")
}

/// Why a process that shares nothing may not open it.
pub(crate) fn refusal(path: &Path) -> String {
    let bucket = host_manifest::BucketConfig {
        store: StoreConfig::Disk(path.to_owned()),
        space: own("app", "data"),
    };
    let buckets = [("data".to_owned(), bucket)].into();
    Stores::default().open(&buckets, ROOM).unwrap_err().to_string()
}

pub(crate) fn memory() -> StoreConfig {
    StoreConfig::Memory("test".to_owned())
}

/// Stores of each kind, for what holds for all of them.
pub(crate) struct Kinds {
    pub(crate) stores: Vec<StoreConfig>,
    // Before the folder: its socket is in there.
    _server: Option<Server>,
    _folder: TempDir,
}

impl Kinds {
    pub(crate) fn new() -> Self {
        let folder = tempdir().unwrap();
        let server = Server::start(&folder);
        let mut stores = vec![memory(), StoreConfig::Disk(folder.path().join("data.redb"))];
        stores.extend(server.as_ref().map(Server::store));
        Self { stores, _server: server, _folder: folder }
    }
}

/// A Redis server of this test alone. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Starts one and waits until it is ready; none if there is no such program.
    pub(crate) fn start(folder: &TempDir) -> Option<Self> {
        Self::start_with(folder, &[])
    }

    pub(crate) fn start_with(folder: &TempDir, more: &[&str]) -> Option<Self> {
        let started = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(Self::socket(folder))
            .arg("--dir")
            .arg(folder.path())
            .args(more)
            .stdout(Stdio::piped())
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
                skip();
                return None;
            }
            Err(why) => panic!("redis-server: {why}"),
        };
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.any(|line| line.unwrap().contains("eady to accept connections"));
        assert!(ready, "redis-server ended at once");
        // It must not be stopped by a full pipe.
        std::thread::spawn(move || lines.count());
        Some(Self { child, url: Self::url_in(folder) })
    }

    fn socket(folder: &TempDir) -> PathBuf {
        folder.path().join("redis.sock")
    }

    fn url_in(folder: &TempDir) -> String {
        format!("unix://{}", Self::socket(folder).display())
    }

    /// Where a server of this folder will be.
    pub(crate) fn store_in(folder: &TempDir) -> StoreConfig {
        StoreConfig::Redis(Self::url_in(folder))
    }

    pub(crate) fn store(&self) -> StoreConfig {
        StoreConfig::Redis(self.url.clone())
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The folder in which a child writes.
const FOLDER: &str = "HOST_KEYVALUE_TEST_FOLDER";

/// A process that counts up the key `k`, and is gone with the test.
pub(crate) struct Counting(Child);

impl Counting {
    /// `name`: of the test that is the child.
    pub(crate) fn start(name: &str, folder: &TempDir) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// The store to count in, if this process is such a child.
    pub(crate) fn in_child() -> Option<StoreConfig> {
        let folder = std::env::var_os(FOLDER)?;
        Some(StoreConfig::Disk(PathBuf::from(folder).join("data.redb")))
    }

    /// What the child does.
    pub(crate) fn count(bucket: &Bucket) {
        runtime().block_on(async {
            loop {
                let number = bucket.increment("k".to_owned(), 1).await.unwrap();
                #[expect(clippy::print_stdout, reason = "how the parent hears of it")]
                {
                    println!("\ncounted {number}");
                }
            }
        });
    }

    /// Waits until so many writes have been confirmed.
    pub(crate) fn confirmed(&mut self, writes: usize) -> u64 {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        let counted = lines.filter_map(|line| {
            line.unwrap().strip_prefix("counted ").map(|number| number.parse().unwrap())
        });
        counted.take(writes).last().unwrap()
    }
}

impl Drop for Counting {
    /// With SIGKILL.
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[expect(clippy::print_stderr, reason = "a test that did not run says so")]
fn skip() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        eprintln!(
            "redis-server is not installed: nothing is tested with Redis (apt install redis-server)"
        );
    });
}

pub(crate) fn keys<const N: usize>(keys: [&str; N]) -> Vec<String> {
    keys.map(str::to_owned).to_vec()
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
