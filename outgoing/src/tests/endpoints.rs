//! TCP endpoints.

use super::*;
use crate::Endpoints;

fn endpoints(granted: &[&str], reach: Reach, names: &Names) -> Endpoints {
    let granted = granted.iter().map(|endpoint| endpoint.parse().unwrap()).collect();
    let forbidden = vec!["127.0.0.1:8081".parse().unwrap()];
    Endpoints::new(granted, reach, forbidden, names.clone())
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_address_is_admitted_while_a_granted_name_is_there() {
    let names = Names::saying([vec![at("1.1.1.1:0")], vec![at("1.0.0.1:0")]]);
    let db = endpoints(&["tcp://db.test:5432"], NOTHING, &names);
    assert!(db.admits(at("1.1.1.1:5432")).await);
    assert!(db.admits(at("[::ffff:1.1.1.1]:5432")).await);
    assert!(!db.admits(at("1.1.1.1:5433")).await);
    assert!(!db.admits(at("1.0.0.1:5432")).await);
    assert_eq!(names.asked(), 1, "what was found is believed for a while");
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(!db.admits(at("1.1.1.1:5432")).await);
    assert!(db.admits(at("1.0.0.1:5432")).await);
    assert_eq!(names.asked(), 2);
}

#[tokio::test]
async fn a_name_does_not_lead_where_no_word_was_given() {
    let names = Names::saying([vec![at("127.0.0.1:0"), at("10.0.0.1:0")]]);
    let granted = ["tcp://db.test:5432", "tcp://db.test:8081"];
    let without = endpoints(&granted, NOTHING, &names);
    assert!(!without.admits(at("127.0.0.1:5432")).await);
    assert!(!without.admits(at("10.0.0.1:5432")).await);
    let with = endpoints(&granted, LOOPBACK, &names);
    assert!(with.admits(at("127.0.0.1:5432")).await);
    assert!(!with.admits(at("10.0.0.1:5432")).await);
    assert!(!with.admits(at("127.0.0.1:8081")).await, "a listener of the host");
}

#[tokio::test]
async fn an_address_is_its_own_word() {
    let names = Names::default();
    let cache = endpoints(&["tcp://127.0.0.1:6379", "tcp://127.0.0.1:8081"], NOTHING, &names);
    assert!(cache.admits(at("127.0.0.1:6379")).await);
    assert!(!cache.admits(at("127.0.0.2:6379")).await);
    assert!(!cache.admits(at("127.0.0.1:8081")).await);
    assert!(!endpoints(&[], LOOPBACK, &names).admits(at("127.0.0.1:6379")).await);
    assert_eq!(names.asked(), 0);
}
