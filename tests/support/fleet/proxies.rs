//! HAProxy, nginx and Caddy with the configurations of `deploy/`, in which only addresses and folders differ.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use super::super::PATIENCE;
use super::super::app::{Folder, text};
use super::super::process::Process;
use super::super::shipped::{self, Network, swapped, switched_on};
use super::super::tools::has_with;

/// A proxy in front of a [`Fleet`](super::Fleet). Dropping it kills it.
#[derive(Debug)]
pub struct ShippedProxy {
    process: Process,
    folder: Folder,
    network: Network,
}

/// How a proxy's file and its hosts speak with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToHosts<'a> {
    /// As it is in the file.
    Plain,
    /// By the lines that the file has in comments. This certificate is trusted.
    Tls(&'a Path),
}

impl ShippedProxy {
    /// HAProxy with `deploy/haproxy/haproxy.cfg`, and its line for TLS of clients. None where there is none.
    #[track_caller]
    pub fn haproxy(network: &Network, to_hosts: ToHosts<'_>) -> Option<Self> {
        if !has_with("haproxy", "-v", "haproxy") {
            return None;
        }
        let folder = Folder::new();
        let name = network.proxy(0).ip().to_string();
        let pair = rcgen::generate_simple_self_signed([name]).expect("a certificate");
        let (cert, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        fs::write(folder.join("front.pem"), &cert).expect("it is ours");
        fs::write(folder.join("shop.pem"), cert + &key).expect("it is ours");
        let config = haproxy_config(network, to_hosts, &folder.join("shop.pem"));
        // A second file, for what a test has to ask of it.
        let stats = format!("global\n    stats socket {}\n", text(&folder.join("stats")));
        fs::write(folder.join("haproxy.cfg"), config).expect("it is ours");
        fs::write(folder.join("stats.cfg"), stats).expect("it is ours");
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f", text(&folder.join("haproxy.cfg"))]);
        command.args(["-f", text(&folder.join("stats.cfg"))]);
        Some(Self::started(command, folder, network, network.http))
    }

    /// The certificate of HAProxy's own, which its clients trust.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("front.pem")
    }

    /// Waits until HAProxy says this of the server of a host: `UP`, `DOWN`.
    #[track_caller]
    pub fn wait_server(&self, number: usize, status: &str) {
        let name = ["a", "b", "c"][number];
        let until = Instant::now() + PATIENCE;
        while self.server(name) != status {
            assert!(Instant::now() < until, "{name} is {:?}, not {status}", self.server(name));
            thread::yield_now();
        }
    }

    /// The status of a server by its last check. Empty before the first one, and before HAProxy can be asked.
    fn server(&self, name: &str) -> String {
        // It comes a moment after the ports.
        let Ok(mut socket) = UnixStream::connect(self.folder.join("stats")) else {
            return String::new();
        };
        socket.write_all(b"show stat\n").expect("it reads");
        let mut table = String::new();
        socket.read_to_string(&mut table).expect("a table");
        let mut lines = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let head = lines.next().expect("a head");
        let column = |name: &str| head.iter().position(|it| *it == name).expect("a column");
        let (svname, status, check) = (column("svname"), column("status"), column("check_status"));
        // The backend of HTTP comes first.
        let line = lines.find(|line| line.get(svname) == Some(&name)).expect("a server");
        let is_checked = matches!(line[check], "L7OK" | "L7STS" | "L4CON" | "L4TOUT" | "L7RSP");
        if is_checked { line[status].to_owned() } else { String::new() }
    }

    /// nginx with `deploy/nginx/nginx.conf`, and `passthrough.conf` where its module is installed. None where there is
    /// no nginx.
    #[track_caller]
    pub fn nginx(network: &Network, to_hosts: ToHosts<'_>) -> Option<Self> {
        if !has_with("nginx", "-v", "nginx") {
            return None;
        }
        let folder = Folder::new();
        let config = nginx_config(network, to_hosts, &folder);
        fs::write(folder.join("nginx.conf"), config).expect("it is ours");
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-g", "daemon off;", "-c"]).arg(folder.join("nginx.conf"));
        Some(Self::started(command, folder, network, network.http))
    }

    /// Whether nginx passes TLS through here.
    pub fn passes_through(&self) -> bool {
        TcpStream::connect(self.network.proxy(self.network.tls)).is_ok()
    }

