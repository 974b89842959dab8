//! How a running host hands its sockets and its state to the one that takes over.
