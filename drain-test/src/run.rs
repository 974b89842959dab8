//! A whole test: one stop after the other.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::clients;
use super::kinds::ClientKind;
use super::ledger::{Ledger, Tally};
use super::plan::{Plan, StopTrigger};
use super::report::{DrainReport, StopOutcome, since};
use super::round::{Course, Round};
use super::target::{PlanError, Tested};
use super::tester::Tester;
use super::trigger::{ChildEnd, OurChild, fire};

/// The time between two looks whether the server accepts.
const LOOK: Duration = Duration::from_millis(20);

/// What the last step may take beyond its patience: of a client the close of an HTTP/2 connection, of a server the end
/// of those that it has started.
const LAST_STEP: Duration = Duration::from_secs(5);

/// The clients of one stop at work. Dropping it ends them.
struct Clients {
    tasks: JoinSet<(ClientKind, Ledger, Instant)>,
    ledgers: BTreeMap<ClientKind, Ledger>,
    /// When the last of those that have ended did.
    last: Instant,
    trouble: Option<String>,
}

/// Makes the test. It is to be called in a runtime of tokio with I/O and time.
///
/// What goes wrong on the way, as a server that does not come back, is in the [report](DrainReport::trouble), with all
/// that was measured before.
///
/// # Errors
/// The plan cannot be begun.
pub async fn run(plan: Plan) -> Result<DrainReport, PlanError> {
    let tested = Tested::of(&plan)?;
    let mut report = DrainReport::new(plan.url.clone());
    let stops = plan.stops;
    let course = Arc::new(Course::new(plan, tested));
    for stop in 1..=stops {
        let ended = one_stop(&course, stop, &mut report).await;
        // The next server is a new one, so the test goes on after a child that was killed.
        let killed = report.stops.last().filter(|last| last.stop == stop && last.killed);
        let killed = killed.and_then(|last| last.exit.as_ref());
        if let (Some(exit), None) = (killed, &report.trouble) {
            report.trouble = Some(format!("stop {stop}: the server: {exit}"));
        }
        if let Err(why) = ended {
            let before = report.trouble.take().map_or_else(String::new, |why| why + "; ");
            report.trouble = Some(format!("{before}stop {stop}: {why}"));
            break;
        }
    }
    report.statuses = course.statuses();
    let untested = |(kind, tally): (&ClientKind, &Tally)| {
        (tally.answered.sum() == 0 && tally.lost_in_all() == 0).then_some(*kind)
    };
    // Nothing lost of nothing is no good news.
    if let Some(kind) = report.clients.iter().find_map(untested) {
        report.trouble.get_or_insert_with(|| format!("no request of {kind} was ever taken"));
    }
    Ok(report)
}

/// One stop, from a server that accepts to the last client's end.
async fn one_stop(course: &Arc<Course>, stop: u32, report: &mut DrainReport) -> Result<(), String> {
    let plan = &course.plan;
    let (mut server, address) = begin(course, stop).await?;
    let round = Arc::new(Round::new(Arc::clone(course), address));
    let mut clients = start(&round);
    sleep(plan.before).await;
    let all = plan.clients * plan.kinds.len();
    let warmed = timeout(plan.patience, round.warmed(all)).await;
    if let Some(kind) = course.unanswered() {
        return Err(leave_alone(&round, stop, kind, server, clients, report).await);
    }

    let triggered = round.trigger();
    let fired = fire(plan, server.as_mut());
    let mut told = server.as_mut().filter(|_| fired.is_ok());
    let server_end = async {
        match &mut told {
            Some(server) => server.end(plan.after + 2 * plan.patience).await.map(Some),
            None => Ok(None),
        }
    };
    let (server_end, command_end) = tokio::join!(server_end, load(&round, fired, &mut clients));
    // Nobody asks them for anything any more.
    let left = match told {
        Some(server) => server.rest(plan.patience.min(LAST_STEP)).await,
        None => Vec::new(),
    };

    let mut outcome = StopOutcome { stop, ..StopOutcome::default() };
    outcome.clients_ended_ms = since(triggered, clients.last);
    outcome.refused_ms = round.refused().map(|refused| since(triggered, refused));
    let ends = outcome.end(triggered, server_end, command_end);
    if let Some(tell) = plan.after_stop {
        tell(&outcome);
    }
    report.stops.push(outcome);
    report.add(stop, triggered, clients.ledgers);
    ends?;
    if let Some(why) = clients.trouble {
        return Err(why);
    }
    warmed.map_err(|_| "there were clients without any outcome before the trigger".to_owned())?;
    if !left.is_empty() {
        return Err(format!(
            "the server has ended and left processes behind, which were killed: {}; who starts a server has to \
             hand the signal on, or to become the server by exec",
            left.join(", ")
        ));
    }
    if plan.returns && matches!(plan.trigger, StopTrigger::Exec(_)) {
        let back = comes_back(course).await;
        back.map_err(|why| format!("the server did not come back after the command: {why}"))?;
    }
    Ok(())
}

