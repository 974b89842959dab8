//! Signatures of images, as cosign pushes them.

use crate::test_keys::{ed25519, p256, trusting};
use crate::{
    DetachedSignature, ImageIdentity, ImageSignature, KeyName, PrivateKey, Untrusted, Vouched,
    same_repository,
};

const DIGEST: &str = "sha256:66a045b452102c59d840ec097d59d9467e13a3f34f6494e539ffd32c1bb35f18";
const OTHER: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
const CART: ImageIdentity<'_> = ImageIdentity { repository: "ghcr.io/shop/cart", digest: DIGEST };

fn sign(key: &PrivateKey, image: ImageIdentity<'_>) -> ImageSignature {
    ImageSignature::sign(key, image).unwrap()
}

#[test]
fn the_payload_is_what_cosign_writes_to_the_byte() {
    let payload = sign(&ed25519("release"), CART).payload;
    let expected = format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"ghcr.io/shop/cart"}},"image":{{"docker-manifest-digest":"{DIGEST}"}},"type":"cosign container image signature"}},"optional":null}}"#
    );
    assert_eq!(String::from_utf8(payload).unwrap(), expected);
}

#[test]
fn one_right_signature_among_others_is_enough() {
    for key in [ed25519("release"), p256("release")] {
        let stranger = ed25519("stranger");
        let garbage = ImageSignature { payload: b"{".to_vec(), signature: "AAAA".into() };
        let signatures = [garbage, sign(&stranger, CART), sign(&key, CART)];
        let vouched = trusting(&[&key]).verify(CART, &signatures);
        assert_eq!(vouched, Ok(Vouched::By(KeyName::new("release"))));
    }
}

#[test]
fn a_payload_of_cosign_with_annotations_and_other_spaces_is_read() {
    let key = p256("release");
    let text = format!(
        r#"{{ "optional": {{"git": "v1", "n": 3}}, "critical": {{"type": "cosign container image signature",
            "image": {{"docker-manifest-digest": "{DIGEST}"}}, "identity": {{"docker-reference": "ghcr.io/shop/cart:v1"}} }} }}"#
    );
    let signature = DetachedSignature::sign_blob(&key, text.as_bytes()).unwrap().to_base64();
    let signature = ImageSignature { payload: text.into_bytes(), signature };
    assert!(trusting(&[&key]).verify(CART, &[signature]).is_ok());
}

#[test]
fn a_signature_of_another_digest_is_refused_with_both() {
    let key = ed25519("release");
    let moved = sign(&key, ImageIdentity { digest: OTHER, ..CART });
    let why = trusting(&[&key]).verify(CART, &[moved]).unwrap_err();
    let (key, signed, found) = (KeyName::new("release"), OTHER.to_owned(), DIGEST.to_owned());
    assert_eq!(why, Untrusted::OtherDigest { key, signed, found });
    assert!(why.to_string().contains(OTHER) && why.to_string().contains(DIGEST), "{why}");
}

#[test]
fn a_signature_of_another_repository_is_refused_with_both() {
    let key = ed25519("release");
    let moved = sign(&key, ImageIdentity { repository: "ghcr.io/shop/staging", ..CART });
    let why = trusting(&[&key]).verify(CART, &[moved]).unwrap_err();
    assert_eq!(
        why.to_string(),
        "release has signed it for the repository ghcr.io/shop/staging, and it comes from ghcr.io/shop/cart; sign it \
         again for that one"
    );
}

#[test]
fn a_payload_that_was_altered_is_refused_whatever_it_says() {
    let key = ed25519("release");
    let mut altered = sign(&key, ImageIdentity { digest: OTHER, ..CART });
    altered.payload = sign(&key, CART).payload;
    let why = trusting(&[&key]).verify(CART, &[altered.clone()]).unwrap_err();
    assert_eq!(why, Untrusted::OtherKey { keys: "release".into() });
    altered.payload = sign(&key, ImageIdentity { repository: "evil.example/a", ..CART }).payload;
    let why = trusting(&[&key]).verify(CART, &[altered]).unwrap_err();
    assert_eq!(why, Untrusted::OtherKeyOrAltered { keys: "release".into() });
}

#[test]
fn of_several_reasons_the_nearest_is_told() {
    let (key, stranger) = (ed25519("release"), p256("stranger"));
    let garbage = ImageSignature { payload: b"{".to_vec(), signature: "?".into() };
    let policy = trusting(&[&key]);
    let why = policy.verify(CART, std::slice::from_ref(&garbage)).unwrap_err();
    assert_eq!(why, Untrusted::Malformed { why: "it is not in base64" });
    let why = policy.verify(CART, &[garbage.clone(), sign(&stranger, CART)]).unwrap_err();
    assert_eq!(why, Untrusted::OtherKey { keys: "release".into() });
    let moved = sign(&key, ImageIdentity { digest: OTHER, ..CART });
    let why = policy.verify(CART, &[moved, sign(&stranger, CART), garbage]).unwrap_err();
    assert!(matches!(why, Untrusted::OtherDigest { .. }), "{why}");
    assert!(matches!(policy.verify(CART, &[]).unwrap_err(), Untrusted::Unsigned { .. }));
}

#[test]
fn what_is_signed_has_to_be_an_image() {
    let key = ed25519("release");
    for (text, said) in [
        ("{}", "what is signed is not the JSON of cosign"),
        (
            r#"{"critical":{"identity":{"docker-reference":"ghcr.io/shop/cart"},"image":{"docker-manifest-digest":"D"},"type":"atomic container signature"}}"#,
            "what is signed is not an image",
        ),
    ] {
        let text = text.replace('D', DIGEST).into_bytes();
        let signature = DetachedSignature::sign_blob(&key, &text).unwrap().to_base64();
        let signature = ImageSignature { payload: text, signature };
        let why = trusting(&[&key]).verify(CART, &[signature]).unwrap_err();
        assert_eq!(why, Untrusted::Malformed { why: said });
    }
}

#[test]
fn repositories_are_compared_by_registry_and_path() {
    for (one, other) in [
        ("ghcr.io/shop/cart", "ghcr.io/shop/cart:v1"),
        ("ghcr.io/shop/cart@sha256:00", "GHCR.io/shop/cart:v1@sha256:00"),
        ("localhost:5000/cart", "localhost:5000/cart:v1"),
        ("index.docker.io/library/nginx", "nginx"),
        ("docker.io/shop/cart", "index.docker.io/shop/cart:1"),
    ] {
        assert!(same_repository(one, other) && same_repository(other, one), "{one} {other}");
    }
    for (one, other) in [
        ("ghcr.io/shop/cart", "ghcr.io/shop/Cart"),
        ("ghcr.io/shop/cart", "ghcr.io/shop/cart/v1"),
        ("localhost:5000/cart", "localhost:5001/cart"),
        ("localhost:5000/cart", "localhost/cart"),
        ("ghcr.io/shop/cart", "shop/cart"),
        ("ghcr.io/library/cart", "ghcr.io/cart"),
        ("", "ghcr.io/cart"),
    ] {
        assert!(!same_repository(one, other) && !same_repository(other, one), "{one} {other}");
    }
}
