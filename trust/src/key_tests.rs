//! Keys that are read, and those that are refused, with the sentence.

use crate::test_keys::{
    COSIGN_KEY, COSIGN_PUB, P384_KEY, P384_PUB, PASSPHRASE, RSA_PUB, ed25519, pem, public,
};
use crate::{DetachedSignature, KeyName, KeyProblem, PrivateKey};

fn private(text: &str, passphrase: Option<&str>) -> Result<PrivateKey, KeyProblem> {
    let key = PrivateKey::from_pem(&KeyName::new("k"), text.as_bytes(), passphrase);
    key.map_err(|error| error.problem)
}

#[test]
fn a_key_that_cosign_has_encrypted_opens_with_its_passphrase() {
    let key = private(COSIGN_KEY, Some(PASSPHRASE)).unwrap();
    let signature = DetachedSignature::sign_blob(&key, b"bytes").unwrap();
    assert!(public("k", COSIGN_PUB).unwrap().has_signed(b"bytes", signature.bytes()));
    let older = COSIGN_KEY.replace("SIGSTORE", "COSIGN");
    assert!(private(&older, Some(PASSPHRASE)).is_ok());
}

#[test]
fn a_key_of_cosign_without_its_passphrase_stays_shut() {
    assert_eq!(private(COSIGN_KEY, None).unwrap_err(), KeyProblem::NoPassphrase);
    assert_eq!(private(COSIGN_KEY, Some("")).unwrap_err(), KeyProblem::WrongPassphrase);
    assert_eq!(
        private(COSIGN_KEY, Some("Correct horse")).unwrap_err(),
        KeyProblem::WrongPassphrase
    );
    let said = private(COSIGN_KEY, None).unwrap_err().to_string();
    assert!(said.contains("COSIGN_PASSWORD") && said.contains("openssl genpkey"), "{said}");
}

#[test]
fn a_key_of_cosign_that_asks_for_too_much_or_for_what_is_unknown_is_refused() {
    let of = |kdf: &str, n: &str, p: &str, cipher: &str, nonce: &str| {
        let json = format!(
            r#"{{"kdf":{{"name":"{kdf}","params":{{"N":{n},"r":8,"p":{p}}},"salt":"AAAA"}},"cipher":{{"name":"{cipher}","nonce":"{nonce}"}},"ciphertext":"AAAA"}}"#
        );
        private(&pem("ENCRYPTED SIGSTORE PRIVATE KEY", json.as_bytes()), Some("")).unwrap_err()
    };
    let nonce = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let form = |form| KeyProblem::CosignForm { form };
    let numbers = form("the numbers of its scrypt");
    for n in ["0", "1", "3", "1048576", "18446744073709551615", "9223372036854775808"] {
        assert_eq!(of("scrypt", n, "1", "nacl/secretbox", nonce), numbers, "{n}");
    }
    assert_eq!(of("scrypt", "32768", "4294967295", "nacl/secretbox", nonce), numbers);
    let argon = of("argon2", "2", "1", "nacl/secretbox", nonce);
    assert_eq!(argon, form("its key is not made by scrypt"));
    assert_eq!(of("scrypt", "2", "1", "aes", nonce), form("its cipher is not nacl/secretbox"));
    let short = of("scrypt", "2", "1", "nacl/secretbox", "AAAA");
    assert_eq!(short, form("its nonce has not 24 bytes"));
    assert_eq!(of("scrypt", "2", "1", "nacl/secretbox", nonce), KeyProblem::WrongPassphrase);
}

#[test]
fn keys_of_other_kinds_are_refused_by_name() {
    for (text, kind) in [(P384_PUB, "a key of P-384"), (RSA_PUB, "a key of RSA")] {
        assert_eq!(
            public("release.pub", text).unwrap_err(),
            format!(
                "the key release.pub cannot be used: it is {kind}, and signatures here are by Ed25519 or ECDSA with \
                 P-256; make one with openssl genpkey -algorithm ed25519, or with cosign generate-key-pair"
            )
        );
    }
    let found = "a key of P-384";
    assert_eq!(private(P384_KEY, None).unwrap_err(), KeyProblem::Kind { found });
}

