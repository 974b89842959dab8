//! Grants of `host serve app.wasm`: flags give what a manifest would, and what is wrong with one is said of it.

use crate::support::app::Folder;
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::upstream::Upstream;

const GUESTS: [&str; 2] = ["grants_p2", "grants_p3"];

#[test]
fn flags_give_environment_directories_and_configuration() {
    for guest in GUESTS {
        let (read, write) = (Site::new(""), Folder::new());
        read.put_text("a", "from the host");
        let host = Host::serve(guest)
            .args(["--env", "MODE=a=${B}", "--env", "E2E_INHERITED", "--config", "rate=10/s"])
            .args(["--dir", &format!("{}::/read:ro", read.file("."))])
            .args(["--dir", &format!("{}::/write", write.join(".").display())])
            .env("E2E_INHERITED", "yes")
            .start();
        assert_eq!(host.get("/env").text(), "E2E_INHERITED=yes\nMODE=a=${B}\n");
        assert_eq!(host.get("/config?key=rate").text(), "10/s\n");
        assert_eq!(host.get("/dirs").text(), "/read\n/write\n");
        assert_eq!(host.get("/read?path=/read/a").text(), "from the host");
        assert!(host.get("/write?path=/read/b&data=x").text().starts_with("error: "));
        assert_eq!(host.get("/write?path=/write/b&data=x").text(), "1 bytes\n");
        assert_eq!(std::fs::read_to_string(write.join("b")).unwrap(), "x");
    }
}

#[test]
fn flags_give_outgoing_requests_and_buckets_that_last() {
    for guest in GUESTS {
        let upstream = Upstream::start();
        let (origin, folder) = (format!("http://127.0.0.1:{}", upstream.port()), Folder::new());
        let disk = format!("carts=disk:{}", folder.join("data.redb").display());
        let serve = || {
            Host::serve(guest).args([
                "--outgoing",
                &origin,
                "--keyvalue",
                &disk,
                "--keyvalue",
                "m=memory",
            ])
        };
        let host = serve().start();
        let fetched = host.get(&format!("/fetch?url={origin}/")).text();
        assert!(fetched.starts_with("200"), "{fetched}");
        let refused = host.get("/fetch?url=http://127.0.0.1:1/").text();
        assert!(refused.starts_with("error: "), "{refused}");
        for bucket in ["carts", "m"] {
            let set = host.get(&format!("/kv/set?bucket={bucket}&key=k&value=v"));
            assert_eq!(set.text(), "set\n");
        }
        host.signal(Signal::TERM);
        host.wait_exit().expect_code(0);
        let host = serve().start();
        assert_eq!(host.get("/kv/get?bucket=carts&key=k").text(), "v\n");
        assert_eq!(host.get("/kv/get?bucket=m&key=k").text(), "none\n");
    }
}

#[test]
fn wrong_flag_is_named_with_what_to_do_and_never_its_value() {
    let serve = |flags: &[&str]| {
        let app = guest("grants_p2");
        let exit = Host::run(["serve", app.to_str().unwrap()].iter().chain(flags));
        exit.expect_code(2);
        assert_eq!(exit.stdout, "");
        exit.stderr
    };
    for (flags, says) in [
        (&["--env", "=x"][..], "write NAME=VALUE"),
        (&["--env", "E2E_UNSET_VARIABLE"], "write --env E2E_UNSET_VARIABLE=VALUE, or set it"),
        (&["--config", "a"], "write --config a=VALUE"),
        (&["--dir", "/tmp"], "write HOST::GUEST"),
        (
            &["--dir", "/not/there::/a:ro"],
            "--dir /not/there::/a: the directory /not/there is not there",
        ),
        (&["--outgoing", "ftp://a"], "--outgoing ftp://a: "),
        (&["--keyvalue", "a=sqlite:b"], "NAME=disk:PATH"),
        (&["--keyvalue", "a=redis://:secret@:1"], "--keyvalue a: "),
    ] {
        let said = serve(flags);
        assert!(said.contains(says) && !said.contains("secret"), "{says}: {said}");
    }
    let said = serve(&["--dir", "/nope::/a", "--outgoing", "ftp://a"]);
    assert_eq!(said.lines().count(), 2, "all of them at once: {said}");
    let said = serve(&["--tcp", "tcp://db:1"]);
    assert!(
        said.contains("grants are the flags") && said.contains("`host init APP.wasm`"),
        "{said}"
    );
}

#[test]
fn guest_may_not_write_where_its_own_file_lies() {
    let site = Site::new("");
    site.put("app.wasm", "grants_p2");
    let exit =
        Host::run(["serve", &site.file("app.wasm"), "--dir", &format!("{}::/a", site.file("."))]);
    exit.expect_code(2);
    assert!(exit.stderr.contains("could change the file of the component"), "{}", exit.stderr);
}
