//! Secrets come from files and the environment, change with a reload, and are shown to nobody.

use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::upstream::Upstream;

const GUESTS: [&str; 2] = ["grants_p2", "grants_p3"];

#[test]
fn values_come_from_files_and_variables_and_anew_with_each_reload() {
    for guest in GUESTS {
        let site = Site::new(&format!(
            r#"
            [component.app]
            source = "guest:{guest}"
            env = {{ A = {{ file = "secret" }}, B = {{ env = "E2E_SECRET" }}, C = "plain" }}
            config = {{ token = {{ file = "secret" }} }}
            "#
        ));
        site.put_text("secret", "hunter2\n");
        let host =
            site.serve().control().env("E2E_SECRET", "hunter3").args(["--log", "trace"]).start();
        assert_eq!(host.get("/env").text(), "A=hunter2\nB=hunter3\nC=plain\n");
        assert_eq!(host.get("/config?key=token").text(), "hunter2\n");

        site.put_text("secret", "hunter4\r\n");
        host.ctl(["reload"]).expect_code(0);
        assert_eq!(host.get("/config?key=token").text(), "hunter4\n");

        std::fs::remove_file(site.file("secret")).unwrap();
        let reload = host.ctl(["reload"]);
        reload.expect_code(1);
        assert!(reload.stderr.contains("secret is not there"), "{}", reload.stderr);
        assert_eq!(host.get("/config?key=token").text(), "hunter4\n", "the old one serves");

        let said =
            [host.ctl(["status", "--json"]).stdout, host.ctl(["generations", "--json"]).stdout];
        let all = format!("{}{}{}", host.log(), host.stdout(), said.concat());
        assert!(!all.contains("hunter"), "{all}");
    }
}

#[test]
fn injected_header_goes_to_its_origin_only_and_the_guest_cannot_choose_it() {
    for guest in GUESTS {
        let (api, other) = (Upstream::start(), Upstream::start());
        let site = Site::new(&format!(
            r#"
            [component.app]
            source = "guest:{guest}"
            [component.app.grants]
            outgoing = ["http://127.0.0.1:{api}", "http://127.0.0.1:{other}"]
            [component.app.grants.inject."http://127.0.0.1:{api}"]
            authorization = {{ file = "token" }}
            "#,
            api = api.port(),
            other = other.port(),
        ));
        site.put_text("token", "Bearer hunter2\n");
        let host = site.serve().args(["--log", "trace"]).start();
        for port in [api.port(), other.port()] {
            let fetched = host.get(&format!("/fetch?url=http://127.0.0.1:{port}/")).text();
            assert!(fetched.starts_with("200"), "{fetched}");
        }
        let has = |upstream: &Upstream| {
            upstream.heads()[0].to_lowercase().matches("authorization: bearer hunter2").count()
        };
        assert_eq!((has(&api), has(&other)), (1, 0));
        assert!(!host.log().contains("hunter"), "{}", host.log());
    }
}

#[test]
fn secret_that_cannot_be_had_is_refused_without_its_value() {
    for (value, says) in [
        ("{ file = \"none\" }", "none is not there"),
        ("{ file = \".\" }", "is a directory"),
        ("{ file = \"binary\" }", "is not text in UTF-8"),
        ("{ file = \"large\" }", "has more than 64 KiB"),
        ("{ env = \"E2E_UNSET_VARIABLE\" }", "E2E_UNSET_VARIABLE is not set"),
        ("{ env = \"PATH\", file = \"token\" }", "a secret has one source"),
        ("{}", "write { file ="),
        ("{ path = \"token\" }", "path"),
    ] {
        let site = Site::new(&format!(
            "[component.app]\nsource = \"guest:hello_p2\"\nconfig = {{ a = {value} }}\n"
        ));
        site.put_text("token", "hunter2");
        site.put_bytes("binary", b"hunter\xff");
        site.put_bytes("large", &[b'x'; 65 * 1024]);
        let check = Host::run(["check", site.text()]);
        check.expect_code(2);
        assert!(check.stderr.contains(says), "{says}: {}", check.stderr);
        assert!(check.stderr.contains("host.toml:3:"), "{}", check.stderr);
        assert!(!check.stderr.contains("hunter"), "{}", check.stderr);
    }
    let inject = |line: &str| {
        let site = Site::new(&format!(
            "[component.app]\nsource = \"guest:hello_p2\"\n[component.app.grants]\n\
             outgoing = [\"https://a.example\"]\n[component.app.grants.inject]\n{line}\n"
        ));
        let check = Host::run(["check", site.text()]);
        check.expect_code(2);
        check.stderr
    };
    for (line, says) in [
        ("\"https://b.example\" = { a = \"1\" }", "no request may be sent there"),
        ("\"http://a.example\" = { a = \"1\" }", "no request may be sent there"),
        ("\"https://a.example\" = { \"a b\" = \"1\" }", "this is no name of a header"),
        ("\"https://a.example\" = { host = \"1\" }", "host says which route"),
        ("\"https://a.example\" = { a = \"hunter2\\n\" }", "this is no value of a header"),
    ] {
        let said = inject(line);
        // The picture of a line shows what is written there; only what is read from elsewhere is a secret.
        assert!(said.contains(says), "{says}: {said}");
    }
}

#[test]
fn guest_may_not_write_where_a_secret_lies() {
    let site = Site::new(
        "[component.app]\nsource = \"guest:grants_p2\"\nconfig = { a = { file = \"d/token\" } }\n\
         grants.directories = [{ host = \"d\", guest = \"/d\", write = true }]\n",
    );
    site.put_text("d/token", "x");
    let check = Host::run(["check", site.text()]);
    check.expect_code(2);
    assert!(check.stderr.contains("could change the secret d/token"), "{}", check.stderr);
}