#[test]
fn a_file_that_is_no_key_is_refused_with_what_it_is() {
    let said = |text: &str| public("k", text).unwrap_err();
    let missing =
        "it is not in PEM; it needs a section that begins with -----BEGIN PUBLIC KEY-----";
    assert!(said("").ends_with(missing), "{}", said(""));
    assert!(said("hello\n").ends_with(missing));
    assert!(said("\u{0}\u{1}").ends_with(missing));
    let torn = COSIGN_PUB.get(..100).unwrap();
    assert!(said(torn).contains("its PEM breaks off, or is not base64"), "{}", said(torn));
    let damaged = COSIGN_PUB.replace("MFkw", "M?kw");
    assert!(said(&damaged).contains("its PEM breaks off, or is not base64"));
    let twice = format!("{COSIGN_PUB}{COSIGN_PUB}");
    assert!(said(&twice).contains("more than one section"));
    assert!(said(&pem("PUBLIC KEY", b"garbage")).contains("holds no key in DER"));
    let certificate = said(&pem("CERTIFICATE", b"x"));
    assert!(certificate.contains("openssl x509 -pubkey"), "{certificate}");
    assert!(said(COSIGN_KEY).contains("openssl pkey -in KEY -pubout"));
}

#[test]
fn a_public_key_that_is_longer_or_shorter_than_it_says_is_refused() {
    let mut der = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    der.extend([7; 32]);
    assert!(public("k", &pem("PUBLIC KEY", &der)).is_ok());
    der.push(0);
    assert!(public("k", &pem("PUBLIC KEY", &der)).unwrap_err().contains("not those of a key"));
    let short = [0x30, 0x0b, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x02, 0x00, 0x07];
    let said = public("k", &pem("PUBLIC KEY", &short)).unwrap_err();
    assert!(said.contains("its numbers are not those of a key of Ed25519"), "{said}");
}

#[test]
fn private_keys_that_are_not_pkcs8_are_refused_with_the_way() {
    let said = |label: &str| private(&pem(label, b"x"), None).unwrap_err().to_string();
    assert!(said("EC PRIVATE KEY").contains("openssl pkcs8 -topk8 -nocrypt"));
    assert!(said("ENCRYPTED PRIVATE KEY").contains("openssl pkey -in KEY -out plain.pem"));
    assert!(said("PUBLIC KEY").contains("name the private key"));
    assert!(said("PRIVATE KEY").contains("holds no key in DER"));
    let torn = [0x30, 0x0b, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x00];
    let torn = private(&pem("PRIVATE KEY", &torn), None).unwrap_err();
    assert_eq!(torn, KeyProblem::Numbers { kind: "Ed25519" });
}

#[test]
fn the_same_key_has_the_same_fingerprint() {
    let key = ed25519("one");
    assert_eq!(key.public_key().fingerprint(), key.public_key().fingerprint());
    assert_ne!(key.public_key().fingerprint(), ed25519("one").public_key().fingerprint());
}

/// Numbers, base64 and passphrases of a private key are told to nobody.
#[test]
fn nothing_secret_is_shown() {
    let key = private(COSIGN_KEY, Some(PASSPHRASE)).unwrap();
    let shown = format!("{key:?}");
    assert_eq!(shown, format!("PrivateKey(k, of {:?})", key.public_key()));
    let torn = COSIGN_KEY.get(..200).unwrap();
    for (text, passphrase) in
        [(torn, None), (COSIGN_KEY, Some("open sesame")), (P384_KEY, Some("open sesame"))]
    {
        let name = KeyName::new("k");
        let error = PrivateKey::from_pem(&name, text.as_bytes(), passphrase).unwrap_err();
        let shown = format!("{error} {error:?}");
        let lines = [COSIGN_KEY, P384_KEY].map(|text| text.lines().nth(1).unwrap());
        for secret in ["sesame", lines[0], lines[1]] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
