//! Who may be reached.

use tokio::sync::mpsc;

use super::*;

#[tokio::test]
async fn a_granted_address_is_reached() {
    let server = Server::hello().await;
    let client = client_of(&server, ClientLimits::default());
    let response = send(&client, &server.uri("/")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, "hello");
}

#[tokio::test]
async fn what_is_not_granted_is_denied_before_anything_is_looked_up() {
    let server = Server::hello().await;
    let names = Names::saying([vec![server.address]]);
    let port = server.address.port();
    let granted = [format!("http://api.test:{port}")];
    let client = client_with(&granted, LOOPBACK, ClientLimits::default(), &names);
    for uri in [
        format!("http://other.test:{port}/"),
        format!("http://x.api.test:{port}/"),
        format!("https://api.test:{port}/"),
        "http://api.test/".into(),
        server.uri("/"),
    ] {
        let refused = send(&client, &uri).await.unwrap_err();
        assert!(matches!(refused, SendError::Denied { .. }), "{uri}: {refused}");
    }
    assert_eq!((names.asked(), server.accepted()), (0, 0));
    assert_eq!(
        text(send(&client, &format!("http://API.test.:{port}/")).await.unwrap()).await,
        "hello"
    );
}

#[tokio::test]
async fn a_client_without_grants_reaches_nothing() {
    let server = Server::hello().await;
    let client = client_with(&[], LOOPBACK, ClientLimits::default(), &Names::default());
    let refused = send(&client, &server.uri("/")).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("no grant for http://{}", server.address));
}

#[tokio::test]
async fn a_wildcard_stands_for_names_below() {
    let server = Server::hello().await;
    let port = server.address.port();
    let names = Names::saying([vec![server.address]]);
    let client =
        client_with(&[format!("*.svc.test:{port}")], LOOPBACK, ClientLimits::default(), &names);
    assert!(send(&client, &format!("http://a.b.svc.test:{port}/")).await.is_ok());
    let refused = send(&client, &format!("http://svc.test:{port}/")).await;
    assert!(matches!(refused, Err(SendError::Denied { .. })));
}

#[tokio::test]
async fn a_name_that_leads_to_loopback_needs_the_word() {
    let server = Server::hello().await;
    let port = server.address.port();
    let granted = [format!("http://localhost:{port}")];
    let names = Names::saying([vec![server.address]]);
    let without = client_with(&granted, NOTHING, ClientLimits::default(), &names);
    let refused = send(&without, &format!("http://localhost:{port}/")).await.unwrap_err();
    assert!(matches!(refused, SendError::AddressDenied { .. }), "{refused}");
    assert_eq!(server.accepted(), 0);
    let with = client_with(&granted, LOOPBACK, ClientLimits::default(), &names);
    assert!(send(&with, &format!("http://localhost:{port}/")).await.is_ok());
}

#[tokio::test]
async fn the_system_says_where_localhost_is_and_it_is_judged() {
    let server = Server::hello().await;
    let port = server.address.port();
    let origins = vec![format!("http://localhost:{port}").parse().unwrap()];
    let uri = format!("http://localhost:{port}/");
    let without = HttpClient::new(origins.clone(), NOTHING, ClientLimits::default());
    let refused = send(&without, &uri).await.unwrap_err();
    assert!(matches!(refused, SendError::AddressDenied { .. }), "{refused}");
    let with = HttpClient::new(origins, LOOPBACK, ClientLimits::default());
    assert_eq!(text(send(&with, &uri).await.unwrap()).await, "hello");
}

#[tokio::test]
async fn only_those_addresses_of_a_name_that_pass_are_connected() {
    let good = Server::hello().await;
    let port = good.address.port();
    // Listens, so that a connection to it would be seen.
    let bad = SocketAddr::new("127.0.0.2".parse().unwrap(), port);
    let bad = Server::start_at(bad, |_, _| async {}).await;
    let limits = ClientLimits { forbidden: vec![bad.address], ..ClientLimits::default() };
    let metadata = SocketAddr::new("169.254.169.254".parse().unwrap(), port);
    let names = Names::saying([vec![metadata, bad.address, good.address]]);
    let client = client_with(&[format!("http://mixed.test:{port}")], LOOPBACK, limits, &names);
    let response = send(&client, &format!("http://mixed.test:{port}/")).await.unwrap();
    assert_eq!(text(response).await, "hello");
    assert_eq!((good.accepted(), bad.accepted(), names.asked()), (1, 0, 1));
}