/// Ends a stop that would show nothing, and gives why. Nobody's server is stopped for it; our own has to end all the
/// same.
async fn leave_alone(
    round: &Round,
    stop: u32,
    kind: ClientKind,
    server: Option<OurChild>,
    mut clients: Clients,
    report: &mut DrainReport,
) -> String {
    let plan = &round.course.plan;
    if let Some(mut server) = server {
        server.signal(plan.spawn_signal).ok();
        drop(server.end(plan.patience).await);
    }
    let now = round.trigger();
    clients.finish(round, Duration::ZERO).await;
    report.add(stop, now, clients.ledgers);
    let ours = report.own_failure.clone();
    let theirs = report.losses.iter().rfind(|loss| loss.client == kind);
    let why = ours.or_else(|| theirs.map(|loss| format!("{}: {}", loss.kind, loss.detail)));
    let why = why.map_or(String::new(), |why| format!(": {why}"));
    format!("no {kind} request was answered, so the server was left alone{why}")
}

/// Waits until a server that was stopped answers again.
async fn comes_back(course: &Arc<Course>) -> Result<(), String> {
    let plan = &course.plan;
    let until = Instant::now() + plan.ready;
    let address = ready(course, plan.ready, None).await?;
    let round = Arc::new(Round::new(Arc::clone(course), address));
    let kind = *plan.kinds.first().ok_or("there are no clients")?;
    let mut asking = JoinSet::new();
    asking.spawn(clients::run(Tester::new(kind, 0, Arc::clone(&round))));
    let until = until.max(Instant::now() + plan.patience);
    if timeout_at(until, round.answered()).await.is_ok() {
        return Ok(());
    }
    round.end();
    let ended = timeout(LAST_STEP, asking.join_next()).await;
    let ledger = ended.ok().flatten().and_then(Result::ok).unwrap_or_default();
    let last = ledger.losses.last().map(|lost| format!("{}: {}", lost.kind, lost.detail));
    Err(last.or(ledger.own_failure).unwrap_or_else(|| "it answers no request".to_owned()))
}

/// Has the server started, if that is ours to do, and waits until it accepts.
async fn begin(course: &Course, stop: u32) -> Result<(Option<OurChild>, SocketAddr), String> {
    let plan = &course.plan;
    let is_ours = matches!(plan.trigger, StopTrigger::Spawn(_));
    if is_ours && timeout(plan.patience, accepts(course)).await.is_ok_and(|accepts| accepts.is_ok())
    {
        // Our child could not listen, and the wrong server would be tested.
        return Err("another server accepts there already".to_owned());
    }
    let server = OurChild::server(&plan.trigger);
    let mut server = server.map_err(|e| format!("the server cannot be started: {e}"))?;
    // A server that is not ours is there, or the URL is wrong.
    let within = if is_ours || stop > 1 { plan.ready } else { Duration::ZERO };
    let address = ready(course, within, server.as_mut()).await?;
    Ok((server, address))
}

