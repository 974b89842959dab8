//! Debian's `docker-registry`, on a port of its own: plain, with a password, and with TLS by an authority of the test's.
#![allow(clippy::print_stdout, reason = "a test that shows nothing says so")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use host_trust::{
    ImageIdentity, ImageSignature, KeyName, PrivateKey, PublicKey, TrustPolicy, Untrusted, Vouched,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::{
    ComponentInterfaces, ComponentToPush, ContentDigest, OciReference, PrivateAuthorities,
    Reference, RegistryAccess, RegistryError, RegistryLogin, RegistrySignature,
};

use super::{client, image, nobody};

/// `user` with the password `sesame`.
const HTPASSWD: &str = "user:$2b$04$E.ApURUgOZZoLc9qofbyg.q2cXawRWHLKYaJMB0abYmw/FjoGILcq\n";

struct RealRegistry {
    process: Child,
    place: TempDir,
    host: String,
    authorities: PrivateAuthorities,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Doors {
    Open,
    Password,
    PasswordAndTls,
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

impl RealRegistry {
    /// Nothing, with a sentence, where it is not installed.
    fn start(doors: Doors) -> Option<Self> {
        let mut asked = Command::new("docker-registry");
        asked.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if !asked.status().is_ok_and(|status| status.success()) {
            println!(
                "no docker-registry runs here (Debian: apt-get install docker-registry), so nothing is shown"
            );
            return None;
        }
        let place = TempDir::new().unwrap();
        let mut config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: 127.0.0.1:0\n",
            place.path().join("data").display()
        );
        let mut authorities = PrivateAuthorities::default();
        if doors == Doors::PasswordAndTls {
            authorities = certify(place.path(), "one of the test");
            let (chain, key) = (place.path().join("chain.pem"), place.path().join("key.pem"));
            config +=
                &format!("  tls: {{certificate: {}, key: {}}}\n", chain.display(), key.display());
        }
        if doors != Doors::Open {
            fs::write(place.path().join("htpasswd"), HTPASSWD).unwrap();
            let path = place.path().join("htpasswd");
            config += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path.display());
        }
        fs::write(place.path().join("config.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(place.path().join("config.yml"));
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let host = listening(&mut process);
        Some(Self { process, place, host, authorities })
    }

    fn image(&self, name: &str) -> OciReference {
        image(&format!("oci://{}/{name}", self.host))
    }

    fn access(&self, login: Option<&str>) -> RegistryAccess {
        let login = login.map(|text| RegistryLogin::from_file(text.as_bytes()).unwrap());
        RegistryAccess { login, authorities: self.authorities.clone() }
    }
}

/// The address that the log says, in `msg="listening on 127.0.0.1:41234"`. The log is read until its end.
fn listening(process: &mut Child) -> String {
    let log = BufReader::new(process.stderr.take().unwrap());
    let (found, address) = mpsc::channel();
    thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            if let Some((_, behind)) = line.split_once("listening on ") {
                let end = behind.find(['"', ',']).unwrap();
                let _nobody_waits = found.send(behind.get(..end).unwrap().to_owned());
            }
        }
    });
    address.recv_timeout(Duration::from_secs(30)).expect("docker-registry listens")
}

/// An authority, and a certificate by it for 127.0.0.1.
fn certify(place: &Path, name: &str) -> PrivateAuthorities {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    fs::write(place.join("chain.pem"), certificate.pem()).unwrap();
    fs::write(place.join("key.pem"), key.serialize_pem()).unwrap();
    PrivateAuthorities::from_pem(issuer.pem().as_bytes()).unwrap()
}

fn component(text: &str) -> ComponentToPush {
    ComponentToPush {
        bytes: Bytes::from(text.to_owned().into_bytes()),
        annotations: BTreeMap::from([
            ("org.opencontainers.image.version".to_owned(), "1.4".to_owned()),
            ("wasm.world".to_owned(), "wasi:http/proxy@0.2.3 \"q\"".to_owned()),
        ]),
        interfaces: Some(ComponentInterfaces {
            exports: vec!["wasi:http/incoming-handler@0.2.3".into()],
            imports: vec!["wasi:http/types@0.2.3".into()],
        }),
    }
}

