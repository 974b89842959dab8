//! Handshakes: which certificate, which version and protocol, which clients.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use host_manifest::{AlpnProtocol, CertificateConfig, ClientAuth, ListenerConfig, TlsVersion};
use rcgen::{KeyPair, PKCS_ED25519};
use rustls::{HandshakeKind, ProtocolVersion, SignatureScheme};

use crate::by_name::CertificatesByName;
use crate::certificate::Certificate;
use crate::store::CertificateStore;
use crate::test_authority::{
    ENDED, GOOD, HERE, Issued, Setup, TestAuthority, listener, load, newest, reload, shake_hands,
    with_clients,
};
use crate::tickets::TicketKeys;

#[test]
fn clients_are_shown_the_certificate_of_the_name_that_they_ask_for() {
    let setup = Setup::new();
    let folder = setup.folder.path();
    let issue = |names: &[&str]| setup.authority.issue(names, GOOD);
    let default = issue(&["default.example"]);
    let exact = issue(&["shop.example", "a.wild.example"]);
    let wild = issue(&["*.wild.example"]);
    let named = issue(&["named.example"]);
    let mut pairs: Vec<_> = [(&default, "0"), (&exact, "1"), (&wild, "2"), (&named, "3")]
        .map(|(issued, file)| issued.write(folder, file))
        .into();
    pairs[3].names = vec!["other.example".parse().unwrap()];
    let server = newest(&load(&[listener(HERE, pairs)]));
    // Clients that do not look: what is shown need not be of that name.
    let shown = |name: &str| {
        let client = Arc::new(setup.authority.client(None));
        match shake_hands(&server, &client, name) {
            Ok((client, _)) => client.peer_certificates().unwrap()[0].clone(),
            Err(why) => panic!("{name}: {why}"),
        }
    };
    for (name, issued) in [
        ("default.example", &default),
        ("shop.example", &exact),
        ("SHOP.example", &exact),
        ("a.wild.example", &exact),
        ("b.wild.example", &wild),
    ] {
        assert_eq!(shown(name), *issued.der(), "{name}");
    }
    let refused = |name: &str| {
        let client = Arc::new(setup.authority.client(None));
        let why = shake_hands(&server, &client, name).map(drop).unwrap_err().to_string();
        assert!(why.contains("not valid for name"), "{why}");
        why
    };
    for name in
        ["unknown.example", "wild.example", "a.b.wild.example", "named.example", "127.0.0.1"]
    {
        assert!(refused(name).contains("default.example"), "{name}");
    }
    assert!(refused("other.example").contains("named.example"), "as the manifest says");
}

#[test]
fn of_two_certificates_for_a_name_the_client_gets_one_that_it_can_verify() {
    let setup = Setup::new();
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let first = setup.authority.issue_by(&["a.example"], GOOD, ed25519);
    let second = setup.issue("a.example");
    let pairs = vec![first.write(setup.folder.path(), "1"), second.write(setup.folder.path(), "2")];
    let server = newest(&load(&[listener(HERE, pairs.clone())]));
    assert_eq!(setup.shown(&server, "a.example")[0], *first.der());
    let only_ecdsa = [SignatureScheme::ECDSA_NISTP256_SHA256];
    let loaded = |pair: &CertificateConfig| Certificate::load(pair).unwrap();
    let all: Vec<_> = pairs.iter().map(loaded).collect();
    let by_name = CertificatesByName::new(&all);
    for name in [Some("a.example"), Some("unknown.example"), None] {
        let chosen = by_name.choose(name, &only_ecdsa).unwrap();
        assert_eq!(chosen.cert[0], *second.der(), "{name:?}");
    }
    assert!(CertificatesByName::new([]).choose(None, &only_ecdsa).is_none());
}

#[test]
fn versions_and_protocols_are_those_of_the_manifest() {
    let setup = Setup::new();
    let pair = setup.write("a", "a.example");
    let mut config = listener(HERE, vec![pair]);
    let handshake = |config: &ListenerConfig, version: Option<_>, alpn: &[&str]| {
        let server = newest(&load(std::slice::from_ref(config)));
        let mut client = match version {
            None => setup.authority.client(None),
            Some(version) => {
                let mut roots = rustls::RootCertStore::empty();
                let pem = setup.authority.pem();
                let path = Path::new("authority");
                roots
                    .add(crate::pem::certificates(path, pem.as_bytes()).unwrap().remove(0))
                    .unwrap();
                rustls::ClientConfig::builder_with_provider(crate::certificate::provider().into())
                    .with_protocol_versions(&[version])
                    .unwrap()
                    .with_root_certificates(roots)
                    .with_no_client_auth()
            }
        };
        client.alpn_protocols = alpn.iter().map(|it| (*it).into()).collect();
        let (_, server) = shake_hands(&server, &Arc::new(client), "a.example")?;
        let alpn = server.alpn_protocol().map(|it| String::from_utf8(it.to_vec()).unwrap());
        Ok::<_, rustls::Error>((server.protocol_version().unwrap(), alpn))
    };
    let tls12 = Some(&rustls::version::TLS12);
    let h2 = Some("h2".to_owned());
    assert_eq!(
        handshake(&config, None, &["http/1.1", "h2"]),
        Ok((ProtocolVersion::TLSv1_3, h2.clone()))
    );
    assert_eq!(handshake(&config, tls12, &["h2"]), Ok((ProtocolVersion::TLSv1_2, h2)));
    assert_eq!(handshake(&config, None, &[]), Ok((ProtocolVersion::TLSv1_3, None)));
    handshake(&config, None, &["spdy/1"]).unwrap_err();
    let tls = config.tls.as_mut().unwrap();
    (tls.min_version, tls.alpn) = (TlsVersion::Tls13, vec![AlpnProtocol::Http1]);
    handshake(&config, tls12, &[]).unwrap_err();
    let http1 = Some("http/1.1".to_owned());
    assert_eq!(
        handshake(&config, None, &["h2", "http/1.1"]),
        Ok((ProtocolVersion::TLSv1_3, http1))
    );
}

