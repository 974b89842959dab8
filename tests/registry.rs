//! Components from a registry, Debian's `docker-registry`: pulled, pinned, swapped when a tag moves, served without a
//! network, and refused when nobody who is trusted vouches for them.

use std::fs;
use std::process::Command;

use crate::support::app::{text, version};
use crate::support::prelude::*;
use crate::support::registry::Registry;
use crate::support::site::Site;
use crate::support::tools;

/// A manifest with one component from this registry, which has version a under the tag `1`.
struct Shop {
    registry: Registry,
    site: Site,
    more: String,
}

impl Shop {
    fn open(more: &str) -> Option<Self> {
        let registry = Registry::start(false)?;
        let shop = Self { registry, site: Site::new(""), more: more.to_owned() };
        shop.push("version_a_p2", &[]).expect_code(0);
        shop.write(&shop.source());
        Some(shop)
    }

    fn source(&self) -> String {
        self.registry.source("shop/cart:1")
    }

    fn write(&self, source: &str) {
        self.site.write(&format!("[component.cart]\nsource = \"{source}\"\n{}", self.more));
    }

    fn push(&self, guest_name: &str, flags: &[&str]) -> Exit {
        let (app, source) = (guest(guest_name), self.source());
        Host::run(["push", text(&app), &source].iter().chain(flags))
    }

    /// With a store of its own.
    fn serve(&self) -> Serve {
        self.site.serve().control().args(["--cache-dir", &self.site.file("cache")])
    }

    fn lock(&self) -> Exit {
        Host::run(["lock", self.site.text()])
    }

    fn keys(&self) {
        for name in ["one", "other"] {
            let (private, public) =
                (self.site.file(&format!("{name}.pem")), self.site.file(&format!("{name}.pub")));
            let kind = if name == "one" {
                &["ed25519"][..]
            } else {
                &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
            };
            let mut make = Command::new("openssl");
            make.args(["genpkey", "-out", &private, "-algorithm"]).args(kind);
            assert!(make.status().unwrap().success());
            let mut show = Command::new("openssl");
            show.args(["pkey", "-pubout", "-in", &private, "-out", &public]);
            assert!(show.status().unwrap().success());
        }
    }
}

#[test]
fn component_is_pulled_served_and_swapped_when_its_tag_has_moved() {
    let Some(shop) = Shop::open("") else { return };
    let host = shop.serve().start();
    assert_eq!(version(&host.get("/")), "a");
    host.wait_log("component pulled");
    assert!(host.ctl(["reload"]).stdout.contains("unchanged"));

    shop.push("version_b_p3", &[]).expect_code(0);
    assert_eq!(version(&host.get("/")), "a", "nobody has asked");
    host.ctl(["reload"]).expect_code(0);
    assert_eq!(version(&host.get("/")), "b");

    // What is no component there leaves what serves.
    let mark = host.mark();
    shop.write(&shop.registry.source("shop/none:1"));
    let reload = host.ctl(["reload"]);
    reload.expect_code(1);
    assert!(reload.stderr.contains("rejected (fetch): component cart: "), "{}", reload.stderr);
    host.wait_log_after(mark, says::REJECTED);
    assert_eq!(version(&host.get("/")), "b");
}

#[test]
fn tag_that_moves_is_noticed_by_itself() {
    let Some(shop) = Shop::open("[registry]\npoll = \"5s\"\n") else { return };
    let host = shop.serve().start();
    shop.push("version_b_p2", &[]).expect_code(0);
    host.wait_log("a tag has moved");
    host.wait_log("swap: reloaded in ");
    assert_eq!(version(&host.get("/")), "b");
}