/// What is pushed is pulled; the tag leads to the digest; a second push of the same changes nothing.
async fn there_and_back(registry: &RealRegistry, access: &RegistryAccess) -> ContentDigest {
    let (client, cart) = (client(), registry.image("shop/cart:1.4"));
    let pushed = component("\0asm of a cart");
    let digest = client.push(&pushed, &cart, access).await.unwrap();
    assert_eq!(client.push(&pushed, &cart, access).await.unwrap(), digest);
    let source = Reference::Oci(cart.clone());
    assert_eq!(client.resolve(&source, access).await.unwrap(), digest);
    for source in [source, Reference::Oci(cart.pinned(digest))] {
        let pulled = client.pull(&source, access).await.unwrap();
        assert_eq!((pulled.manifest_digest(), pulled.bytes), (Some(digest), pushed.bytes.to_vec()));
    }
    let next = client.push(&component("\0asm of another cart"), &cart, access).await.unwrap();
    assert_ne!(next, digest);
    assert_eq!(client.resolve(&Reference::Oci(cart), access).await.unwrap(), next);
    next
}

#[tokio::test]
async fn a_component_goes_into_an_open_registry_and_comes_back() {
    let Some(registry) = RealRegistry::start(Doors::Open) else { return };
    there_and_back(&registry, &nobody()).await;
    let missing = Reference::Oci(registry.image("shop/missing:1"));
    for error in [
        client().pull(&missing, &nobody()).await.unwrap_err(),
        client().resolve(&missing, &nobody()).await.unwrap_err(),
    ] {
        assert!(matches!(error, RegistryError::Missing { .. }), "{error}");
        assert!(error.to_string().contains("shop/missing"), "{error}");
    }
}

