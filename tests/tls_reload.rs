//! Certificates are replaced while connections go on: in four ways, whole or not at all, and nobody notices.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper::{Request, StatusCode, body::Bytes};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsConnector;

use crate::support::app::version;
use crate::support::certificates::{Authority, Issued, TlsConn};
use crate::support::metrics::{self, Metrics};
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::status::{json, status};

/// Serves over TLS with a certificate for `localhost`.
fn serving() -> (Authority, Host) {
    let authority = Authority::new("test");
    authority.write("a", "localhost");
    let host = Host::serve("hello_p2").no_tcp().control().args(authority.flags("a")).start();
    host.wait_log(says::WATCHING);
    (authority, host)
}

/// The certificate of the next handshake.
#[track_caller]
fn is_shown(authority: &Authority, host: &Host, issued: &Issued) -> bool {
    authority.client().connect(host, "localhost").unwrap().shown() == *issued.der()
}

/// Part of what the log says of certificates that are in use from then on.
const RELOADED: &str = "; certificates: 127.0.0.1:0: localhost until";

#[test]
fn a_certificate_is_replaced_when_its_files_change() {
    let (authority, host) = serving();
    let mut before = authority.client().connect(&host, "localhost").unwrap();
    for nth in 1..=3 {
        let next = authority.write("a", "localhost");
        host.wait_log_nth(RELOADED, nth);
        assert!(is_shown(&authority, &host, &next));
    }
    // Without a rename, the certificate first.
    let next = authority.issue(&["localhost"]);
    fs::write(authority.file("a.pem"), next.pem()).unwrap();
    fs::write(authority.file("a.key"), next.key_pem()).unwrap();
    host.wait_log_nth(RELOADED, 4);
    assert!(is_shown(&authority, &host, &next));
    assert_eq!(before.get("/").unwrap().status(), 200, "it began five certificates ago");
}

/// Kubernetes mounts a Secret behind two links, and turns the first of them.
#[test]
fn a_certificate_is_replaced_when_the_link_to_its_folder_is_turned() {
    let authority = Authority::new("test");
    let issue = |folder: &str| {
        fs::create_dir(authority.file(folder)).unwrap();
        authority.write(&format!("{folder}/tls"), "localhost")
    };
    let first = issue("..1");
    symlink("..1", authority.file("..data")).unwrap();
    for file in ["tls.pem", "tls.key"] {
        symlink(format!("..data/{file}"), authority.file(file)).unwrap();
    }
    let host = Host::serve("hello_p2").no_tcp().args(authority.flags("tls")).start();
    host.wait_log(says::WATCHING);
    assert!(is_shown(&authority, &host, &first));
    let second = issue("..2");
    symlink("..2", authority.file("..new")).unwrap();
    fs::rename(authority.file("..new"), authority.file("..data")).unwrap();
    host.wait_log(RELOADED);
    assert!(is_shown(&authority, &host, &second));
}

/// Files on a file system that tells of no change are read when somebody asks.
#[test]
fn a_certificate_is_replaced_by_a_signal_and_by_both_commands() {
    let (authority, host) = serving();
    type Ask = fn(&Host) -> Value;
    let ways: [(&str, Ask); 3] = [
        ("reload-tls", |host| json(&host.ctl(["--json", "reload-tls"]))),
        ("reload", |host| json(&host.ctl(["--json", "reload"]))),
        ("SIGHUP", |host| {
            let mark = host.mark();
            host.signal(Signal::HUP);
            host.wait_log_after(mark, "asked=\"SIGHUP\"");
            host.wait_log_after(mark, says::SWAP);
            Value::Null
        }),
    ];
    for (way, ask) in ways {
        let answer = ask(&host);
        let unchanged = answer["outcome"] == "reloaded" && answer.get("certificates").is_none();
        assert!(
            answer.is_null() || unchanged || answer["outcome"] == "unchanged",
            "{way}: {answer}"
        );
        let next = authority.write("a", "localhost");
        // The watch may have been first: then there is nothing new, and the certificate is shown all the same.
        ask(&host);
        if way == "SIGHUP" {
            host.wait_log_nth(RELOADED, 3);
        }
        assert!(is_shown(&authority, &host, &next), "{way}");
    }
    let exit = Host::serve("hello_p2").control().start().ctl(["reload-tls"]);
    exit.expect_code(1);
    assert!(exit.stderr.contains("no listener has TLS"), "{exit:?}");
}