#[tokio::test]
async fn a_name_that_is_bound_anew_is_judged_anew() {
    let server = Server::start(|mut peer, _| async move {
        peer.head().await;
        peer.say("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    })
    .await;
    let port = server.address.port();
    let metadata = SocketAddr::new("169.254.169.254".parse().unwrap(), port);
    let names = Names::saying([vec![server.address], vec![metadata]]);
    let granted = [format!("http://rebound.test:{port}")];
    let client = client_with(&granted, LOOPBACK, ClientLimits::default(), &names);
    let uri = format!("http://rebound.test:{port}/");
    assert_eq!(text(send(&client, &uri).await.unwrap()).await, "");
    assert_eq!(names.asked(), 1, "one connection is one look-up");
    let refused = send(&client, &uri).await.unwrap_err();
    assert!(matches!(refused, SendError::AddressDenied { .. }), "{refused}");
    assert!(refused.to_string().contains("169.254.169.254"), "{refused}");
}

#[tokio::test]
async fn a_port_that_a_resolver_makes_up_is_not_used() {
    let server = Server::hello().await;
    let elsewhere = SocketAddr::new(server.address.ip(), 1);
    let port = server.address.port();
    let names = Names::saying([vec![elsewhere]]);
    let client =
        client_with(&[format!("http://a.test:{port}")], LOOPBACK, ClientLimits::default(), &names);
    assert!(send(&client, &format!("http://a.test:{port}/")).await.is_ok());
}

#[tokio::test]
async fn a_listener_of_the_host_itself_is_never_reached() {
    let health = Server::hello().await;
    let limits = ClientLimits { forbidden: vec![health.address], ..ClientLimits::default() };
    let client = client_of(&health, limits);
    let refused = send(&client, &health.uri("/")).await.unwrap_err();
    assert!(matches!(refused, SendError::AddressDenied { .. }), "{refused}");
    assert_eq!(health.accepted(), 0);
}

#[tokio::test]
async fn other_spellings_of_a_granted_address_are_refused() {
    let server = Server::hello().await;
    let port = server.address.port();
    let client = client_of(&server, ClientLimits::default());
    for host in ["127.1", "0x7f.1", "2130706433", "0177.0.0.1", "[::ffff:127.0.0.1]", "[::1]"] {
        let refused = send(&client, &format!("http://{host}:{port}/")).await.unwrap_err();
        let kind = matches!(refused, SendError::Uri(_) | SendError::Denied { .. });
        assert!(kind, "{host}: {refused}");
    }
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn a_redirect_into_a_denied_range_is_handed_on_and_not_followed() {
    let metadata = "http://169.254.169.254/latest/meta-data";
    let server = Server::start(move |mut peer, _| async move {
        while peer.head().await.is_some() {
            let head =
                format!("HTTP/1.1 302 Found\r\nlocation: {metadata}\r\ncontent-length: 0\r\n\r\n");
            peer.say(&head).await;
        }
    })
    .await;
    let client = client_of(&server, ClientLimits::default());
    let response = send(&client, &server.uri("/")).await.unwrap();
    assert_eq!(response.status(), 302);
    assert_eq!(response.headers()["location"], metadata);
    assert!(matches!(send(&client, metadata).await, Err(SendError::Denied { .. })));
}

#[tokio::test]
async fn nobody_listening_and_no_such_name_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let granted = [format!("http://{address}"), "http://nowhere.test".into()];
    let client = client_with(&granted, NOTHING, ClientLimits::default(), &Names::default());
    let refused = send(&client, &format!("http://{address}/")).await;
    assert!(matches!(refused, Err(SendError::ConnectRefused { .. })), "{refused:?}");
    let refused = send(&client, "http://nowhere.test/").await;
    assert!(matches!(refused, Err(SendError::Dns { .. })), "{refused:?}");
}

#[tokio::test]
async fn an_address_that_does_not_answer_does_not_hold_up_the_next_one() {
    let server = Server::hello().await;
    let port = server.address.port();
    // Nobody listens at the first one.
    let dead = SocketAddr::new("127.0.0.9".parse().unwrap(), port);
    let names = Names::saying([vec![dead, server.address]]);
    let client =
        client_with(&[format!("http://a.test:{port}")], LOOPBACK, ClientLimits::default(), &names);
    assert_eq!(
        text(send(&client, &format!("http://a.test:{port}/")).await.unwrap()).await,
        "hello"
    );
}

#[tokio::test]
async fn one_request_more_than_allowed_is_refused_at_once() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let heard = heard.clone();
        async move {
            peer.head().await;
            heard.send(()).unwrap();
            peer.closed().await;
        }
    })
    .await;
    let client = client_of(&server, ClientLimits { requests: 1, ..ClientLimits::default() });
    let (other, uri) = (client.clone(), server.uri("/"));
    let first = tokio::spawn(async move { other.send(get(&uri), Timeouts::default()).await });
    soon(hears.recv()).await.unwrap();
    let refused = send(&client, &server.uri("/")).await;
    assert!(matches!(refused, Err(SendError::TooMany { limit: 1 })), "{refused:?}");
    // Giving up makes room.
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let uri = server.uri("/");
    let second = tokio::spawn(async move { client.send(get(&uri), Timeouts::default()).await });
    soon(hears.recv()).await.unwrap();
    second.abort();
}
