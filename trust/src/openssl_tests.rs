//! Against `openssl`, in both directions: what it writes is read and trusted here, and the other way round.
#![allow(clippy::print_stdout, reason = "a test that shows nothing says so")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::test_keys::{private, public};
use crate::{DetachedSignature, TrustPolicy, Vouched};

const BYTES: &[u8] = b"\0asm of a component";

const ED25519: &[&str] = &["-algorithm", "ed25519"];
const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

struct OpenSsl(TempDir);

impl OpenSsl {
    /// Nothing, with a sentence, where it is not installed.
    fn with_bytes() -> Option<Self> {
        let mut asked = Command::new("openssl");
        asked.arg("version").stdout(Stdio::null()).stderr(Stdio::null());
        if !asked.status().is_ok_and(|status| status.success()) {
            println!("no openssl runs here (Debian: apt-get install openssl), so nothing is shown");
            return None;
        }
        let place = TempDir::new().unwrap();
        fs::write(place.path().join("bytes"), BYTES).unwrap();
        Some(Self(place))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn asked<A: AsRef<OsStr>>(&self, arguments: &[A]) -> bool {
        let mut command = Command::new("openssl");
        command.current_dir(self.0.path()).args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }

    fn must<A: AsRef<OsStr> + std::fmt::Debug>(&self, arguments: &[A]) {
        assert!(self.asked(arguments), "openssl {arguments:?}");
    }

    fn make_key(&self, kind: &[&str]) {
        self.must(&[&["genpkey", "-out", "key"], kind].concat());
        self.must(&["pkey", "-in", "key", "-pubout", "-out", "pub"]);
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

#[test]
fn openssl_trusts_what_is_signed_here() {
    let Some(openssl) = OpenSsl::with_bytes() else { return };
    let check = |kind: &[&str], verify: &[&str]| {
        openssl.make_key(kind);
        let key = private("key", &openssl.text("key"));
        let signature = DetachedSignature::sign_blob(&key, BYTES).unwrap();
        write(&openssl.path("sig64"), signature.to_base64().as_bytes());
        openssl.must(&["base64", "-d", "-A", "-in", "sig64", "-out", "sig"]);
        openssl.must(verify);
        write(&openssl.path("bytes"), b"other bytes");
        assert!(!openssl.asked(verify), "openssl takes altered bytes");
        write(&openssl.path("bytes"), BYTES);
    };
    check(P256, &["dgst", "-sha256", "-verify", "pub", "-signature", "sig", "bytes"]);
    let raw = [
        "pkeyutl", "-verify", "-pubin", "-inkey", "pub", "-rawin", "-in", "bytes", "-sigfile",
        "sig",
    ];
    check(ED25519, &raw);
}

#[test]
fn what_openssl_signs_is_trusted_here() {
    let Some(openssl) = OpenSsl::with_bytes() else { return };
    let check = |kind: &[&str], sign: &[&str]| {
        openssl.make_key(kind);
        openssl.must(sign);
        openssl.must(&["base64", "-A", "-in", "sig", "-out", "sig64"]);
        let key = public("pub", &openssl.text("pub")).unwrap();
        let policy = TrustPolicy::new(vec![key.clone()], true);
        let text = openssl.text("sig64");
        let vouched = policy.verify_blob(BYTES, Some(text.as_bytes()));
        assert_eq!(vouched, Ok(Vouched::By(key.name().clone())));
        assert!(policy.verify_blob(b"other bytes", Some(text.as_bytes())).is_err());
    };
    check(P256, &["dgst", "-sha256", "-sign", "key", "-out", "sig", "bytes"]);
    check(ED25519, &["pkeyutl", "-sign", "-inkey", "key", "-rawin", "-in", "bytes", "-out", "sig"]);
}

#[test]
fn a_key_with_its_parameters_before_it_is_read() {
    let Some(openssl) = OpenSsl::with_bytes() else { return };
    openssl.must(&["ecparam", "-name", "prime256v1", "-genkey", "-out", "sec1"]);
    openssl.must(&["pkcs8", "-topk8", "-nocrypt", "-in", "sec1", "-out", "key"]);
    private("key", &openssl.text("key"));
    let parameters = openssl.text("sec1");
    let (parameters, _) = parameters.split_once("-----BEGIN EC PRIVATE KEY-----").unwrap();
    assert!(parameters.contains("EC PARAMETERS"), "openssl writes none any more: {parameters}");
    private("key", &format!("{parameters}{}", openssl.text("key")));
}