#[tokio::test]
async fn a_registry_with_a_password_lets_in_who_knows_it() {
    let Some(registry) = RealRegistry::start(Doors::Password) else { return };
    there_and_back(&registry, &registry.access(Some("user:sesame"))).await;
    let source = Reference::Oci(registry.image("shop/cart:1.4"));
    for (login, known) in [(None, false), (Some("user:wrong"), true), (Some("a-token"), true)] {
        let access = registry.access(login);
        for error in [
            client().pull(&source, &access).await.unwrap_err(),
            client().resolve(&source, &access).await.unwrap_err(),
            client()
                .push(&component("x"), &registry.image("shop/cart:2"), &access)
                .await
                .unwrap_err(),
        ] {
            assert!(
                matches!(error, RegistryError::Denied { known: k, .. } if k == known),
                "{error}"
            );
            assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_registry_with_tls_by_a_private_authority_is_believed_if_it_is_named() {
    let Some(registry) = RealRegistry::start(Doors::PasswordAndTls) else { return };
    there_and_back(&registry, &registry.access(Some("user:sesame"))).await;
    let other = TempDir::new().unwrap();
    let stranger = RegistryAccess {
        authorities: certify(other.path(), "another one"),
        ..registry.access(Some("user:sesame"))
    };
    let source = Reference::Oci(registry.image("shop/cart:1.4"));
    let error = client().pull(&source, &stranger).await.unwrap_err();
    assert!(matches!(error, RegistryError::Tls { .. }) && !error.is_transient(), "{error}");
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
}

#[tokio::test]
async fn signatures_are_added_to_those_that_are_there() {
    let Some(registry) = RealRegistry::start(Doors::Open) else { return };
    let digest = there_and_back(&registry, &nobody()).await;
    let cart = registry.image("shop/cart:1.4");
    assert_eq!(client().signatures(&cart, digest, &nobody()).await.unwrap(), []);
    let mut all = Vec::new();
    for payload in ["one", "two", "two"] {
        let added =
            RegistrySignature { payload: payload.into(), signature: format!("c2ln{payload}") };
        client().add_signature(&cart, digest, added.clone(), &nobody()).await.unwrap();
        if !all.contains(&added) {
            all.push(added);
        }
        assert_eq!(client().signatures(&cart, digest, &nobody()).await.unwrap(), all);
    }
    let another = client().signatures(&cart, ContentDigest::of(b"x"), &nobody()).await.unwrap();
    assert_eq!(another, []);
}

fn has_skopeo() -> bool {
    let mut asked = Command::new("skopeo");
    asked.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let runs = asked.status().is_ok_and(|status| status.success());
    if !runs {
        println!("no skopeo runs here (Debian: apt-get install skopeo), so nothing is shown");
    }
    runs
}

fn skopeo(arguments: &[&str]) -> Vec<u8> {
    let ran = Command::new("skopeo").args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(ran.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}

/// What `host-trust` signs goes beside the image, and is trusted when it comes back: for its repository and no other.
/// Debian's skopeo cannot sign with keys of cosign, so there is no other program here.
#[tokio::test]
async fn a_signature_comes_back_as_it_was_made() {
    let Some(registry) = RealRegistry::start(Doors::Open) else { return };
    let digest = there_and_back(&registry, &nobody()).await;
    let cart = registry.image("shop/cart:1.4");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../trust/src/fixtures");
    let (name, passphrase) = (KeyName::new("cosign.pub"), Some("correct horse"));
    let private = fs::read(fixtures.join("cosign.key")).unwrap();
    let private = PrivateKey::from_pem(&name, &private, passphrase).unwrap();
    let signed = |repository: &str| {
        let image = ImageIdentity { repository, digest: &digest.to_string() };
        let ImageSignature { payload, signature } = ImageSignature::sign(&private, image).unwrap();
        RegistrySignature { payload, signature }
    };
    let key = PublicKey::from_pem(&name, &fs::read(fixtures.join("cosign.pub")).unwrap()).unwrap();
    let policy = TrustPolicy::new(vec![key], true);
    let verified = async || {
        let found = client().signatures(&cart, digest, &nobody()).await.unwrap();
        let found = found
            .into_iter()
            .map(|RegistrySignature { payload, signature }| ImageSignature { payload, signature });
        let image = ImageIdentity { repository: &cart.identity(), digest: &digest.to_string() };
        policy.verify(image, &found.collect::<Vec<_>>())
    };
    assert!(matches!(verified().await, Err(Untrusted::Unsigned { .. })));
    let moved = signed("ghcr.io/shop/staging");
    client().add_signature(&cart, digest, moved, &nobody()).await.unwrap();
    assert!(matches!(verified().await, Err(Untrusted::OtherRepository { .. })));
    client().add_signature(&cart, digest, signed(&cart.identity()), &nobody()).await.unwrap();
    assert_eq!(verified().await, Ok(Vouched::By(name)));
}

/// Another program sees the layout that the CNCF's working group has, and copies it.
#[tokio::test]
async fn skopeo_reads_and_copies_what_is_pushed_here() {
    let Some(registry) = RealRegistry::start(Doors::Open) else { return };
    if !has_skopeo() {
        return;
    }
    let digest = there_and_back(&registry, &nobody()).await;
    let (from, to) = (
        format!("docker://{}/shop/cart:1.4", registry.host),
        format!("docker://{}/copy:1", registry.host),
    );
    let manifest = skopeo(&["inspect", "--raw", "--tls-verify=false", &from]);
    assert_eq!(ContentDigest::of(&manifest), digest);
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
    assert_eq!(manifest["annotations"]["wasm.world"], "wasi:http/proxy@0.2.3 \"q\"");
    skopeo(&[
        "--insecure-policy",
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        &from,
        &to,
    ]);
    let copied = client().pull(&Reference::Oci(registry.image("copy:1")), &nobody()).await.unwrap();
    assert_eq!(copied.manifest_digest(), Some(digest));
    let blobs = registry.place.path().join("data/docker/registry/v2/blobs/sha256");
    let config =
        manifest["config"]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    let config = fs::read(blobs.join(config.get(..2).unwrap()).join(&config).join("data")).unwrap();
    assert_eq!(
        String::from_utf8(config).unwrap(),
        format!(
            "{{\"created\":\"1970-01-01T00:00:00Z\",\"architecture\":\"wasm\",\"os\":\"wasip2\",\"layerDigests\":[\"{}\"],\
             \"component\":{{\"exports\":[\"wasi:http/incoming-handler@0.2.3\"],\"imports\":[\"wasi:http/types@0.2.3\"]}}}}",
            ContentDigest::of(b"\0asm of another cart")
        )
    );
}
