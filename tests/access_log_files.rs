//! Where the access log goes, and what becomes of it when its file moves, its disk is full, or nobody reads.

use std::fs;
use std::io::Read as _;
use std::process::Command;
use std::thread;
use std::time::Instant;

use crate::support::access_log::{lines, parsed};
use crate::support::app::{Folder, text};
use crate::support::metrics::{self, Metrics};
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::stop::GET;

/// `mv`, SIGUSR1 and a new file, while clients ask as fast as they can: each request has its line, in one of the
/// files.
#[test]
fn rotation_under_load_loses_no_line() {
    let folder = Folder::new();
    let path = folder.join("access.log");
    let host = Host::serve("hello_p2").args(["--access-log", text(&path)]).start();
    const REQUESTS: usize = 400;
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut conn = host.connect();
                    for _ in 0..REQUESTS {
                        assert_eq!(conn.get("/").unwrap().status(), 200);
                    }
                })
            })
            .collect();
        let mut rotations = 0;
        while rotations < 3 || !clients.iter().all(thread::ScopedJoinHandle::is_finished) {
            rotations += 1;
            fs::rename(&path, folder.join(&format!("access.log.{rotations}"))).unwrap();
            host.signal(Signal::USR1);
            let until = Instant::now() + PATIENCE;
            while !path.exists() {
                assert!(Instant::now() < until, "it is not opened again");
                thread::yield_now();
            }
        }
    });
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
    let files = fs::read_dir(path.parent().unwrap()).unwrap();
    let files: Vec<_> =
        files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert!(files.len() > 3);
    let mut exchanges: Vec<_> = files
        .iter()
        .flat_map(|file| file.lines())
        .map(|line| parsed(line)["exchange"].as_u64().unwrap())
        .collect();
    exchanges.sort_unstable();
    exchanges.dedup();
    assert_eq!(exchanges.len(), 4 * REQUESTS);
}

#[test]
fn a_reader_that_does_not_read_holds_up_neither_requests_nor_the_stop() {
    let folder = Folder::new();
    let pipe = folder.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let mut reader = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let host = Host::serve("hello_p2").args(["--access-log", text(&pipe)]).start();
    let mut conn = host.connect();
    // A line has some 500 bytes, and the pipe room for 64 KiB.
    for _ in 0..1000 {
        assert_eq!(conn.get("/").unwrap().status(), 200);
    }
    drop(conn);
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
    // What it took are whole lines.
    let mut taken = vec![0; 64 << 10];
    let length = reader.read(&mut taken).unwrap();
    let taken = std::str::from_utf8(&taken[..length]).unwrap();
    assert!(taken.ends_with('\n') && taken.lines().count() > 50, "{taken}");
    taken.lines().for_each(|line| drop(parsed(line)));
    // The others were lost without a word.
    let told = exit.stderr.lines().find(|line| line.contains("access log: lines were not taken"));
    let lost = 1000 - taken.lines().count();
    assert!(told.is_some_and(|it| it.contains(&format!(" lines={lost}"))), "{lost}: {told:?}");
}

#[test]
fn a_full_disk_costs_lines_and_the_log_says_how_many() {
    let args = ["--access-log", "/dev/full"];
    let host = Host::serve("hello_p2").args(args).args(metrics::ARGS).start();
    for _ in 0..3 {
        assert_eq!(host.get("/").status(), 200);
    }
    let line = host.wait_log("access log: lines were dropped");
    assert!(line.contains("No space left on device"), "{line}");
    let dropped = |told: &Metrics| told.sum("host_log_lines_dropped_total", &[("log", "access")]);
    Metrics::wait(&host, |told| dropped(told) == 3.0);
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
    let told = exit.stderr.lines().filter_map(|line| line.split_once("dropped lines="));
    let told = told.map(|(_, rest)| rest.split(' ').next().unwrap().parse::<u64>().unwrap());
    assert_eq!(told.sum::<u64>(), 3);
}

