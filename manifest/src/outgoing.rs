//! Where a guest may send requests: the allow-list, in plain words and in code.

/// `https://api.example.com`, `http://127.0.0.1:9000`, `*.svc.local:8080`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {}

/// `tcp://db.internal:5432`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {}

/// Kinds of addresses beyond public ones that a granted name may resolve to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// 127.0.0.0/8, ::1.
    pub loopback: bool,
    /// 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fc00::/7.
    pub private: bool,
    /// 169.254.0.0/16, fe80::/10: where clouds keep their metadata.
    pub link_local: bool,
}
