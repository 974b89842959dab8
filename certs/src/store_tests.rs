//! Reloads, and handshakes before and after them.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use host_manifest::{CertificateConfig, ListenerConfig, Stamp, TlsVersion};
use rustls::HandshakeKind;

use crate::store::CertificateReload;
use crate::test_authority::{
    ENDED, HERE, Setup, files, listener, load, newest, reload, shake_hands,
};
use crate::validity::now;

#[test]
fn a_reload_is_seen_by_the_next_handshake_and_sessions_go_on() {
    let setup = Setup::new();
    let old = setup.issue("a.example");
    let pair = old.write(setup.folder.path(), "a");
    let store = load(&[listener(HERE, vec![pair])]);
    let receiver = store.receiver(0).unwrap();
    let now = || receiver.borrow().clone();
    let client = Arc::new(setup.authority.client(None));
    let kind = |name| {
        let (client, _) = shake_hands(&now(), &client, name).unwrap();
        client.handshake_kind().unwrap()
    };
    assert_eq!(kind("a.example"), HandshakeKind::Full);
    assert_eq!(kind("a.example"), HandshakeKind::Resumed);
    assert_eq!(setup.shown(&now(), "a.example")[0], *old.der());
    let unchanged = reload(&store);
    assert_eq!(unchanged, CertificateReload::default(), "the files say nothing new");
    for _ in 0..3 {
        let new = setup.issue("a.example");
        new.write(setup.folder.path(), "a");
        let reloaded = reload(&store);
        assert_eq!(reloaded.changed, ["127.0.0.1:8443: a.example until 2120-01-01T00:00:00Z"]);
        assert_eq!(setup.shown(&now(), "a.example")[0], *new.der());
        assert_eq!(kind("a.example"), HandshakeKind::Resumed, "over a reload");
    }
    assert_eq!(store.reloads(), [("reloaded", 3), ("unchanged", 1), ("rejected", 0)]);
}

#[test]
fn a_pair_that_is_replaced_file_by_file_is_taken_when_it_is_whole() {
    let setup = Setup::new();
    let pair = setup.write("a", "a.example");
    let store = load(&[listener(HERE, vec![pair.clone()])]);
    for key_first in [true, false] {
        let before = newest(&store);
        let next = setup.issue("a.example");
        let (cert, key) = (next.certificate.pem(), next.key.serialize_pem());
        let files = [(&pair.key, key), (&pair.cert, cert)];
        let order = if key_first { [0, 1] } else { [1, 0] };
        for (place, end) in [(order[0], 9), (order[0], 1), (order[1], 9)] {
            let (path, text) = &files[place];
            let text = text.split_at(text.len() / end).0;
            fs::write(path, text).unwrap();
            let failed = reload(&store);
            assert_eq!((failed.changed.len(), failed.errors.len()), (0, 1), "{failed:?}");
            assert!(Arc::ptr_eq(&before, &newest(&store)));
            assert_eq!(store.status()[0].errors.len(), 1);
        }
        let (path, text) = &files[order[1]];
        fs::write(path, text).unwrap();
        let done = reload(&store);
        assert_eq!((done.changed.len(), done.errors.len()), (1, 0), "{done:?}");
        assert_eq!(setup.shown(&newest(&store), "a.example")[0], *next.der());
        assert!(store.status()[0].errors.is_empty());
    }
}

#[test]
fn one_that_has_ended_is_served_at_a_start_and_refused_at_a_reload() {
    let setup = Setup::new();
    let folder = setup.folder.path();
    let pair = setup.authority.issue(&["a.example"], ENDED).write(folder, "a");
    let store = load(&[listener(HERE, vec![pair])]);
    let status = &store.status()[0].certificates[0];
    assert!(status.validity.has_ended(now()) && !status.validity.is_early(now()));
    assert_eq!(status.not_after(), "2021-01-01T00:00:00Z");
    assert_eq!(reload(&store), CertificateReload::default(), "the one that is served is no news");
    let before = newest(&store);
    setup.authority.issue(&["a.example"], ENDED).write(folder, "a");
    let refused = reload(&store);
    let why = refused.errors[0].to_string();
    assert!(why.contains("a.pem ended 2021-01-01T00:00:00Z; renew it"), "{why}");
    assert!(Arc::ptr_eq(&before, &newest(&store)));
    setup.authority.issue(&["a.example"], (2110, 2120)).write(folder, "a");
    assert_eq!(
        reload(&store).errors,
        [],
        "one that has yet to begin may be for a clock that is wrong"
    );
    assert!(store.status()[0].certificates[0].validity.is_early(now()));
}

