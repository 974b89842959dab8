//! The lock file: what is written is read, and anything else is refused with its line.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::{ContentDigest, LockFile, PinnedComponent, Reference};

const HEX: &str = "66a045b452102c59d840ec097d59d9467e13a3f34f6494e539ffd32c1bb35f18";

fn cart() -> Reference {
    "oci://ghcr.io/shop/cart:1".parse().unwrap()
}

fn file() -> Reference {
    format!("https://example.com/app.wasm#sha256={HEX}").parse().unwrap()
}

fn pin_of_cart() -> PinnedComponent {
    let manifest = Some(ContentDigest::of(b"manifest"));
    PinnedComponent { manifest, sha256: ContentDigest::of(b"component"), size: 9 }
}

fn pin_of_file() -> PinnedComponent {
    PinnedComponent { manifest: None, sha256: ContentDigest::from_hex(HEX).unwrap(), size: 1 }
}

#[test]
fn what_is_written_is_read_sorted_and_with_a_head() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("host.lock");
    let mut lock = LockFile::load(&path).unwrap();
    assert_eq!(lock, LockFile::default());
    assert!(lock.pin(&cart(), pin_of_cart()));
    assert!(lock.pin(&file(), pin_of_file()));
    assert!(!lock.pin(&cart(), pin_of_cart()), "nothing new");
    lock.save(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(
        text,
        format!(
            "# What each source of a component led to when it was last looked at. A start takes exactly this.\n\
             # Written by the host. Commit it, and let the host write it anew where a source is to lead to something \
             else.\n\
             version = 1\n\n\
             [[component]]\nsource = \"https://example.com/app.wasm#sha256={HEX}\"\nsha256 = \"{HEX}\"\nsize = 1\n\n\
             [[component]]\nsource = \"oci://ghcr.io/shop/cart:1\"\nmanifest = \"{}\"\nsha256 = \"{}\"\nsize = 9\n",
            ContentDigest::of(b"manifest"),
            ContentDigest::of(b"component").hex()
        )
    );
    assert_eq!(LockFile::load(&path).unwrap(), lock);
    assert_eq!(lock.look_up(&cart()), Some(&pin_of_cart()));
    assert!(lock.retain([&file()]));
    assert_eq!((lock.look_up(&cart()), lock.iter().count()), (None, 1));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_source_that_leads_elsewhere_is_refused_with_both_digests() {
    let mut lock = LockFile::default();
    let (pinned, other) = (ContentDigest::of(b"manifest"), ContentDigest::of(b"other"));
    assert_eq!(lock.check(&cart(), other), Ok(()));
    lock.pin(&cart(), pin_of_cart());
    lock.pin(&file(), pin_of_file());
    assert_eq!(lock.check(&cart(), pinned), Ok(()));
    assert_eq!(
        lock.check(&cart(), other).unwrap_err().to_string(),
        format!(
            "oci://ghcr.io/shop/cart:1 is pinned to {pinned}, and leads to {other} now; have the lock file written \
             anew if that is meant"
        )
    );
    assert!(lock.check(&file(), other).is_err());
    assert_eq!(lock.check(&file(), pin_of_file().sha256), Ok(()));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let good = format!(
        "version = 1\n[[component]]\nsource = \"oci://ghcr.io/a:1\"\nmanifest = \"sha256:{HEX}\"\nsha256 = \"{HEX}\"\nsize = 1\n"
    );
    assert!(LockFile::parse(Path::new("host.lock"), &good).is_ok());
    let twice = good.clone() + good.trim_start_matches("version = 1\n");
    for (text, line, part) in [
        ("garbage", 1, "key with no value"),
        ("\u{0}", 1, ""),
        ("", 1, "there is no version"),
        ("version = 2\n", 1, "version 1 of lock files"),
        (&good.replace("size = 1", "size = -1"), 6, "not a negative one"),
        (&good.replace("size = 1", "size = 1\ncolour = 1"), 7, "unknown key \"colour\""),
        (&good.replace("version", "colour = 1\nversion"), 1, "unknown key \"colour\""),
        (&good.replace("oci://ghcr.io/a:1", "./a.wasm"), 3, "no source of a component"),
        (
            &good.replace("oci://ghcr.io", "oci://GHCR.io"),
            3,
            "this source is written \"oci://ghcr.io/a:1\"",
        ),
        (&good.replace("sha256:66", "sha256:6"), 4, "manifest has to be sha256:"),
        (&good.replace("sha256 = \"66", "sha256 = \"6"), 5, "sha256 has to be 64"),
        (&good.replace("manifest", "# manifest"), 2, "there is no manifest"),
        (
            &good.replace("oci://ghcr.io/a:1", &format!("https://a/b#sha256={HEX}")),
            4,
            "a file has no manifest",
        ),
        (&good.replace("size = 1", "size = \"1\""), 6, "this has to be a number"),
        (&good.replace("size = 1", "size = 0x10000000000000000"), 6, "this has to be a number"),
        (&good.replace("size = 1", ""), 2, "there is no size"),
        (&good.replace("[[component]]", "[component]"), 2, "component is [[component]]"),
        ("version = 1\ncomponent = [1]\n", 2, "component is [[component]]"),
        (&good.replace("\"oci", "1 # \"oci"), 3, "this has to be a text"),
        (&twice, 7, "stands in it twice"),
    ] {
        let error = LockFile::parse(Path::new("host.lock"), text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("host.lock, line {line}: ")), "{error}\n{text}");
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_lock_file_that_cannot_be_read_or_written_is_told_by_its_path() {
    let place = TempDir::new().unwrap();
    let error = LockFile::load(place.path()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{} cannot be read", place.path().display())), "{error}");
    let nowhere = place.path().join("no/host.lock");
    assert!(
        LockFile::default().save(&nowhere).unwrap_err().to_string().contains("cannot be written")
    );
}
