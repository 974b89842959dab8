//! The strict clients of `drain-test` around whatever a test does meanwhile.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use host_drain_test::{
    Callback, ClientKind, DrainReport, Plan, RefusedBy, StopTrigger, TlsTrust, run,
};
use tokio::runtime::Runtime;

use super::super::PATIENCE;

/// Clients of each kind.
const CLIENTS: usize = 2;
/// The time between two requests of a client, so that the machine has some left for the hosts.
const PAUSE: Duration = Duration::from_millis(4);
/// Load before and after all that a test does.
const MARGIN: Duration = Duration::from_millis(200);

/// Clients of HTTP/1, of every kind: kept, fresh, pipelined, with uploads, and slow readers.
pub fn http1(proxy: SocketAddr) -> Plan {
    let kinds = ClientKind::HTTP1.to_vec();
    let more = |path: &str| Some(format!("{path}plan=h1"));
    Plan {
        kinds,
        upload_path: more("/count?"),
        stream_path: more("/big?kib=128&"),
        ..plan(format!("http://{proxy}/?ms=5&plan=h1"))
    }
}

/// Clients of HTTP/2 over TLS, who trust this certificate only.
pub fn http2(proxy: SocketAddr, trusted: &Path) -> Plan {
    let (kinds, trust) = (ClientKind::HTTP2.to_vec(), TlsTrust::File(trusted.to_owned()));
    Plan { kinds, trust, ..plan(format!("https://{proxy}/?ms=5&plan=h2")) }
}

/// Clients of HTTP/1 that send GET: kept and fresh.
pub fn gets(proxy: SocketAddr, clients: usize) -> Plan {
    let kinds = vec![ClientKind::H1Kept, ClientKind::H1Fresh];
    Plan { kinds, clients, ..plan(format!("http://{proxy}/?ms=5&plan=get")) }
}

fn plan(url: String) -> Plan {
    // What stops them is set when they start.
    let never = StopTrigger::Call(Callback::new(|| ()));
    Plan {
        clients: CLIENTS,
        before: MARGIN,
        after: MARGIN,
        pause: PAUSE,
        patience: PATIENCE,
        ready: PATIENCE,
        ..Plan::new(url, never)
    }
}

/// Whether the clients may end.
#[derive(Debug, Default)]
struct LoadEnd {
    is_over: Mutex<bool>,
    changed: Condvar,
}

impl LoadEnd {
    fn set(&self) {
        *self.is_over.lock().expect("held for one store") = true;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let is_over = self.is_over.lock().expect("held for one store");
        drop(self.changed.wait_while(is_over, |is_over| !*is_over).expect("as above"));
    }
}

/// Sets it, also in a test that fails: the threads of its clients are waited for.
struct EndsLoad(Arc<LoadEnd>);

impl Drop for EndsLoad {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Does `meanwhile` while clients of all plans are busy, each of which has got a response before.
#[track_caller]
pub fn under_load<T>(plans: Vec<Plan>, meanwhile: impl FnOnce() -> T) -> (Vec<DrainReport>, T) {
    let over = Arc::new(LoadEnd::default());
    let (warm, warmed) = channel();
    thread::scope(|scope| {
        let at_end = EndsLoad(Arc::clone(&over));
        let count = plans.len();
        let begin = |plan| {
            let (over, warm) = (Arc::clone(&over), warm.clone());
            scope.spawn(move || drive(plan, &over, warm))
        };
        let clients: Vec<_> = plans.into_iter().map(begin).collect();
        for _ in 0..count {
            warmed.recv_timeout(2 * PATIENCE).expect("clients that get responses");
        }
        let done = meanwhile();
        drop(at_end);
        let reports = clients.into_iter().map(|client| client.join().expect("clients"));
        (reports.collect(), done)
    })
}

fn drive(plan: Plan, over: &Arc<LoadEnd>, warm: Sender<()>) -> DrainReport {
    let over = Arc::clone(over);
    // The clients are on other threads of this runtime, so this may wait.
    let meanwhile = Callback::new(move || {
        warm.send(()).ok();
        over.wait();
    });
    let plan = Plan { trigger: StopTrigger::Call(meanwhile), ..plan };
    let runtime = Runtime::new().expect("threads");
    runtime.block_on(run(plan)).expect("a plan that can be carried out")
}

/// All that became of the requests of some clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientSums {
    /// Those that were answered.
    pub answered: u64,
    /// Those that were not: a client of a proxy has no other place to go to. One that was pipelined behind a response
    /// with `Connection: close` has not failed: nginx ends each connection so after 1,000 requests.
    pub failed: u64,
}

impl ClientSums {
    /// Prints them, and what was lost.
    ///
    /// # Panics
    /// When the clients could not do what they should.
    #[track_caller]
    pub fn of(what: &str, reports: &[DrainReport]) -> Self {
        let mut sums = Self::default();
        for report in reports {
            let total = report.total();
            let told = total.refused.get(&RefusedBy::Told).map_or(0, |counts| counts.sum());
            let refused = total.refused_in_all() - told;
            let (answered, lost) = (total.answered.sum(), total.lost_in_all());
            let failed = lost + refused;
            println!(
                "{what}: {}: {answered} answered, {failed} failed ({lost} lost, {refused} refused), {told} told to come \
                 again",
                report.url
            );
            if failed > 0 {
                println!("{report}");
            }
            assert_eq!(report.trouble, None, "{report}");
            assert_eq!(total.own_failures, 0, "{report}");
            sums.answered += answered;
            sums.failed += failed;
        }
        sums
    }
}