#[test]
fn one_pair_that_is_wrong_holds_up_no_other() {
    let setup = Setup::new();
    let (one, other) = (setup.write("1", "one.example"), setup.write("2", "other.example"));
    let elsewhere = setup.write("3", "else.example");
    let store = load(&[
        listener(HERE, vec![one.clone(), other]),
        listener("127.0.0.1:8444", vec![elsewhere]),
    ]);
    fs::write(&one.cert, "").unwrap();
    let next = setup.issue("other.example");
    next.write(setup.folder.path(), "2");
    setup.write("3", "else.example");
    let reload = reload(&store);
    assert_eq!((reload.changed.len(), reload.errors.len()), (2, 1), "{reload:?}");
    assert_eq!(setup.shown(&newest(&store), "other.example")[0], *next.der());
    setup.shown(&newest(&store), "one.example");
    let status = store.status();
    assert_eq!((status[0].errors.len(), status[1].errors.len()), (1, 0));
    // The next start would find it wrong: nothing is left out of what it names.
    let all = store.prepare(None);
    assert_eq!(all.errors().len(), 1);
    store.refuse(all);
    assert_eq!(store.status()[0].errors.len(), 1);
}

#[test]
fn another_manifest_changes_what_belongs_to_tls() {
    let setup = Setup::new();
    let (one, other) = (setup.write("1", "one.example"), setup.write("2", "other.example"));
    let first = listener(HERE, vec![one]);
    let store = load(std::slice::from_ref(&first));
    let mut next = listener(HERE, vec![other.clone()]);
    next.tls.as_mut().unwrap().line = Some(99);
    let publish = |wanted: &[ListenerConfig]| store.publish(store.prepare(Some(wanted)));
    let before = newest(&store);
    let added = ListenerConfig::plain("127.0.0.1:1".parse().unwrap());
    assert_eq!(publish(&[added, next.clone()]).changed.len(), 1, "wherever it stands");
    setup.shown(&newest(&store), "other.example");
    assert_eq!(publish(std::slice::from_ref(&next)).changed, [""; 0], "nothing new");
    next.tls.as_mut().unwrap().min_version = TlsVersion::Tls13;
    assert_eq!(publish(std::slice::from_ref(&next)).changed, ["127.0.0.1:8443: its settings"]);
    assert_eq!(publish(&[]).changed, [""; 0], "which listeners there are takes a restart");
    setup.shown(&newest(&store), "other.example");
    let missing = listener(HERE, vec![CertificateConfig { cert: "/none".into(), ..other }]);
    let refused = publish(&[missing]);
    assert_eq!((refused.changed.len(), refused.errors.len()), (0, 1), "{refused:?}");
    setup.shown(&newest(&store), "other.example");
    assert_eq!(publish(&[first]).changed.len(), 1);
    assert!(!Arc::ptr_eq(&before, &newest(&store)));
    setup.shown(&newest(&store), "one.example");
}

#[test]
fn files_are_known_as_they_were_when_they_were_read() {
    let setup = Setup::new();
    let folder = setup.folder.path();
    // As Kubernetes mounts a Secret.
    fs::create_dir(folder.join("..1")).unwrap();
    setup.issue("a.example").write(&folder.join("..1"), "tls");
    symlink("..1", folder.join("..data")).unwrap();
    let (cert, key) = files(&folder.join("..data"), "tls");
    let store = load(&[listener(HERE, vec![CertificateConfig { cert, key, names: vec![] }])]);
    let changed = || store.files().iter().filter(|(path, stamp)| Stamp::at(path) != *stamp).count();
    assert_eq!((store.files().len(), changed()), (2, 0));
    fs::create_dir(folder.join("..2")).unwrap();
    setup.issue("a.example").write(&folder.join("..2"), "tls");
    symlink("..2", folder.join("..new")).unwrap();
    fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
    assert_eq!(changed(), 2);
    assert_eq!(reload(&store).changed.len(), 1);
    assert_eq!(changed(), 0);
    fs::write(folder.join("..2/tls.key"), "").unwrap();
    assert_eq!(
        (changed(), reload(&store).errors.len(), changed()),
        (1, 1, 0),
        "read, though refused"
    );
}

/// A manifest named a pair that had ended, and was refused. From then on the pair in use was not watched any more: its
/// renewal went by without a word.
#[test]
fn files_in_use_are_watched_on_when_a_manifest_was_refused() {
    let setup = Setup::new();
    let (ours, theirs) = (setup.write("1", "one.example"), setup.write("2", "other.example"));
    let first = listener(HERE, vec![ours.clone()]);
    let store = load(std::slice::from_ref(&first));
    fs::write(&theirs.cert, "no certificate").unwrap();
    let wanted = [listener(HERE, vec![theirs.clone()])];
    let watched = || store.files().into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    let before = watched();
    store.refuse(store.prepare(Some(&wanted)));
    assert_eq!(watched(), before);
    let renewed = setup.write("1", "one.example");
    assert_eq!(renewed, ours);
    assert_eq!(reload(&store).changed.len(), 1, "it is renewed");
    // What the manifest names is as wrong as it was, and that is still said.
    assert!(store.status()[0].errors[0].contains("2.pem"), "{:?}", store.status());
    fs::write(&ours.cert, "no certificate").unwrap();
    assert_eq!((reload(&store).errors.len(), store.status()[0].errors.len()), (1, 2));
    setup.write("2", "other.example");
    assert_eq!(store.publish(store.prepare(Some(&wanted))).changed.len(), 1);
    assert!(store.status()[0].errors.is_empty());
    assert_eq!(watched(), [theirs.key, theirs.cert], "by name");
}
