//! Files that may not grow any more (RLIMIT_FSIZE). The kernel sends SIGXFSZ, whose default is to end
//! the process: a guest killed the host with one byte too many. It is an error of that write.

use std::fs;
use std::process::Command;

use crate::support::app::{App, Folder, text};
use crate::support::prelude::*;
use crate::support::site::Site;

/// From now on `host` cannot write to a file.
#[track_caller]
fn no_more_files(host: &Host) {
    let pid = host.pid().to_string();
    let limited = Command::new("prlimit").args(["--fsize=0", "--pid", &pid]).status();
    assert!(limited.expect("util-linux is there").success());
}

#[track_caller]
fn expect_clean_stop(host: Host) {
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

#[test]
fn guest_that_writes_a_byte_too_many_gets_an_error_and_the_host_lives() {
    for guest in ["grants_p2", "grants_p3"] {
        let site = Site::new(&format!(
            "[component.app]\nsource = \"guest:{guest}\"\n[component.app.grants]\n\
             directories = [{{ host = \"root\", guest = \"/data\", write = true }}]\n"
        ));
        site.put_text("root/page", "a page\n");
        let host = site.serve().start();
        assert_eq!(host.get("/write?path=/data/new&data=x").text(), "1 bytes\n");
        no_more_files(&host);
        for path in ["new", "third"] {
            let answer = host.get(&format!("/write?path=/data/{path}&data=mine")).text();
            assert_eq!(answer, "error: file-too-large\n", "{path}");
        }
        assert_eq!(host.get("/read?path=/data/page").text(), "a page\n");
        expect_clean_stop(host);
    }
}

#[test]
fn bucket_on_disk_that_cannot_grow_is_an_error_of_that_write() {
    let site = Site::new(
        r#"
        [keyvalue.main]
        backend = "disk"
        path = "data.redb"
        [component.app]
        source = "guest:grants_p2"
        [component.app.grants.keyvalue]
        own = "main"
        "#,
    );
    let host = site.serve().start();
    assert_eq!(host.get("/kv/set?bucket=own&key=k&value=v").text(), "set\n");
    no_more_files(&host);
    let refused = host.get("/kv/set?bucket=own&key=k&value=w").text();
    assert!(refused.starts_with("error: "), "{refused}");
    assert_eq!(host.get("/dirs").status(), 200);
    expect_clean_stop(host);
}

#[test]
fn log_that_cannot_grow_is_not_written_and_the_host_serves_on() {
    let folder = Folder::new();
    let log = folder.join("log");
    // The shell gives it the file in place of our pipe, which ends at once.
    let redirect = format!("exec \"$@\" 2>>{}", text(&log));
    let host = Host::serve("chatty_p2").under(["sh", "-c", &redirect, "sh"]).start();
    assert_eq!(host.get("/?n=10").status(), 200);
    no_more_files(&host);
    for _ in 0..3 {
        assert_eq!(host.get("/?n=10").status(), 200);
    }
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
    assert!(!fs::read_to_string(&log).unwrap().contains(says::STOPPED));
}

/// Neither the cache nor what a component is mapped from can be written: that swap may be refused.
#[test]
fn swap_that_can_write_no_file_leaves_a_host_that_serves() {
    let app = App::new("version_a_p2");
    let folder = Folder::new();
    let cache = text(&folder.join("cache")).to_owned();
    let host = app.serve().control().args(["--cache-dir", &cache]).start();
    let before = host.get("/").text();
    no_more_files(&host);
    app.put("version_b_p2");
    let outcome = host.ctl(["reload"]);
    let refused = outcome.code == 1 && outcome.stderr.contains("rejected");
    assert!(refused || outcome.code == 0, "{}: {}", outcome.code, outcome.stderr);
    assert_eq!(host.get("/").text() == before, refused);
    expect_clean_stop(host);
}