/// Whatever is wrong with the files: the old pair stays, it is said why, and what was wrong is taken once it is right.
#[test]
fn a_pair_that_cannot_be_used_leaves_the_old_one_in_place_and_says_why() {
    let (authority, host) = serving();
    let first = authority.issue(&["localhost"]);
    authority.put("a", &first);
    host.wait_log(RELOADED);
    let other = authority.issue(&["localhost"]);
    let half = other.pem().split_at(other.pem().len() / 2).0.to_owned();
    let ended = authority.issue_until(&["localhost"], 2021);
    for (pem, key, says) in [
        (other.pem(), first.key_pem(), "is not that of the certificate"),
        (half, other.key_pem(), "breaks off in the middle of a section"),
        (ended.pem(), ended.key_pem(), "ended 2021-01-01T00:00:00Z; renew it"),
        (String::new(), other.key_pem(), "is empty; write it anew"),
        (other.pem(), String::new(), "is empty; write it anew"),
    ] {
        let mark = host.mark();
        authority.put_text("a.pem", &pem);
        authority.put_text("a.key", &key);
        let exit = host.ctl(["reload-tls"]);
        assert_ne!(exit.code, 0, "{says}");
        assert!(
            exit.stderr.contains("certificates") && exit.stderr.contains(says),
            "{}",
            exit.stderr
        );
        let whole = host.ctl(["reload"]);
        assert!(whole.code != 0 && whole.stderr.contains(says), "{}", whole.stderr);
        host.wait_log_after(mark, says);
        let errors = &status(&host)["tls"][0]["errors"];
        assert!(errors[0].as_str().unwrap().contains(says), "{errors}");
        assert!(is_shown(&authority, &host, &first), "{says}");
    }
    fs::remove_file(authority.file("a.pem")).unwrap();
    assert!(host.ctl(["reload-tls"]).stderr.contains("cannot be read: No such file"));
    let mark = host.mark();
    authority.put("a", &other);
    host.wait_log_after(mark, RELOADED);
    assert!(is_shown(&authority, &host, &other), "by the watch, without being asked");
    assert_eq!(status(&host)["tls"][0]["errors"], json!([]));
    for secret in [&first, &other, &ended].map(Issued::key_pem) {
        let line = secret.lines().nth(1).unwrap().to_owned();
        assert!(!host.log().contains(&line), "a key is in the log");
    }
}

