//! All addresses of a name are tried.
//!
//! First a name has nine addresses, and somebody listens at the last one only. Then only the first four were
//! tried: the name was "not reachable", for as long as its server stood where it stood.

use tokio::net::TcpSocket;
use tokio::sync::mpsc;

use super::*;

fn client_at(addresses: Vec<SocketAddr>, port: u16, limits: ClientLimits) -> HttpClient {
    client_with(&[format!("http://a.test:{port}")], LOOPBACK, limits, &Names::saying([addresses]))
}

/// Nobody listens there.
fn dead(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 9, last], port))
}

#[tokio::test]
async fn the_last_of_many_addresses_is_found() {
    let server = Server::hello().await;
    let port = server.address.port();
    for many in [4, 9, 60] {
        let addresses: Vec<_> = (1..=many).map(|last| dead(last, port)).collect();
        let addresses = [addresses, vec![server.address]].concat();
        let client = client_at(addresses, port, ClientLimits::default());
        let response = send(&client, &format!("http://a.test:{port}/")).await.unwrap();
        assert_eq!(text(response).await, "hello", "{many}");
    }
}

#[tokio::test]
async fn addresses_that_are_not_granted_are_left_out_however_many() {
    let server = Server::hello().await;
    let port = server.address.port();
    let (heard, mut hears) = mpsc::unbounded_channel();
    let private = Server::start_at(SocketAddr::from(([0, 0, 0, 0], 0)), move |_, _| {
        heard.send(()).unwrap();
        async {}
    })
    .await;
    let outside = SocketAddr::from(([10, 0, 0, 1], private.address.port()));
    let client = client_at(vec![outside; 9], port, ClientLimits::default());
    let refused = send(&client, &format!("http://a.test:{port}/")).await;
    assert!(matches!(refused, Err(SendError::AddressDenied { .. })), "{refused:?}");
    let client =
        client_at([vec![outside; 9], vec![server.address]].concat(), port, ClientLimits::default());
    let response = send(&client, &format!("http://a.test:{port}/")).await.unwrap();
    assert_eq!(text(response).await, "hello");
    assert!(hears.try_recv().is_err());
}

/// Addresses that swallow what is sent to them take a quarter of a second each, and not the whole deadline.
#[tokio::test]
async fn addresses_that_do_not_answer_are_not_waited_for() {
    let server = Server::hello().await;
    let port = server.address.port();
    let mut swallowing = Vec::new();
    for last in 1..=6 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(dead(last, port)).unwrap();
        // A queue for one, and one is in it: the kernel drops what comes after.
        let listener = socket.listen(0).unwrap();
        let first = TcpStream::connect(dead(last, port)).await.unwrap();
        swallowing.push((listener, first));
    }
    let addresses: Vec<_> = (1..=6).map(|last| dead(last, port)).collect();
    let client =
        client_at([addresses, vec![server.address]].concat(), port, ClientLimits::default());
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let uri = format!("http://a.test:{port}/");
    let sent = client.send(get(&uri), Timeouts::default());
    let response = sent.await.unwrap();
    assert_eq!(start.elapsed().as_millis() / 250, 6);
    tokio::time::resume();
    assert_eq!(text(response).await, "hello");
}