#[test]
fn what_is_pinned_stays_and_needs_no_network() {
    let Some(shop) = Shop::open("") else { return };
    shop.lock().expect_code(0);
    let lock = fs::read_to_string(shop.site.file("host.lock")).unwrap();
    assert!(lock.contains(&shop.source()) && lock.contains("sha256:"), "{lock}");
    shop.push("version_b_p2", &[]).expect_code(0);
    let host = shop.serve().start();
    assert_eq!(version(&host.get("/")), "a", "the lock file wins over the tag");
    assert!(host.ctl(["reload"]).stdout.contains("unchanged"));

    let lock = shop.lock();
    lock.expect_code(0);
    assert!(lock.stdout.contains(" to sha256:"), "{}", lock.stdout);
    host.ctl(["reload"]).expect_code(0);
    assert_eq!(version(&host.get("/")), "b");
    drop(host);

    let Shop { registry, site, .. } = shop;
    registry.stop();
    let serve = || site.serve().control().args(["--cache-dir", &site.file("cache")]);
    assert_eq!(version(&serve().start().get("/")), "b", "from the store");
    fs::remove_dir_all(site.file("cache")).unwrap();
    let exit = serve().start_in_vain();
    exit.expect_code(3);
    assert!(exit.stderr.contains("component cart: "), "{}", exit.stderr);
}

#[test]
fn digest_in_the_source_is_the_only_one_that_is_taken() {
    let Some(shop) = Shop::open("") else { return };
    let pushed = shop.push("version_a_p2", &[]).stdout.trim().to_owned();
    let digest = pushed.split_once('@').expect("it says the digest").1.to_owned();
    shop.push("version_b_p2", &[]).expect_code(0);
    shop.write(&format!("{}@{digest}", shop.source()));
    assert_eq!(version(&shop.serve().start().get("/")), "a");
    let other = format!("sha256:{}", "0".repeat(64));
    shop.write(&format!("{}@{other}", shop.source()));
    shop.serve().start_in_vain().expect_code(3);
    for (source, says) in [
        ("oci://", "no source of a component"),
        ("https://example.com/app.wasm", "sha256"),
        ("http://example.com/app.wasm#sha256=00", "no source of a component"),
    ] {
        shop.write(source);
        let check = Host::run(["check", shop.site.text()]);
        check.expect_code(2);
        assert!(
            check.stderr.contains(says) && check.stderr.contains("host.toml:2:"),
            "{}",
            check.stderr
        );
    }
}

#[test]
fn component_without_a_manifest_comes_from_a_registry_too() {
    let Some(shop) = Shop::open("") else { return };
    let check = Host::run(["check", &shop.source(), "--cache-dir", &shop.site.file("cache")]);
    check.expect_code(0);
    assert!(check.stdout.contains("would serve: wasi:http 0.2"), "{}", check.stdout);
}

#[test]
fn credentials_open_a_registry_and_are_never_shown() {
    let Some(registry) = Registry::start(true) else { return };
    let source = registry.source("shop/cart:1");
    let site = Site::new("");
    let docker = format!(
        r#"{{ "auths": {{ "{}": {{ "auth": "dXNlcjpzZXNhbWU=" }} }} }}"#,
        registry.address()
    );
    site.put_text("config.json", &docker);
    let app = guest("version_a_p2");
    let push =
        Host::run(["push", text(&app), &source, "--docker-config", &site.file("config.json")]);
    push.expect_code(0);
    let manifest = |login: &str| {
        site.write(&format!("[component.cart]\nsource = \"{source}\"\n[registry]\n{login}\n"));
        site.serve().args(["--cache-dir", &site.file("cache"), "--log", "trace"])
    };
    site.put_text("secret", "user:sesame\n");
    let login = format!("login.\"{}\" = {{ file = \"secret\" }}", registry.address());
    let host = manifest(&login).start();
    assert_eq!(version(&host.get("/")), "a");
    assert!(!host.log().contains("sesame"), "{}", host.log());
    drop(host);
    assert_eq!(version(&manifest("docker-config = \"config.json\"").start().get("/")), "a");
    fs::remove_dir_all(site.file("cache")).unwrap();
    site.put_text("secret", "user:wrong-password\n");
    let exit = manifest(&login).start_in_vain();
    exit.expect_code(3);
    assert!(exit.stderr.contains(registry.address()), "{}", exit.stderr);
    assert!(!exit.stderr.contains("wrong-password"), "{}", exit.stderr);
}

const TRUST: &str = "[trust]\nkeys = [\"one.pub\"]\nrequire = true\n";