#[test]
fn a_reload_of_a_manifest_changes_certificates_with_all_else_or_nothing() {
    let authority = Authority::new("test");
    let (_, second) = (authority.write("a", "localhost"), authority.write("b", "localhost"));
    let manifest = |file: &str, more: &str| {
        let [cert, key] = ["pem", "key"].map(|end| authority.file(&format!("{file}.{end}")));
        format!(
            "[listen]\ntrusted-proxies = [\"10.0.0.0/8\"]\n\
             [component.app]\nsource = \"guest:version_a_p2\"\n{more}[[listener]]\n\
             address = \"127.0.0.1:0\"\ntls = {{ cert = \"{cert}\", key = \"{key}\" }}\n"
        )
    };
    let site = Site::new(&manifest("a", ""));
    let host = site.serve().no_tcp().control().start();
    let mut conn = authority.client().connect(&host, "localhost").unwrap();
    site.write(&manifest("b", ""));
    let answer = json(&host.ctl(["--json", "reload"]));
    assert_eq!(
        (&answer["outcome"], &answer["restart"]),
        (&json!("reloaded"), &json!([])),
        "{answer}"
    );
    assert_eq!(answer["certificates"].as_array().unwrap().len(), 1, "{answer}");
    assert!(is_shown(&authority, &host, &second));
    authority.put_text("a.key", "");
    site.write(&manifest("a", "limits.memory = \"1MiB\"\n"));
    let exit = host.ctl(["reload"]);
    assert!(exit.code != 0 && exit.stderr.contains("rejected (certificates): "), "{exit:?}");
    assert!(exit.stderr.contains("host.toml:8: listener 127.0.0.1:0: "), "{exit:?}");
    assert_eq!(status(&host)["components"][0]["generation"], 1, "nothing of it");
    assert!(is_shown(&authority, &host, &second));
    site.write(&(manifest("b", "") + "proxy-protocol = true\n"));
    let answer = json(&host.ctl(["--json", "reload"]));
    assert_eq!(answer["restart"], json!(["[[listener]] 127.0.0.1:0"]), "{answer}");
    // One more, under a name.
    let more = "[[listener]]\nname = \"inside\"\naddress = \"127.0.0.1:0\"\n";
    site.write(&(manifest("b", "") + more));
    let answer = json(&host.ctl(["--json", "reload"]));
    assert_eq!(answer["restart"], json!(["[[listener]] inside"]), "{answer}");
    site.write(&(manifest("b", "") + "tls-min = \"1.3\"\n"));
    let answer = json(&host.ctl(["--json", "reload"]));
    assert_eq!(answer["certificates"], json!(["127.0.0.1:0: its settings"]), "{answer}");
    assert_eq!(conn.get("/").unwrap().status(), 200);
}