impl StopOutcome {
    /// Notes how the server, or the command that stops it, has ended.
    fn end(
        &mut self,
        triggered: Instant,
        server: io::Result<Option<ChildEnd>>,
        command: io::Result<Option<ChildEnd>>,
    ) -> Result<(), String> {
        let unstopped = |e: io::Error| format!("the server could not be stopped: {e}");
        let (server, command) = (server.map_err(unstopped)?, command.map_err(unstopped)?);
        let failed = command.as_ref().filter(|command| !command.is_good);
        let failed = failed.map(|failed| format!("the command that stops it: {}", failed.exit));
        self.killed = server.as_ref().is_some_and(|server| !server.is_good);
        if let Some(ChildEnd { exit, at, .. }) = server.or(command) {
            (self.exit, self.exit_ms) = (Some(exit), Some(since(triggered, at)));
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Waits until the server accepts.
async fn ready(
    course: &Course,
    within: Duration,
    mut server: Option<&mut OurChild>,
) -> Result<SocketAddr, String> {
    let patience = course.plan.patience;
    let until = Instant::now() + within;
    loop {
        let why = match timeout(patience, accepts(course)).await {
            Ok(Ok(address)) => return Ok(address),
            Ok(Err(e)) => e.to_string(),
            Err(_) => "nothing came back in time".to_owned(),
        };
        let exit = server.as_mut().map(|server| server.has_ended()).transpose();
        if let Ok(Some(Some(exit))) = exit {
            return Err(format!("the server has ended before it was stopped: {exit}"));
        }
        if Instant::now() >= until {
            return Err(format!("the server does not accept: {why}"));
        }
        sleep(LOOK).await;
    }
}

/// The first address of the server that accepts.
async fn accepts(course: &Course) -> io::Result<SocketAddr> {
    let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in course.tested.addresses().await? {
        match TcpStream::connect(address).await {
            Ok(_) => return Ok(address),
            Err(e) => refused = e,
        }
    }
    Err(refused)
}

/// Has all clients begin.
fn start(round: &Arc<Round>) -> Clients {
    let plan = &round.course.plan;
    let mut tasks = JoinSet::new();
    for &kind in &plan.kinds {
        for who in 0..plan.clients {
            let tester = Tester::new(kind, who, Arc::clone(round));
            // It is `Clients`' own.
            tasks.spawn(async move {
                let ledger = clients::run(tester).await;
                (kind, ledger, Instant::now())
            });
        }
    }
    Clients { tasks, ledgers: BTreeMap::new(), last: Instant::now(), trouble: None }
}

/// The load after the trigger, to the end of the last client. Gives the end of the command that stops the server.
async fn load(
    round: &Round,
    fired: io::Result<Option<OurChild>>,
    clients: &mut Clients,
) -> io::Result<Option<ChildEnd>> {
    let plan = &round.course.plan;
    let command_end = match fired {
        Ok(None) => Ok(None),
        Ok(Some(mut command)) => command.end(plan.exec_deadline).await.map(Some),
        Err(e) => Err(e),
    };
    // Clients that are refused end by themselves.
    let after = if command_end.is_ok() { plan.after } else { Duration::ZERO };
    clients.finish(round, after).await;
    command_end
}

impl Clients {
    /// Lets them go on for so long, and waits until each has ended what it had begun.
    async fn finish(&mut self, round: &Round, after: Duration) {
        if timeout(after, self.join()).await.is_err() {
            round.end();
            // Connect, handshake, sending and receiving have a patience each.
            let patience = 4 * round.course.plan.patience + LAST_STEP;
            if timeout(patience, self.join()).await.is_err() {
                self.trouble = Some("there are clients that did not end".to_owned());
            }
        }
    }

    /// Waits for all of them. What has been merged stays when this is dropped.
    async fn join(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok((kind, ledger, at)) => {
                    self.ledgers.entry(kind).or_default().merge(ledger);
                    self.last = self.last.max(at);
                }
                Err(e) => self.trouble = Some(format!("a client ended badly: {e}")),
            }
        }
    }
}
