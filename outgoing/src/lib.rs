//! HTTP requests that guests send.
