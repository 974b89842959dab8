//! Room that runs out: memory of a cgroup, and a file system that is full.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use crate::keyvalue::{kv, three};
use crate::support::app::Folder;
use crate::support::prelude::*;
use crate::support::scarce::Cgroup;
use crate::support::site::Site;

const MIB: u64 = 1 << 20;

const LIMIT: [&str; 2] = ["memory.limit_in_bytes", "memory.max"];
const USED: [&str; 2] = ["memory.usage_in_bytes", "memory.current"];

/// A cgroup with so much memory.
fn with_memory(bytes: u64) -> Option<Cgroup> {
    let cgroup = Cgroup::new("memory")?;
    cgroup.set(LIMIT[0], LIMIT[1], bytes);
    Some(cgroup)
}

/// A guest that eats, beside a good one.
const HUNGRY: &str = r#"
    [component.hungry]
    source = "guest:hungry_p2"
    [component.hello]
    source = "guest:hello_p2"
    [[route]]
    path = "/"
    component = "hungry"
    [[route]]
    path = "/hello"
    component = "hello"
"#;

/// Six requests of 100 MB each got a host killed that had 256 MiB, and nothing had warned of it.
#[test]
fn guests_that_want_more_memory_than_the_cgroup_has_are_refused_and_the_host_lives() {
    let Some(cgroup) = with_memory(256 * MIB) else { return };
    let site = Site::new(HUNGRY);
    let host = site.serve().under(cgroup.within()).start();
    let line = host.wait_log("the cgroup has a limit");
    assert!(line.contains("allowed=\"256MiB\" guests=\"192MiB\""), "{line}");
    let mut served = 0;
    for _ in 0..3 {
        thread::scope(|scope| {
            let eating: Vec<_> = (0..6).map(|_| scope.spawn(|| host.get("/?mib=100"))).collect();
            assert_eq!(host.get("/hello").status(), 200);
            for eaten in eating {
                let answer = eaten.join().unwrap();
                let full = matches!(answer.status(), 500 | 503);
                let refused = answer.text().starts_with("refused at");
                let got = answer.text() == "got 100 MiB\n";
                assert!(full || refused || got, "{answer}");
                served += usize::from(got);
            }
        });
    }
    assert!(served > 0, "one at a time has room");
    assert!(cgroup.get(USED[0], USED[1]) <= 256 * MIB);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
}

#[test]
fn memory_that_is_asked_for_is_what_guests_get_and_too_much_is_warned_of() {
    let Some(cgroup) = with_memory(512 * MIB) else { return };
    for (asked, warned) in [("130MiB", false), ("400MiB", true)] {
        let host = Host::serve("hungry_p2")
            .args(["--total-memory", asked, "--max-memory", "128MiB"])
            .under(cgroup.within())
            .start();
        let line = host.wait_log("allowed=\"512MiB\"");
        assert!(line.contains(&format!("guests=\"{asked}\"")), "{line}");
        let tells = line.contains("the kernel may kill the host");
        assert_eq!(tells && line.contains("--total-memory had better be 384MiB at most"), warned);
        assert_eq!(host.get("/?mib=100").text(), "got 100 MiB\n");
    }
}

/// A file system of one MiB, and a file that fills it. Unmounted when dropped.
struct Small {
    at: PathBuf,
    _folder: Folder,
}

impl Small {
    /// None where it cannot be mounted, which is said.
    fn new() -> Option<Self> {
        let folder = Folder::new();
        let at = folder.join("small");
        fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "host-e2e"]).arg(&at);
        if !mount.status().is_ok_and(|status| status.success()) {
            println!("no tmpfs can be mounted; nothing tested");
            return None;
        }
        Some(Self { at, _folder: folder })
    }

    fn path(&self, name: &str) -> String {
        self.at.join(name).to_str().unwrap().to_owned()
    }

    /// Takes all that is left.
    fn fill(&self) {
        let why = fs::write(self.at.join("filler"), vec![b'x'; 8 << 20]).unwrap_err();
        assert_eq!(why.raw_os_error(), Some(28), "ENOSPC: {why}");
    }

    fn empty(&self) {
        fs::remove_file(self.at.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.at).status().ok();
    }
}

/// The operation gets its error, and the database works again when there is room.
#[test]
fn database_on_a_full_file_system_refuses_writes_and_takes_them_again() {
    let Some(small) = Small::new() else { return };
    let site = three(&format!("backend = \"disk\"\npath = {:?}", small.path("data.redb")));
    let host = site.serve().start();
    assert_eq!(kv(&host, "a", "set?bucket=own&key=k&value=before"), "set\n");
    small.fill();
    let value = "v".repeat(4000);
    let mut refused = 0;
    for number in 0..400 {
        let told = kv(&host, "a", &format!("set?bucket=own&key={number}&value={value}"));
        if told != "set\n" {
            assert!(told.starts_with("error: other: "), "{told}");
            refused += 1;
            break;
        }
    }
    assert_eq!(refused, 1, "there was room for all of it");
    // A guest that writes nothing is served.
    assert_eq!(host.get("/c/env").status(), 200);
    small.empty();
    assert_eq!(kv(&host, "b", "set?bucket=own&key=k&value=after"), "set\n");
    assert_eq!(kv(&host, "a", "get?bucket=own&key=k"), "before\n");
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
}

/// On a small file system that was full of old entries nothing new was ever kept.
#[test]
fn old_entries_of_a_cache_on_a_full_file_system_make_room() {
    let Some(small) = Small::new() else { return };
    let cache = small.path("cache");
    fs::create_dir(&cache).unwrap();
    fs::set_permissions(&cache, Permissions::from_mode(0o700)).unwrap();
    let old = small.at.join("cache").join(format!("{}.code", "0".repeat(64)));
    fs::write(&old, vec![b'x'; 8 << 20]).unwrap_err();
    let host = Host::serve("version_a_p2").args(["--cache-dir", &cache]).start();
    assert_eq!(host.get("/").status(), 200);
    let kept: Vec<_> = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_ne!(kept[0], old);
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    assert!(!exit.stderr.contains("cannot be kept"), "{}", exit.stderr);
}

/// A log that finds no room is no reason not to serve, nor a code cache that finds none.
#[test]
fn log_and_cache_on_a_full_file_system_are_done_without() {
    let Some(small) = Small::new() else { return };
    small.fill();
    let script = format!("exec 2>{}; exec \"$@\"", small.path("log"));
    let to_a_file = ["sh".into(), "-c".into(), script, "sh".into()].map(OsString::from);
    let cache = small.path("cache");
    let host = Host::serve("version_a_p2").args(["--cache-dir", &cache]).under(to_a_file).start();
    for _ in 0..20 {
        assert_eq!(host.get("/").status(), 200);
    }
    host.signal(Signal::HUP);
    assert_eq!(host.get("/").status(), 200);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
}
