//! Signatures beside files.

use crate::test_keys::{ed25519, p256, trusting};
use crate::{DetachedSignature, KeyName, TrustPolicy, Untrusted, Vouched};

const BYTES: &[u8] = b"\0asm of a component";

#[test]
fn a_file_is_trusted_by_the_key_that_has_signed_it() {
    for key in [ed25519("release"), p256("release")] {
        let text = DetachedSignature::sign_blob(&key, BYTES).unwrap().to_base64() + "\n";
        let other = ed25519("other");
        let vouched = trusting(&[&other, &key]).verify_blob(BYTES, Some(text.as_bytes()));
        assert_eq!(vouched, Ok(Vouched::By(KeyName::new("release"))));
    }
}

#[test]
fn no_byte_of_a_file_and_of_its_signature_may_be_another() {
    for key in [ed25519("release"), p256("release")] {
        let policy = trusting(&[&key]);
        let signature = DetachedSignature::sign_blob(&key, BYTES).unwrap();
        let text = signature.to_base64();
        for at in 0..BYTES.len() {
            let mut bytes = BYTES.to_vec();
            bytes[at] ^= 1;
            let why = policy.verify_blob(&bytes, Some(text.as_bytes())).unwrap_err();
            assert_eq!(why, Untrusted::OtherKeyOrAltered { keys: "release".into() });
        }
        for at in 0..signature.bytes().len() {
            let mut numbers = signature.bytes().to_vec();
            numbers[at] ^= 1;
            assert!(!key.public_key().has_signed(BYTES, &numbers), "byte {at}");
        }
    }
}

#[test]
fn a_signature_by_another_key_counts_for_nothing() {
    let (release, other) = (ed25519("release"), ed25519("other"));
    let text = DetachedSignature::sign_blob(&other, BYTES).unwrap().to_base64();
    let why = trusting(&[&release]).verify_blob(BYTES, Some(text.as_bytes())).unwrap_err();
    assert_eq!(
        why.to_string(),
        "it is signed by another key than release, or was altered after it was signed"
    );
}

#[test]
fn a_signature_that_is_missing_empty_or_no_base64_is_told_apart() {
    let policy = trusting(&[&ed25519("one"), &p256("two")]);
    let said = |text: Option<&[u8]>| policy.verify_blob(BYTES, text).unwrap_err().to_string();
    assert_eq!(said(None), "it is not signed; a signature by one or two is required");
    assert_eq!(said(Some(b" \n")), "its signature cannot be read: it is empty; sign it again");
    assert_eq!(
        said(Some(b"?")),
        "its signature cannot be read: it is not in base64; sign it again"
    );
    assert_eq!(
        said(Some(b"AAAA")),
        "it is signed by another key than one or two, or was altered after it was signed"
    );
}

#[test]
fn where_no_signature_is_required_the_reason_is_told_all_the_same() {
    let key = ed25519("release");
    let lax = TrustPolicy::new(vec![key.public_key()], false);
    let unsigned = Untrusted::Unsigned { keys: "release".into() };
    assert_eq!(lax.verify_blob(BYTES, None), Ok(Vouched::Nobody(unsigned)));
    let text = DetachedSignature::sign_blob(&key, BYTES).unwrap().to_base64();
    let vouched = lax.verify_blob(BYTES, Some(text.as_bytes()));
    assert_eq!(vouched, Ok(Vouched::By(KeyName::new("release"))));
    assert!(!lax.requires());
}

#[test]
fn signatures_that_are_required_without_a_key_trust_nothing() {
    let text = DetachedSignature::sign_blob(&ed25519("any"), BYTES).unwrap().to_base64();
    let strict = TrustPolicy::new(Vec::new(), true);
    assert_eq!(strict.verify_blob(BYTES, Some(text.as_bytes())), Err(Untrusted::NoKeys));
    assert_eq!(strict.verify_blob(BYTES, None), Err(Untrusted::NoKeys));
}
