//! Where listening sockets come from, and so what closing one may touch.

/// Who has made a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketOrigin {
    /// This process, or the one that it has taken over from: closing it keeps newcomers out, empties its queue and
    /// removes its path.
    Bound,
    /// A service manager, which goes on holding it: closing it touches neither its queue, where clients wait for whoever
    /// comes next, nor its path.
    Inherited,
}
