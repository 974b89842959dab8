//! Directories that a guest is given: read or written as granted, and never left.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;

use crate::support::prelude::*;
use crate::support::site::Site;

const ONE: &str = r#"
    [component.app]
    source = "guest:GUEST"
    [component.app.grants]
    directories = DIRECTORIES
"#;

/// One component that is given `directories`, beside a folder `root` and the file `secret`.
fn site_with_directories(guest: &str, directories: &str) -> Site {
    let site = Site::new(&ONE.replace("GUEST", guest).replace("DIRECTORIES", directories));
    site.put_text("secret", "the operator's\n");
    site.put_text("root/page", "a page\n");
    site.put_text("root/inside/secret", "the guest's own\n");
    site
}

const GUESTS: [&str; 2] = ["grants_p2", "grants_p3"];

/// What the log says of a path that is refused.
const REFUSED: &str = "path refused";

#[test]
fn guest_without_directories_has_no_files() {
    for guest in GUESTS {
        let host = Host::serve(guest).start();
        assert_eq!(host.get("/dirs").text(), "");
        assert_eq!(host.get("/read?path=/etc/passwd").text(), "error: no preopen fits\n");
    }
}

#[test]
fn directory_to_read_is_read_and_not_written() {
    for guest in GUESTS {
        let site = site_with_directories(guest, r#"[{ host = "root", guest = "/data" }]"#);
        let host = site.serve().start();
        assert_eq!(host.get("/dirs").text(), "/data\n");
        assert_eq!(host.get("/list?path=/data").text(), "inside\npage\n");
        assert_eq!(host.get("/read?path=/data/page").text(), "a page\n");
        for path in ["page", "new", "inside/secret"] {
            let mark = host.mark();
            let answer = host.get(&format!("/write?path=/data/{path}&data=mine"));
            assert_eq!(answer.text(), "error: not-permitted\n", "{path}");
            let line = host.wait_log_after(mark, REFUSED);
            let told = format!("path={path:?}");
            assert!(line.contains(&told) && line.contains("component=\"app\""), "{line}");
        }
        assert!(!site.folder.join("root/new").exists());
        assert_eq!(fs::read(site.folder.join("root/page")).unwrap(), b"a page\n");
    }
}

#[test]
fn directory_to_write_is_written_for_everybody_to_see() {
    for guest in GUESTS {
        let site =
            site_with_directories(guest, r#"[{ host = "root", guest = "/data", write = true }]"#);
        let host = site.serve().start();
        assert_eq!(host.get("/write?path=/data/new&data=mine").text(), "4 bytes\n");
        assert_eq!(fs::read(site.folder.join("root/new")).unwrap(), b"mine");
        assert_eq!(host.get("/read?path=/data/new").text(), "mine");
    }
}

#[test]
fn directories_of_one_guest_have_their_own_rights() {
    let site = site_with_directories(
        "grants_p2",
        r#"[{ host = "root", guest = "/data" }, { host = "root/inside", guest = "/data/in", write = true }]"#,
    );
    let host = site.serve().start();
    assert_eq!(host.get("/dirs").text(), "/data\n/data/in\n");
    assert_eq!(host.get("/write?path=/data/in/new&data=mine").text(), "4 bytes\n");
    assert_eq!(host.get("/write?path=/data/new&data=mine").text(), "error: not-permitted\n");
}

#[test]
fn no_path_leads_out_of_a_directory() {
    for guest in GUESTS {
        expect_no_way_out(guest);
    }
}

fn expect_no_way_out(guest: &str) {
    let site =
        site_with_directories(guest, r#"[{ host = "root", guest = "/data", write = true }]"#);
    let secret = site.folder.join("secret");
    symlink(&secret, site.folder.join("root/absolute")).unwrap();
    symlink("../secret", site.folder.join("root/relative")).unwrap();
    symlink("..", site.folder.join("root/up")).unwrap();
    symlink("inside/secret", site.folder.join("root/harmless")).unwrap();
    let host = site.serve().start();
    assert_eq!(host.get("/read?path=/data/harmless").text(), "the guest's own\n");
    let paths = [
        "/data/../secret",
        "/data/inside/../../secret",
        "/data/./../secret",
        "/data/absolute",
        "/data/relative",
        "/data/up/secret",
        "/data//../secret",
        "/data/inside/../up/secret",
    ];
    for path in paths {
        for deed in ["read?", "write?data=mine&", "list?"] {
            let text = host.get(&format!("/{deed}path={path}")).text();
            assert_eq!(text, "error: not-permitted\n", "{deed} {path}");
        }
    }
    host.wait_log("path=\"../secret\"");
    // An absolute path behind the guest's own is one below it, where nothing is.
    let path = format!("/data{}", secret.display());
    assert_eq!(host.get(&format!("/read?path={path}")).text(), "error: no-entry\n");
    assert_eq!(fs::read(&secret).unwrap(), b"the operator's\n");
}

#[test]
fn hostile_guest_finds_no_way_out_of_its_directory() {
    let site = site_with_directories(
        "hostile_p2",
        r#"[{ host = "root", guest = "/data", write = true }]"#,
    );
    let host = site.serve().start();
    let secret = site.folder.join("secret");
    let told = host.get(&format!("/escape?path={}", secret.display())).text();
    assert!(told.lines().count() >= 15, "all ways were tried: {told}");
    assert!(!told.contains("READ"), "{told}");
    for line in told.lines().filter(|line| line.ends_with(": done")) {
        // A link may be made; to follow it is what is refused.
        assert!(line.starts_with("link "), "{line}");
    }
    assert!(!site.folder.join("made").exists());
    assert!(!site.folder.join("root/taken").exists());
    assert!(secret.exists());
}

#[test]
fn link_that_changes_under_the_eyes_of_the_host_does_not_lead_out() {
    let site = site_with_directories(
        "hostile_p2",
        r#"[{ host = "root", guest = "/data", write = true }]"#,
    );
    symlink("..", site.folder.join("root/outside")).unwrap();
    let host = site.serve().start();
    let counts = thread::scope(|scope| {
        let flipping: Vec<_> = (0..2).map(|_| scope.spawn(|| host.get("/flip?ms=3000"))).collect();
        let racing: Vec<_> = (0..2).map(|_| scope.spawn(|| host.get("/race?ms=3000"))).collect();
        for flipped in flipping {
            assert!(flipped.join().unwrap().text().ends_with(" flips\n"));
        }
        racing.into_iter().map(|raced| raced.join().unwrap().text()).collect::<String>()
    });
    assert!(counts.contains("READ the guest's own: "), "the door was open at times: {counts}");
    assert!(counts.contains("not-permitted: "), "and led out at others: {counts}");
    assert!(!counts.contains("the operator's"), "{counts}");
}

#[test]
fn directory_is_the_one_that_was_there_at_the_start() {
    let site = site_with_directories("grants_p2", r#"[{ host = "root", guest = "/data" }]"#);
    let host = site.serve().start();
    fs::rename(site.folder.join("root"), site.folder.join("moved")).unwrap();
    symlink("/etc", site.folder.join("root")).unwrap();
    assert_eq!(host.get("/read?path=/data/page").text(), "a page\n");
    assert_eq!(host.get("/read?path=/data/passwd").text(), "error: no-entry\n");
}

/// A granted directory has a fifo in it. An open waits for its other end, on one of the threads that the
/// files, look-ups and swaps of all components share: 600 requests took them all. Files of others hung, and
/// their swaps were refused.
#[test]
fn what_is_neither_file_nor_directory_is_refused_at_once() {
    for guest in GUESTS {
        let site =
            site_with_directories(guest, r#"[{ host = "root", guest = "/data", write = true }]"#);
        let root = site.folder.join("root");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("fifo"),
            rustix::fs::FileType::Fifo,
            mode,
            0,
        )
        .unwrap();
        symlink("fifo", root.join("to_fifo")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        let host = site.serve().start();
        for path in ["fifo", "to_fifo", "socket"] {
            for what in ["read?", "write?data=mine&", "touch?"] {
                let mark = host.mark();
                let answer = host.get(&format!("/{what}path=/data/{path}"));
                assert_eq!(answer.text(), "error: unsupported\n", "{guest} {what} {path}");
                let line = host.wait_log_after(mark, REFUSED);
                let told = format!("path={path:?}");
                assert!(line.contains(&told) && line.contains("neither a file nor"), "{line}");
            }
        }
        for path in ["page", "inside"] {
            assert_eq!(host.get(&format!("/touch?path=/data/{path}")).text(), "touched\n");
        }
        assert_eq!(host.get("/touch?path=/data/none").text(), "error: no-entry\n");
        assert_eq!(host.get("/list?path=/data/fifo").text(), "error: not-directory\n", "{guest}");
        assert_eq!(host.get("/read?path=/data/page").text(), "a page\n");
        assert_eq!(host.get("/write?path=/data/new&data=mine").text(), "4 bytes\n");
        assert_eq!(host.get("/list?path=/data/inside").text(), "secret\n");
    }
}