/// The change was refused for a certificate that had nothing to do with it, and would have been forgotten.
#[test]
fn a_component_that_changes_beside_a_broken_certificate_is_swapped_once_that_is_right() {
    let authority = Authority::new("test");
    authority.write("a", "localhost");
    let [cert, key] = ["a.pem", "a.key"].map(|file| authority.file(file));
    let site = Site::with(
        &format!(
            "[component.app]\nsource = \"app.wasm\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
             tls = {{ cert = \"{cert}\", key = \"{key}\" }}\n"
        ),
        &[("app.wasm", "version_a_p2")],
    );
    let host = site.serve().no_tcp().args(["--watch"]).start();
    // Of what is served, and of certificates.
    host.wait_log_nth(says::WATCHING, 2);
    authority.put_text("a.key", "");
    host.wait_log("a.key is empty");
    site.put("app.wasm", "version_b_p2");
    // The first one was asked for by the certificate; the whole reload comes behind it.
    host.wait_log_nth("rejected at step certificates: ", 2);
    authority.write("a", "localhost");
    host.wait_log("changed: app");
    let mut conn = authority.client().connect(&host, "localhost").unwrap();
    assert_eq!(version(&conn.get("/").unwrap()), "b");
}

#[test]
fn sessions_are_resumed_over_reloads_and_at_every_listener() {
    let authority = Authority::new("test");
    authority.write("a", "localhost");
    let host = Host::serve("hello_p2").no_tcp().control().args(authority.flags("a")).start();
    let config = authority.client().config();
    let mut resumed = Vec::new();
    for _ in 0..4 {
        let mut conn = TlsConn::new(&host, &config, "localhost").unwrap();
        // The tickets come behind the response, at the latest.
        assert_eq!(conn.get("/").unwrap().status(), 200);
        resumed.push(conn.is_resumed());
        let next = authority.write("a", "localhost");
        host.ctl(["reload-tls"]).expect_code(0);
        assert!(is_shown(&authority, &host, &next));
    }
    assert_eq!(resumed, [false, true, true, true]);
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One connection that is kept, and the task that drives it.
struct Kept {
    sender: Sender,
    connection: JoinHandle<hyper::Result<()>>,
}

enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Kept {
    async fn open(
        address: SocketAddr,
        config: Arc<ClientConfig>,
        h2: bool,
    ) -> Result<Self, Failure> {
        let socket = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost")?;
        let io = TokioIo::new(TlsConnector::from(config).connect(name, socket).await?);
        if h2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            let connection = tokio::spawn(connection);
            return Ok(Self { sender: Sender::Http2(sender), connection });
        }
        let (sender, connection) = http1::handshake(io).await?;
        Ok(Self { sender: Sender::Http1(sender), connection: tokio::spawn(connection) })
    }

    /// Asks once, and expects the whole answer.
    async fn ask(&mut self) -> Result<(), Failure> {
        let request = Request::get("https://localhost/").header("host", "localhost");
        let request = request.body(Empty::<Bytes>::new())?;
        let response = match &mut self.sender {
            Sender::Http1(sender) => sender.send_request(request).await?,
            Sender::Http2(sender) => sender.send_request(request).await?,
        };
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.into_body().collect().await?.to_bytes(), "hello world\n");
        Ok(())
    }
}

/// Sends requests on one connection until it is told to end, and counts the answers.
async fn load(
    (address, config, h2): (SocketAddr, Arc<ClientConfig>, bool),
    ends: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
) -> Result<(), Failure> {
    let mut kept = Kept::open(address, config, h2).await?;
    while !ends.load(Ordering::Relaxed) {
        kept.ask().await?;
        answered.fetch_add(1, Ordering::Relaxed);
    }
    assert!(!kept.connection.is_finished(), "the host has closed it");
    kept.connection.abort();
    Ok(())
}

#[test]
fn a_certificate_is_swapped_100_times_under_load_and_no_connection_notices() {
    const EACH: usize = 3;
    let authority = Authority::new("test");
    authority.write("a", "localhost");
    let flags = authority.flags("a");
    let more = ["--health-addr", "127.0.0.1:0"].map(str::to_owned);
    let host =
        Host::serve("hello_p2").no_tcp().control().args(flags.into_iter().chain(more)).start();
    let Some(Target::Tcp(address)) = host.addrs().last().cloned() else { panic!("no address") };
    let (ends, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut clients = JoinSet::new();
    for n in 0..2 * EACH {
        let h2 = n % 2 == 0;
        let client = authority.client().asking_for(if h2 { &["h2"] } else { &["http/1.1"] });
        let (ends, answered) = (ends.clone(), answered.clone());
        clients.spawn_on(load((address, client.config(), h2), ends, answered), runtime.handle());
    }
    let mut seen = answered.load(Ordering::Relaxed);
    for nth in 0..100 {
        let next = authority.write("a", "localhost");
        host.ctl(["reload-tls"]).expect_code(0);
        assert!(is_shown(&authority, &host, &next), "swap {nth}");
        // Requests go on between any two swaps.
        let until = std::time::Instant::now() + PATIENCE;
        while answered.load(Ordering::Relaxed) == seen {
            assert!(std::time::Instant::now() < until, "no request is answered after swap {nth}");
            std::thread::yield_now();
        }
        seen = answered.load(Ordering::Relaxed);
    }
    ends.store(true, Ordering::Relaxed);
    let outcomes = runtime.block_on(clients.join_all());
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let metrics = Metrics::of(&host);
    let new = metrics.sum("host_tls_reloads_total", &[("outcome", "reloaded")]);
    assert!((new - 100.0).abs() < 0.5, "{new}: {}", metrics::page(&host));
    let accepted = metrics.sum("host_connections_accepted_total", &[]);
    let expected = (2 * EACH + 100) as f64;
    assert!((accepted - expected).abs() < 0.5, "nobody has connected again: {accepted}");
    drop(runtime);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
}