#[test]
fn image_that_no_trusted_key_has_signed_is_refused_before_it_is_compiled() {
    let Some(shop) = Shop::open(TRUST) else { return };
    if !tools::has_with("openssl", "version", "openssl") {
        return;
    }
    shop.keys();
    let refused = |says: &str| {
        let exit = shop.serve().start_in_vain();
        exit.expect_code(3);
        assert!(exit.stderr.contains(says), "{says}: {}", exit.stderr);
        assert!(!exit.stderr.contains("compiled"), "{}", exit.stderr);
    };
    refused("it is not signed; a signature by");
    Host::run(["sign", &shop.source(), "--key", &shop.site.file("other.pem")]).expect_code(0);
    refused("signed by another key");
    Host::run(["sign", &shop.source(), "--key", &shop.site.file("one.pem")]).expect_code(0);
    for key in ["one.pub", "other.pub"] {
        let verify = Host::run(["verify", &shop.source(), "--key", &shop.site.file(key)]);
        verify.expect_code(0);
        assert!(verify.stdout.contains(key), "{}", verify.stdout);
    }
    let host = shop.serve().start();
    assert_eq!(version(&host.get("/")), "a");

    // Another version under the same tag, which nobody has signed.
    shop.push("version_b_p2", &[]).expect_code(0);
    let reload = host.ctl(["reload"]);
    reload.expect_code(1);
    assert!(reload.stderr.contains("it is not signed"), "{}", reload.stderr);
    assert_eq!(version(&host.get("/")), "a");
    // A file that lies about is no way around it.
    let app = guest("version_b_p2");
    let swap = host.ctl(["swap", text(&app)]);
    swap.expect_code(1);
    assert!(swap.stderr.contains("it is not signed"), "{}", swap.stderr);
    shop.push("version_b_p2", &["--key", &shop.site.file("one.pem")]).expect_code(0);
    host.ctl(["reload"]).expect_code(0);
    assert_eq!(version(&host.get("/")), "b");
    drop(host);

    shop.lock().expect_code(0);
    let Shop { registry, site, .. } = shop;
    registry.stop();
    let serve = || site.serve().args(["--cache-dir", &site.file("cache")]);
    assert_eq!(
        version(&serve().start().get("/")),
        "b",
        "its signature was kept, and is checked again"
    );
    site.write(&fs::read_to_string(site.text()).unwrap().replace("one.pub", "other.pub"));
    serve().start_in_vain().expect_code(3);
}

#[test]
fn file_that_no_trusted_key_has_signed_is_refused() {
    if !tools::has_with("openssl", "version", "openssl") {
        return;
    }
    let Some(shop) = Shop::open("") else { return };
    shop.keys();
    let site = &shop.site;
    site.put("app.wasm", "version_a_p2");
    site.write(&format!("[component.cart]\nsource = \"app.wasm\"\n{TRUST}"));
    let exit = shop.serve().start_in_vain();
    exit.expect_code(3);
    assert!(exit.stderr.contains("it is not signed"), "{}", exit.stderr);
    let sign = |key: &str| {
        Host::run(["sign", &site.file("app.wasm"), "--key", &site.file(key)]).expect_code(0);
    };
    sign("other.pem");
    shop.serve().start_in_vain().expect_code(3);
    sign("one.pem");
    let host = shop.serve().start();
    assert_eq!(version(&host.get("/")), "a");
    // Altered after it was signed.
    site.put("app.wasm", "version_b_p2");
    let reload = host.ctl(["reload"]);
    reload.expect_code(1);
    assert!(reload.stderr.contains("was altered"), "{}", reload.stderr);
    assert_eq!(version(&host.get("/")), "a");
    sign("one.pem");
    host.ctl(["reload"]).expect_code(0);
    assert_eq!(version(&host.get("/")), "b");
}

#[test]
fn trust_without_a_key_or_with_a_wrong_one_is_refused() {
    let site = Site::new("");
    for (trust, code, says) in [
        ("require = true", 2, "trust.require wants signatures"),
        ("keys = [\"none.pub\"]", 2, "none.pub is not there"),
        ("keys = [\"garbage.pub\"]", 3, "trust.keys: "),
    ] {
        site.put_text(
            "garbage.pub",
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        );
        site.write(&format!("[component.a]\nsource = \"guest:hello_p2\"\n[trust]\n{trust}\n"));
        let check = Host::run(["check", site.text()]);
        check.expect_code(code);
        assert!(check.stderr.contains(says), "{says}: {}", check.stderr);
    }
}
