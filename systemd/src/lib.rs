//! What host tells its service manager, and the sockets that it is handed by it.
