//! Sources that are read, and those that are refused, with the sentence.

use proptest::prelude::*;

use crate::{ContentDigest, Reference};

const HEX: &str = "66a045b452102c59d840ec097d59d9467e13a3f34f6494e539ffd32c1bb35f18";

fn said(text: &str) -> String {
    text.parse::<Reference>().unwrap_err().to_string()
}

#[test]
fn images_are_named_by_tag_by_digest_or_by_both() {
    for behind in [":1.4".to_owned(), format!("@sha256:{HEX}"), format!(":v1_2-rc@sha256:{HEX}")] {
        for name in [
            "ghcr.io/shop/cart",
            "localhost:5000/cart",
            "127.0.0.1:1/a/b__c/d-e",
            "[::1]:5000/a",
            "r/a",
        ] {
            let text = format!("oci://{name}{behind}");
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }
    let Reference::Oci(image) = format!("oci://GHCR.io/shop/cart:1@sha256:{HEX}").parse().unwrap()
    else {
        panic!("no image")
    };
    assert_eq!(
        (image.registry(), image.repository(), image.tag()),
        ("ghcr.io", "shop/cart", Some("1"))
    );
    assert_eq!(image.digest(), Some(ContentDigest::from_hex(HEX).unwrap()));
    assert_eq!(image.identity(), "ghcr.io/shop/cart");
    assert_eq!(image.asked(), format!("sha256:{HEX}"));
}

#[test]
fn docker_hub_is_asked_where_it_answers() {
    let Reference::Oci(image) = "oci://docker.io/nginx:1".parse().unwrap() else {
        panic!("no image")
    };
    assert_eq!((image.api_host(), image.repository()), ("registry-1.docker.io", "library/nginx"));
}

#[test]
fn files_are_named_by_address_and_digest() {
    for text in [
        format!("https://example.com/app.wasm#sha256={HEX}"),
        format!("http://127.0.0.1:8000/a/app.wasm#sha256={HEX}"),
        format!("http://[::1]/app.wasm#sha256={HEX}"),
        format!("http://localhost/app.wasm#sha256={HEX}"),
    ] {
        assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
    }
}

#[test]
fn what_is_wrong_with_a_source_is_told_with_its_text() {
    assert_eq!(
        said("oci://ghcr.io/shop/cart"),
        "\"oci://ghcr.io/shop/cart\" is no source of a component: there is no version; write :TAG or @sha256:DIGEST \
         behind it"
    );
    for (text, part) in [
        ("shop.wasm", "it begins with oci:// or https://"),
        ("ftp://a/b", "it begins with oci:// or https://"),
        ("oci://ghcr.io", "there is no repository behind the registry"),
        ("oci:///cart:1", "its registry is no host name"),
        ("oci://gh_cr.io/cart:1", "its registry is no host name"),
        ("oci://ghcr.io:99999/cart:1", "its registry is no host name"),
        ("oci://ghcr.io:/cart:1", "its registry is no host name"),
        ("oci://7/cart:1", "its registry is no host name"),
        ("oci://user@ghcr.io/cart:1", "its registry is no host name"),
        ("oci://ghcr.io/Shop/cart:1", "its repository may have lower-case letters"),
        ("oci://ghcr.io/shop//cart:1", "its repository may have lower-case letters"),
        ("oci://ghcr.io/../cart:1", "its repository may have lower-case letters"),
        ("oci://ghcr.io/a..b:1", "its repository may have lower-case letters"),
        ("oci://ghcr.io/cart:", "its tag may have letters"),
        ("oci://ghcr.io/cart:-1", "its tag may have letters"),
        ("oci://ghcr.io/cart:a\"b", "its tag may have letters"),
        ("oci://ghcr.io/cart@sha256:66a0", "its digest is not sha256:"),
        ("oci://ghcr.io/cart@sha512:66a0", "its digest is not sha256:"),
        ("https://example.com/app.wasm", "there is no digest; write #sha256="),
        ("https://example.com/app.wasm#sha256=66A0", "its digest is not sha256="),
        (
            "http://example.com/app.wasm#sha256=66a0",
            "http:// is for addresses of this machine only",
        ),
        ("https://", "its address is none"),
        ("https://example.com/app.wasm?token=secret#sha256=66a0", "its address has a query"),
    ] {
        assert!(said(text).contains(part), "{text}: {}", said(text));
    }
    let upper = format!("oci://ghcr.io/cart@sha256:{}", HEX.to_uppercase());
    assert!(said(&upper).contains("lower case"));
    let long = format!("oci://ghcr.io/{}:1", "a".repeat(250));
    assert!(said(&long).contains("more than 255"));
    assert!(said(&format!("oci://ghcr.io/cart:{}", "a".repeat(129))).contains("128"));
}

#[test]
fn a_password_in_a_source_is_refused_and_not_shown() {
    for text in [
        "https://user:hunter2@example.com/app.wasm#sha256=00",
        "oci://user:hunter2@ghcr.io/cart:1",
        "https://example.com/app.wasm?key=hunter2#sha256=00",
    ] {
        let error = text.parse::<Reference>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

proptest! {
    #[test]
    fn no_text_breaks_it_and_what_is_read_is_written_the_same(text in "(oci://|https://|http://)?[a-zA-Z0-9.:/@_\\-\\[\\]#?%=\" ]{0,60}") {
        if let Ok(read) = text.parse::<Reference>() {
            let written = read.to_string();
            prop_assert!(!written.contains(['"', '\\', '\n', ' ']));
            prop_assert_eq!(written.parse::<Reference>().unwrap(), read);
        }
    }

    #[test]
    fn any_text_at_all_is_read_or_refused(text in ".{0,40}", rest in ".{0,40}") {
        for scheme in ["oci://", "https://", ""] {
            let _read = format!("{scheme}{text}/{rest}").parse::<Reference>();
        }
    }
}
