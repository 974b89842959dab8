//! Pairs of every kind that are refused, at a start and at a reload, and those that are taken.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use host_manifest::CertificateConfig;

use crate::certificate::Certificate;
use crate::store::CertificateStore;
use crate::test_authority::{HERE, Setup, files, listener, load, newest, reload};
use crate::tickets::TicketKeys;

/// Expects that a start and a reload refuse the pair for this reason, and that a reload leaves what was there.
#[track_caller]
fn refused(pair: &CertificateConfig, words: &[&str]) {
    let told =
        CertificateStore::load(&[listener(HERE, vec![pair.clone()])], TicketKeys::new().unwrap());
    let told = told.unwrap_err();
    assert_eq!((told.len(), told[0].line), (1, Some(7)), "{told:?}");
    let told = told[0].to_string();
    for word in words.iter().chain(&["listener 127.0.0.1:8443: "]) {
        assert!(told.contains(word), "no {word:?} in {told}");
    }
    let setup = Setup::new();
    let good = setup.write("good", "good.example");
    let store = load(&[listener(HERE, vec![good.clone()])]);
    let before = newest(&store);
    fs::copy(&pair.cert, &good.cert).ok();
    fs::copy(&pair.key, &good.key).ok();
    if !pair.cert.exists() {
        fs::remove_file(&good.cert).unwrap();
    }
    let reload = reload(&store);
    assert_eq!((reload.changed.len(), reload.errors.len()), (0, 1), "{reload:?}");
    assert!(Arc::ptr_eq(&before, &newest(&store)), "{told}");
    assert_eq!(store.status()[0].errors, [reload.errors[0].error.to_string()]);
    assert_eq!(store.reloads(), [("reloaded", 0), ("unchanged", 0), ("rejected", 1)]);
}

#[test]
fn what_is_no_certificate_or_no_key_is_refused_with_what_to_do() {
    let setup = Setup::new();
    let at = |name: &str| setup.folder.path().join(name);
    let good = setup.write("good", "a.example");
    let (cert, key) = (fs::read(&good.cert).unwrap(), fs::read(&good.key).unwrap());
    let key_der = setup.issue("a.example").key.serialize_der();
    let half = &cert[..cert.len() / 2];
    let der = setup.issue("a.example").der().to_vec();
    let broken = String::from_utf8(cert.clone()).unwrap().replace("\nMI", "\n??");
    let bundle =
        [&cert[..], b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"].concat();
    for (text, words) in [
        (&b""[..], &["is empty; write it anew"][..]),
        (b"no PEM\n", &["is not in PEM; it needs a line such as -----BEGIN CERT"]),
        (&der, &["is in DER, not in PEM; convert it"]),
        (&key_der, &["is in DER, not in PEM; convert it"]),
        (half, &["breaks off in the middle of a section; write it anew"]),
        (broken.as_bytes(), &["has a section that is no PEM"]),
        (&key, &["no certificate in it, but a key; are the files"]),
        (
            b"-----BEGIN X-----\nAAAA\n-----END X-----\n",
            &["it needs a section -----BEGIN CERTIFICATE"],
        ),
        (&bundle, &["certificate 2 in ", "cannot be used"]),
    ] {
        let path = at("other.pem");
        fs::write(&path, text).unwrap();
        refused(&CertificateConfig { cert: path, ..good.clone() }, words);
    }
    let fixture =
        |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fixtures").join(name);
    for (file, words) in [
        (good.cert.clone(), &["no private key in it, but a certificate; are the files"][..]),
        (
            fixture("encrypted8.key"),
            &["is encrypted; write it without a passphrase (openssl pkey -in /"],
        ),
        (fixture("encrypted1.key"), &["is encrypted; write it without a passphrase"]),
        (fixture("sec1.key"), &["is not that of the certificate in", "give both of one issue"]),
        (fixture("rsa.key"), &["is not that of the certificate in"]),
    ] {
        refused(&CertificateConfig { key: file, ..good.clone() }, words);
    }
    let path = at("odd.key");
    fs::write(&path, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    refused(
        &CertificateConfig { key: path, ..good.clone() },
        &["cannot be used", "ECDSA with P-256"],
    );
    refused(
        &CertificateConfig { cert: at("none"), ..good.clone() },
        &["cannot be read: No such file"],
    );
    refused(&CertificateConfig { cert: at(""), ..good }, &["it is not a regular file"]);
}

#[test]
fn a_chain_in_the_wrong_order_is_told_from_a_wrong_key() {
    let setup = Setup::new();
    let good = setup.write("good", "a.example");
    let own = fs::read_to_string(&good.cert).unwrap();
    fs::write(&good.cert, setup.authority.pem() + &own).unwrap();
    refused(&good, &["belongs to certificate 2 in", "write the server's own certificate first"]);
    fs::write(&good.cert, own + &setup.authority.pem()).unwrap();
    let server = newest(&load(&[listener(HERE, vec![good])]));
    assert_eq!(setup.shown(&server, "a.example").len(), 2);
}

#[test]
fn keys_are_read_in_each_of_their_forms() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fixtures");
    for (name, begins) in [("rsa", "-----BEGIN RSA PRIVATE"), ("sec1", "-----BEGIN EC PARAMETERS")]
    {
        let (cert, key) = files(&fixtures, name);
        assert!(fs::read_to_string(&key).unwrap().starts_with(begins));
        let store = load(&[listener(HERE, vec![CertificateConfig { cert, key, names: vec![] }])]);
        assert_eq!(store.status()[0].certificates[0].names, [format!("{name}.example")]);
    }
    // Both in one file, as HAProxy has it.
    let setup = Setup::new();
    let issued = setup.issue("one.example");
    let path = setup.folder.path().join("both.pem");
    fs::write(&path, issued.key.serialize_pem() + &issued.certificate.pem()).unwrap();
    let pair = CertificateConfig { cert: path.clone(), key: path, names: vec![] };
    let server = newest(&load(&[listener(HERE, vec![pair])]));
    assert_eq!(setup.shown(&server, "one.example")[0], *issued.der());
}

#[test]
fn keys_show_up_nowhere() {
    let setup = Setup::new();
    let issued = setup.issue("a.example");
    let pair = issued.write(setup.folder.path(), "a");
    let store = load(&[listener(HERE, vec![pair.clone()])]);
    let key = issued.key.serialize_der();
    let secret = |text: &str| {
        let numbers = format!("{:?}", &key[key.len() - 40..]);
        let pem = issued.key.serialize_pem();
        let line = pem.lines().nth(1).unwrap();
        text.contains(line) || text.contains(numbers.trim_matches(['[', ']']))
    };
    let prepared = store.prepare(None);
    let certificate = Certificate::load(&pair).unwrap();
    for shown in [format!("{store:?}"), format!("{prepared:?}"), format!("{certificate:?}")] {
        assert!(!secret(&shown), "{shown}");
    }
    // A line of a key that is broken does not stand in what is said of it.
    let pem = issued.key.serialize_pem();
    let line = pem.lines().nth(1).unwrap();
    for broken in [pem.replace(line, &format!("{line}?")), pem.replace("-----END", "----END")] {
        fs::write(&pair.key, &broken).unwrap();
        let why = reload(&store).errors[0].to_string();
        assert!(!why.contains(line.split_at(20).0), "{why}");
    }
    store.refuse(prepared);
}
