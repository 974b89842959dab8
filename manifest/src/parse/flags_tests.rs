//! Grants of the command line.

use std::str::FromStr;

use super::flags::*;
use super::grammar::Grammar;
use crate::{
    DirectoriesConfig, EnvironmentConfig, GrantsConfig, KeyValueConfig, LoadContext, Namespace,
    OutgoingConfig, Secret, StoreConfig, WasiConfigValues, abilities,
};

fn read(flags: &GrantFlags) -> Result<GrantsConfig, String> {
    let grammar = Grammar::new(abilities::ALL);
    grammar
        .grants("app", flags, &LoadContext::default())
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn all<T: FromStr<Err = String>>(texts: &[&str]) -> Vec<T> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn flags_become_the_grants_that_a_manifest_would_give() {
    let directory = std::env::temp_dir();
    let directory = directory.to_str().unwrap();
    let flags = GrantFlags {
        env: all(&["A=1", "B=x=${HOME} \"\\\n\u{7f}"]),
        config: all(&["rate=10/s"]),
        directories: all(&[&format!("{directory}::/tmp:ro"), &format!("{directory}::/w")]),
        outgoing: vec!["https://api.example.com".into()],
        outgoing_addresses: vec!["loopback".into()],
        buckets: all(&["a=memory", "b=memory", "c=redis://h", "d=redis:redis://h"]),
    };
    let grants = read(&flags).unwrap();
    let env: &EnvironmentConfig = grants.get().unwrap();
    let pair = |name: &str, value: &str| (name.to_owned(), Secret::from(value));
    assert_eq!(env.env, [pair("A", "1"), pair("B", "x=${HOME} \"\\\n\u{7f}")]);
    let config = &grants.get::<WasiConfigValues>().unwrap().0[0];
    assert_eq!((&*config.key, config.value.reveal()), ("rate", "10/s"));
    let directories: &DirectoriesConfig = grants.get().unwrap();
    let writable: Vec<_> = directories.0.iter().map(|it| (&*it.guest, it.writable)).collect();
    assert_eq!(writable, [("/tmp", false), ("/w", true)]);
    assert_eq!(grants.get::<OutgoingConfig>().unwrap().origins.len(), 1);
    assert!(grants.reach.loopback && !grants.reach.private);
    let buckets = &grants.get::<KeyValueConfig>().unwrap().0;
    assert_eq!(buckets["a"].store, buckets["b"].store);
    assert_eq!(buckets["c"].store, StoreConfig::Redis("redis://h".into()));
    assert_eq!(buckets["c"].store, buckets["d"].store);
    assert_eq!(buckets["a"].space, Namespace::Own("app".into(), "a".into()));
}

#[test]
fn no_flags_are_no_grants() {
    assert_eq!(read(&GrantFlags::default()), Ok(GrantsConfig::default()));
}

#[test]
fn what_is_wrong_is_said_of_the_flag_without_its_value() {
    let flags = GrantFlags { env: all(&["A=secret", "A=secret"]), ..GrantFlags::default() };
    let why = read(&flags).unwrap_err();
    assert!(why.starts_with("--env A: ") && !why.contains("secret"), "{why}");
    let flags = GrantFlags {
        outgoing: vec!["https://".into()],
        directories: all(&["/not/there::/a", "/::b"]),
        outgoing_addresses: vec!["everywhere".into()],
        buckets: all(&["a=disk:/not/there/data.redb", "b=redis://secret@:1"]),
        config: all(&["\u{1}=x"]),
        ..GrantFlags::default()
    };
    let why = read(&flags).unwrap_err();
    for says in [
        "--outgoing https://: ",
        "--outgoing-addresses everywhere: ",
        "--dir /not/there::/a: the directory /not/there is not there; write HOST::GUEST",
        "--dir /::b: this is no path for a guest; ",
        "--keyvalue a: the directory /not/there is not there; write disk:PATH",
        "--keyvalue b: there is no host in it that could be reached; write redis://",
        "--config \u{1}: this is no name; ",
    ] {
        assert!(why.lines().any(|line| line.starts_with(says)), "{says}\n{why}");
    }
    assert!(!why.contains("secret") && !why.contains("manifest"), "{why}");
}

#[test]
fn guest_that_could_replace_what_is_the_hosts_gets_no_directory() {
    let directory = std::env::temp_dir();
    let grammar = Grammar::new(abilities::ALL);
    let own = vec![("the file of the component".to_owned(), directory.join("app.wasm"))];
    let context = LoadContext { own, ..LoadContext::default() };
    let ask = |how: &str| {
        let flag = format!("{}::/d{how}", directory.display());
        let flags = GrantFlags { directories: all(&[&flag]), ..GrantFlags::default() };
        grammar.grants("app", &flags, &context)
    };
    let why = ask("").unwrap_err()[0].to_string();
    assert!(why.contains("could change the file of the component; write HOST::GUEST"), "{why}");
    ask(":ro").unwrap();
}

#[test]
fn forms_that_mean_nothing_are_refused_with_the_right_one() {
    for text in ["a", "a::", "::b", ":ro", "a:b"] {
        assert!(text.parse::<DirectoryFlag>().unwrap_err().contains("HOST::GUEST"), "{text}");
    }
    for text in ["a", "a=", "=memory", "a=disk", "a=disk:", "a=redis:", "a=sqlite:x", "memory"] {
        assert!(text.parse::<BucketFlag>().unwrap_err().contains("disk:PATH"), "{text}");
    }
    assert!("=x".parse::<PairFlag>().is_err());
}