#[test]
fn clients_show_certificates_of_these_authorities() {
    let setup = Setup::new();
    let folder = setup.folder.path();
    let (ours, others) = (TestAuthority::new("ours"), TestAuthority::new("others"));
    let file = folder.join("clients.pem");
    fs::write(&file, ours.pem()).unwrap();
    let pair = setup.write("a", "a.example");
    let listener = |auth| with_clients(listener(HERE, vec![pair.clone()]), file.clone(), auth);
    let (required, optional) =
        (load(&[listener(ClientAuth::Required)]), load(&[listener(ClientAuth::Optional)]));
    let ours_shown = ours.issue(&["client.example"], GOOD);
    let client = |shows: Option<&Issued>| Arc::new(setup.authority.client(shows));
    let shake =
        |store: &CertificateStore, client| shake_hands(&newest(store), &client, "a.example");
    for store in [&required, &optional] {
        let (_, server) = shake(store, client(Some(&ours_shown))).unwrap();
        assert_eq!(server.peer_certificates().unwrap(), [ours_shown.der().clone()]);
        for wrong in [others.issue(&["client.example"], GOOD), ours.issue(&["c.example"], ENDED)] {
            assert!(shake(store, client(Some(&wrong))).is_err());
        }
    }
    assert!(shake(&required, client(None)).is_err());
    let (_, server) = shake(&optional, client(None)).unwrap();
    assert_eq!(server.peer_certificates(), None);
    // Another authority comes in by a reload. Each session is a new one.
    let client = client(Some(&ours_shown));
    let kind =
        || shake(&required, client.clone()).map(|(client, _)| client.handshake_kind().unwrap());
    assert_eq!((kind(), kind()), (Ok(HandshakeKind::Full), Ok(HandshakeKind::Full)));
    fs::write(&file, ours.pem() + &others.pem()).unwrap();
    assert_eq!(reload(&required).changed, ["127.0.0.1:8443: its settings"]);
    assert_eq!((kind(), kind()), (Ok(HandshakeKind::Full), Ok(HandshakeKind::Full)));
    fs::write(&file, others.pem()).unwrap();
    reload(&required);
    assert!(kind().is_err(), "its authority has gone");
    fs::write(&file, "").unwrap();
    assert_eq!(reload(&required).errors.len(), 1);
    let theirs = others.issue(&["c.example"], GOOD);
    assert!(
        shake(&required, Arc::new(setup.authority.client(Some(&theirs)))).is_ok(),
        "the old ones stay"
    );
}

/// A verifier takes whatever is in its list for an authority: with a client's own certificate in there, that client
/// could have signed others under any name.
#[test]
fn what_is_no_authority_cannot_vouch_for_clients() {
    let setup = Setup::new();
    let file = setup.folder.path().join("clients.pem");
    let leaf = setup.issue("client.example").certificate.pem();
    let pair = setup.write("a", "a.example");
    let config = with_clients(listener(HERE, vec![pair]), file.clone(), ClientAuth::Required);
    let load = || CertificateStore::load(std::slice::from_ref(&config), TicketKeys::new().unwrap());
    fs::write(&file, setup.authority.pem() + &leaf).unwrap();
    let errors = load().unwrap_err();
    let why = errors[0].to_string();
    assert!(why.contains("certificate 2 in ") && why.contains("is no authority; name"), "{why}");
    fs::write(&file, setup.authority.pem()).unwrap();
    load().unwrap();
}

/// Each ticket begot the next one, so a client came in for hours after its certificate had ended.
#[test]
fn no_session_is_resumed_where_clients_are_asked_for_certificates() {
    let setup = Setup::new();
    let file = setup.folder.path().join("clients.pem");
    fs::write(&file, setup.authority.pem()).unwrap();
    let pair = setup.write("a", "a.example");
    let plain = |address| listener(address, vec![pair.clone()]);
    let required = with_clients(plain("127.0.0.1:3"), file.clone(), ClientAuth::Required);
    let optional = with_clients(plain("127.0.0.1:4"), file, ClientAuth::Optional);
    let store = load(&[plain("127.0.0.1:1"), plain("127.0.0.1:2"), required, optional]);
    let at = |place: usize| store.receiver(place).unwrap().borrow().clone();
    let client = Arc::new(setup.authority.client(None));
    let kind = |place| {
        shake_hands(&at(place), &client, "a.example").map(|(it, _)| it.handshake_kind().unwrap())
    };
    assert_eq!(kind(0), Ok(HandshakeKind::Full));
    assert_eq!(kind(1), Ok(HandshakeKind::Resumed));
    assert!(kind(2).is_err());
    assert_eq!((kind(3), kind(3)), (Ok(HandshakeKind::Full), Ok(HandshakeKind::Full)));
}