/// `RLIMIT_FSIZE`: the kernel would end the process for one byte too many.
#[test]
fn a_file_that_may_not_grow_costs_lines_and_nothing_else() {
    let folder = Folder::new();
    let path = folder.join("access.log");
    let args = ["--access-log", text(&path), "--access-log-format", "combined"];
    let host = Host::serve("hello_p2").args(args).start();
    let pid = host.pid().to_string();
    let limited = Command::new("prlimit").args(["--fsize=1000", "--pid", &pid]).status();
    assert!(limited.unwrap().success());
    for _ in 0..100 {
        assert_eq!(host.get("/").status(), 200);
    }
    host.wait_log("access log: lines were dropped");
    assert_eq!(fs::metadata(&path).unwrap().len(), 1000);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

#[test]
fn folder_that_has_gone_changes_nothing_and_is_said() {
    let folder = Folder::new();
    fs::create_dir(folder.join("logs")).unwrap();
    let path = folder.join("logs/access.log");
    let host = Host::serve("hello_p2").args(["--access-log", text(&path)]).start();
    fs::rename(folder.join("logs"), folder.join("gone")).unwrap();
    host.signal(Signal::USR1);
    let line = host.wait_log("access log: cannot be opened again");
    assert!(line.contains("its folder is not there"), "{line}");
    assert_eq!(host.get("/").status(), 200);
    assert_eq!(lines(&folder.join("gone/access.log"), 1).len(), 1, "it goes on to the old file");
}

#[test]
fn log_that_cannot_be_opened_ends_the_start() {
    let exit =
        Host::serve("hello_p2").args(["--access-log", "/no/such/access.log"]).start_in_vain();
    exit.expect_code(3);
    exit.expect_last_line(
        "cannot write the access log /no/such/access.log: its folder is not there",
    );
    let site = Site::new(
        "[log]\naccess = \"none/access.log\"\n[component.a]\nsource = \"guest:hello_p2\"\n",
    );
    let exit = Host::run(["serve", site.text()]);
    exit.expect_code(2);
    assert!(exit.stderr.contains("none is not there"), "{}", exit.stderr);
}

/// The lines of the last requests are on their way when the process ends.
#[test]
fn all_lines_are_there_at_the_exit() {
    for _ in 0..5 {
        let folder = Folder::new();
        let path = folder.join("access.log");
        let host = Host::serve("hello_p2").args(["--access-log", text(&path)]).start();
        let mut conn = host.connect();
        for _ in 0..50 {
            conn.send(GET).unwrap();
            assert_eq!(conn.read_response("GET").unwrap().status(), 200);
        }
        host.signal(Signal::QUIT);
        host.wait_exit().expect_code(131);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 50);
    }
}

/// A writer that is woken for each line would cost a request more than its line does.
#[test]
fn the_writer_is_woken_at_most_once_in_20_ms() {
    let folder = Folder::new();
    let path = folder.join("access.log");
    let host = Host::serve("hello_p2").args(["--access-log", text(&path)]).start();
    let mut conn = host.connect();
    assert_eq!(conn.get("/").unwrap().status(), 200);
    lines(&path, 1);
    let (began, before) = (Instant::now(), turns_of(host.pid(), "access-log"));
    for _ in 0..3000 {
        assert_eq!(conn.get("/").unwrap().status(), 200);
    }
    let turns = turns_of(host.pid(), "access-log") - before;
    let most = began.elapsed().as_millis() / 20 + 10;
    assert!(u128::from(turns) <= most, "{turns} turns, at most {most}");
}

/// How often the thread of this name has waited for something.
fn turns_of(pid: u32, name: &str) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut paths = tasks.map(|task| task.unwrap().path());
    let is_it = |path: &std::path::PathBuf| {
        fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    let thread = paths.find(is_it).expect("it has one");
    let status = fs::read_to_string(thread.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.expect("the kernel counts them").trim().parse().unwrap()
}
