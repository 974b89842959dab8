//! `host dev`: a source that changes is built and swapped in, and what does not build leaves what serves alone.

use crate::support::app::version;
use crate::support::prelude::*;
use crate::support::site::Site;

/// Takes the guest that `src/which` names for what it has built.
const DEV: &str = r#"
build = ["sh", "-c", "cp \"$(cat src/which)\" new.wasm && mv new.wasm app.wasm"]
component = "app.wasm"
watch = ["src"]
"#;

fn project(dev: &str) -> Site {
    let site = Site::new("[component.app]\nsource = \"app.wasm\"\n");
    site.put_text("dev.toml", dev);
    choose(&site, "version_a_p2");
    site
}

/// Changes the source.
fn choose(site: &Site, name: &str) {
    site.put_text("src/which", guest(name).to_str().unwrap());
}

fn dev(site: &Site) -> Serve {
    Host::serve(&site.file(".")).dev()
}

const RELOADED: &str = "swap: reloaded in ";
const BUILT: &str = "dev: built in";
const FAILED: &str = "the next change builds again";

#[test]
fn source_that_changes_is_built_and_swapped_in_and_one_that_does_not_build_is_not() {
    let site = project(DEV);
    let host = dev(&site).start();
    assert_eq!(version(&host.get("/")), "a");
    host.wait_log("\"GET / HTTP/1.1\" 200");

    choose(&site, "version_b_p2");
    host.wait_log(RELOADED);
    assert_eq!(version(&host.get("/")), "b");

    let mark = host.mark();
    site.put_text("src/which", "/not/there.wasm");
    host.wait_log_after(mark, FAILED);
    assert_eq!(version(&host.get("/")), "b", "what was built before goes on");

    let mark = host.mark();
    choose(&site, "trap_p2");
    site.put_text("src/another", "");
    host.wait_log_after(mark, RELOADED);
    assert_eq!(host.get("/").head.status, 500);
    host.wait_log_after(mark, "guest trapped: ");

    // It builds, and cannot serve.
    let mark = host.mark();
    site.put_text("src/which", &site.file("dev.toml"));
    host.wait_log_after(mark, says::REJECTED);

    let mark = host.mark();
    choose(&site, "version_a_p2");
    host.wait_log_after(mark, RELOADED);
    assert_eq!(version(&host.get("/")), "a");
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
}

#[test]
fn manifest_that_changes_is_reloaded_and_nothing_is_built() {
    let site = project(DEV);
    let host = dev(&site).start();
    let mark = host.mark();
    site.write(
        "[component.app]\nsource = \"app.wasm\"\n[component.app.limits]\ncpu-time = \"1s\"\n",
    );
    host.wait_log_after(mark, RELOADED);
    assert!(!host.log().split_once("ready").unwrap().1.contains(BUILT), "{}", host.log());
}

#[test]
fn first_version_that_builds_is_served() {
    let site = project(DEV);
    site.put_text("src/which", "/not/there.wasm");
    let host = std::thread::scope(|scope| {
        let host = scope.spawn(|| dev(&site).start());
        // Whether it comes before the first build or after it: that has failed, or finds this.
        choose(&site, "version_b_p3");
        host.join().unwrap()
    });
    assert_eq!(version(&host.get("/")), "b");
}

#[test]
fn component_or_manifest_is_served_and_watched() {
    let site = project(DEV);
    site.put("app.wasm", "version_a_p2");
    for file in ["app.wasm", "host.toml"] {
        let host = Host::serve(&site.file(file)).dev().start();
        host.wait_log(says::WATCHING);
        host.get("/");
        host.wait_log("\"GET / HTTP/1.1\" 200");
    }
}

#[test]
fn what_cannot_be_built_says_what_to_do() {
    let empty = Site::new("");
    let missing = empty.file("none");
    let wrong = project("build = [\"true\"]\nwatch = []\nbuilds = 1\n");
    let no_command = project("build = []\ncomponent = \"a.wasm\"\nwatch = []\n");
    for (folder, says) in [
        (empty.file("."), "has no dev.toml, which says how it is built: `host new` writes one"),
        (missing, "cannot read"),
        (wrong.file("."), "unknown field `builds`"),
        (no_command.file("."), "build has no command in it"),
    ] {
        let exit = Host::run(["dev", &folder]);
        exit.expect_code(2);
        assert!(exit.stderr.contains(says), "{says}: {}", exit.stderr);
    }
    let site = project(DEV);
    let exit = Host::run(["dev", &site.file("."), "--", "--tcp", "x"]);
    exit.expect_code(2);
    assert!(exit.stderr.contains("unexpected argument '--tcp'"), "{}", exit.stderr);
}