    /// Caddy with `deploy/caddy/Caddyfile`, for plain HTTP as its comment says. None where there is no Caddy.
    #[track_caller]
    pub fn caddy(network: &Network, to_hosts: ToHosts<'_>) -> Option<Self> {
        if !has_with("caddy", "version", "caddy") {
            return None;
        }
        let folder = Folder::new();
        let config = shipped::text("caddy/Caddyfile");
        // No socket for its own `caddy reload`, which would be another test's too.
        let config = swapped(&config, "grace_period 30s", "grace_period 30s\n\tadmin off");
        let (ip, port) = (network.proxy(0).ip(), network.http);
        let site = format!("\nhttp://:{port} {{\n\tbind {ip}");
        let config = swapped(&config, "\nshop.example {", &site);
        let config = match to_hosts {
            ToHosts::Plain => config,
            ToHosts::Tls(trusted) => {
                let config = shipped::switched_off(&config, &["health_"]);
                let config = switched_on(&config, &["tls\n", "tls_"]);
                let config = swapped(&config, "/etc/caddy/hosts-ca.pem", text(trusted));
                let config = swapped(&config, "shop.example\n", "localhost\n");
                swapped(&config, ":8080", ":8443")
            }
        };
        fs::write(folder.join("Caddyfile"), network.proxy_text(&config)).expect("it is ours");
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(folder.join("Caddyfile"));
        for name in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env(name, folder.join(""));
        }
        Some(Self::started(command, folder, network, network.http))
    }

    /// Returns when it accepts.
    #[track_caller]
    fn started(mut command: Command, folder: Folder, network: &Network, port: u16) -> Self {
        let process = Process::spawn(&mut command);
        let proxy = Self { process, folder, network: network.clone() };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(network.proxy(port)).is_err() {
            let ended = proxy.process.wait(Instant::now());
            assert_eq!(ended, None, "it does not start");
            assert!(Instant::now() < until, "it does not accept");
            thread::yield_now();
        }
        proxy
    }

    /// Where its clients of plain HTTP connect.
    pub fn addr(&self) -> SocketAddr {
        self.network.proxy(self.network.http)
    }

    /// Where its clients of TLS connect.
    pub fn secure_addr(&self) -> SocketAddr {
        self.network.proxy(self.network.secure)
    }

    /// Where those connect whose TLS ends at a host.
    pub fn passthrough_addr(&self) -> SocketAddr {
        self.network.proxy(self.network.tls)
    }
}

fn haproxy_config(network: &Network, to_hosts: ToHosts<'_>, front: &Path) -> String {
    let config = switched_on(&shipped::text("haproxy/haproxy.cfg"), &["bind :443"]);
    let config = swapped(&config, "/etc/haproxy/shop.pem", text(front));
    let config = match to_hosts {
        ToHosts::Plain => config,
        ToHosts::Tls(trusted) => {
            let config = switched_on(&config, &["default-server ssl"]);
            let config = swapped(&config, "/etc/haproxy/hosts-ca.pem", text(trusted));
            // The port of its servers. It ends their lines.
            swapped(&config, ":8080\n", ":8443\n")
        }
    };
    let ports = [(":443 ", network.secure), (":8443\n", network.tls), (":80\n", network.http)];
    let bound = ports.iter().fold(config, |config, (old, port)| {
        let end = if old.ends_with('\n') { '\n' } else { ' ' };
        swapped(&config, &format!("bind {old}"), &format!("bind {}{end}", network.proxy(*port)))
    });
    network.proxy_text(&bound)
}

fn nginx_config(network: &Network, to_hosts: ToHosts<'_>, folder: &Folder) -> String {
    let file = |name: &str| text(&folder.join(name)).to_owned();
    let config = shipped::text("nginx/nginx.conf");
    let config = swapped(&config, "pid /run/nginx.pid;", &format!("pid {};", file("pid")));
    // Each of these is below /var/lib/nginx, which may not be ours.
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {};\n", file(kind)))
        .concat();
    let log = "access_log /var/log/nginx/access.log;";
    let mut config = swapped(&config, log, &format!("access_log off;\n{temporary}"));
    let module = Path::new("/usr/lib/nginx/modules/ngx_stream_module.so");
    if let ToHosts::Tls(trusted) = to_hosts {
        // The two are in place of one another.
        config = swapped(&config, "            proxy_pass http://hosts;\n", "");
        config = switched_on(&config, &["proxy_pass https", "proxy_ssl_"]);
        config = swapped(&config, "/etc/nginx/hosts-ca.pem", text(trusted));
        config = swapped(&config, "proxy_ssl_name shop.example", "proxy_ssl_name localhost");
        config = swapped(&config, ":8080 max", ":8443 max");
    } else if module.exists() {
        let passthrough = shipped::text("nginx/passthrough.conf");
        let listen = format!("listen {};", network.proxy(network.tls));
        let passthrough = swapped(&passthrough, "listen 8443;", &listen);
        fs::write(file("passthrough.conf"), network.proxy_text(&passthrough)).expect("it is ours");
        config = switched_on(&config, &["include /etc/nginx/passthrough.conf"]);
        config = swapped(&config, "/etc/nginx/passthrough.conf", &file("passthrough.conf"));
    } else {
        println!("nginx has no module stream (Debian: apt-get install libnginx-mod-stream)");
    }
    let listen = format!("listen {};", network.proxy(network.http));
    network.proxy_text(&swapped(&config, "listen 80;", &listen))
}
