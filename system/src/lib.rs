//! What the host asks of the operating system where more than one part of it asks: file descriptors,
//! which are shared out, huge pages, Unix sockets that have a path, and shortages that the log tells of.
//!
//! May not know what a descriptor is for: HTTP, guests and operators are all the same here.

pub mod descriptors;
pub mod huge_pages;
pub mod shortage;
pub mod unix_socket;
