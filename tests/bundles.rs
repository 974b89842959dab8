//! Files of `host compile`, which have code in them: they are served if a key that is trusted has signed them, and
//! nothing is compiled.

use std::fs;
use std::process::Command;

use crate::support::app::{text, version};
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::tools;

/// A bundle of version a, and a key; nothing is signed yet. None, with a sentence, where there is no openssl.
fn bundle(guest_name: &str) -> Option<Site> {
    if !tools::has_with("openssl", "version", "openssl") {
        return None;
    }
    let site = Site::new("");
    let app = guest(guest_name);
    let compile = Host::run(["compile", text(&app), "-o", &site.file("app.cwasm")]);
    compile.expect_code(0);
    let (private, public) = (site.file("key.pem"), site.file("key.pub"));
    let make = ["genpkey", "-algorithm", "ed25519", "-out", &private];
    assert!(Command::new("openssl").args(make).status().unwrap().success());
    let show = ["pkey", "-pubout", "-in", &private, "-out", &public];
    assert!(Command::new("openssl").args(show).status().unwrap().success());
    site.write("[component.app]\nsource = \"app.cwasm\"\n[trust]\nkeys = [\"key.pub\"]\n");
    Some(site)
}

fn sign(site: &Site) {
    let sign = Host::run(["sign", &site.file("app.cwasm"), "--key", &site.file("key.pem")]);
    sign.expect_code(0);
}

fn serve(site: &Site) -> Serve {
    site.serve().args(["--cache-dir", &site.file("cache")])
}

#[test]
fn bundle_that_is_signed_serves_without_a_compile() {
    for name in ["version_a_p2", "version_a_p3"] {
        let Some(site) = bundle(name) else { return };
        sign(&site);
        let host = serve(&site).start();
        assert_eq!(version(&host.get("/")), "a");
        let line = host.wait_log("component compiled, or taken from the cache");
        assert!(line.contains("cached=true"), "{line}");
        drop(host);
        // The component is in it, for a host that has no use for this code.
        let init = Host::run(["init", &site.file("app.cwasm")]);
        init.expect_code(0);
    }
}

#[test]
fn bundle_that_nobody_has_signed_or_that_was_altered_is_refused() {
    let Some(site) = bundle("version_a_p2") else { return };
    let refused = |site: &Site, says: &str| {
        let exit = serve(site).start_in_vain();
        exit.expect_code(3);
        assert!(exit.stderr.contains(says), "{says}: {}", exit.stderr);
    };
    let unsigned = "has compiled code in it, which is run only if a key of [trust] has signed it";
    refused(&site, unsigned);
    sign(&site);
    let whole = fs::read(site.file("app.cwasm")).unwrap();
    let middle = whole.len() / 2;
    let mut altered = whole.clone();
    altered[middle] ^= 1;
    site.put_bytes("app.cwasm", &altered);
    refused(&site, unsigned);
    site.put_bytes("app.cwasm", &whole[..middle]);
    refused(&site, unsigned);
    // Cut off, and signed like that.
    sign(&site);
    let exit = serve(&site).start();
    assert_eq!(version(&exit.get("/")), "a", "the component is whole: it is compiled anew");
    drop(exit);
    site.put_bytes("app.cwasm", &whole[..20]);
    sign(&site);
    refused(&site, "is damaged");
    // A manifest without keys, and flags.
    site.put_bytes("app.cwasm", &whole);
    site.write("[component.app]\nsource = \"app.cwasm\"\n");
    refused(&site, unsigned);
    let exit = Host::serve(&site.file("app.cwasm")).start_in_vain();
    exit.expect_code(3);
    assert!(exit.stderr.contains(unsigned), "{}", exit.stderr);
}
