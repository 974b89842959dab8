//! What handshakes come to.

use std::io;

use rustls::Error;

/// What a TLS handshake came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeOutcome {
    /// The session stands.
    Done,
    /// The peer did not speak TLS, but perhaps plain HTTP.
    NotTls,
    /// What the peer sent breaks the protocol.
    Malformed,
    /// No version, cipher suite, key exchange or application protocol that both sides have.
    NothingInCommon,
    /// There is no certificate for the name that the peer asked for.
    NoCertificate,
    /// The peer's certificate is missing or not accepted.
    PeerCertificate,
    /// The peer has ended it with an alert: it does not accept our certificate, for example.
    Alert,
    /// The peer left without a word.
    Gone,
    /// It took too long.
    TooSlow,
    /// It had to make room for others.
    Crowded,
    /// The stop ended it.
    Stopped,
}

impl HandshakeOutcome {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Done,
        Self::NotTls,
        Self::Malformed,
        Self::NothingInCommon,
        Self::NoCertificate,
        Self::PeerCertificate,
        Self::Alert,
        Self::Gone,
        Self::TooSlow,
        Self::Crowded,
        Self::Stopped,
    ];

    /// What the log and the metrics call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotTls => "not-tls",
            Self::Malformed => "malformed",
            Self::NothingInCommon => "nothing-in-common",
            Self::NoCertificate => "no-certificate",
            Self::PeerCertificate => "peer-certificate",
            Self::Alert => "alert",
            Self::Gone => "gone",
            Self::TooSlow => "too-slow",
            Self::Crowded => "crowded",
            Self::Stopped => "stopped",
        }
    }

    /// What the error says of which a handshake has died.
    pub(super) fn of(why: &io::Error) -> Self {
        let Some(why) = why.get_ref().and_then(|why| why.downcast_ref::<Error>()) else {
            return Self::Gone;
        };
        match why {
            Error::AlertReceived(_) => Self::Alert,
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::NothingInCommon,
            Error::NoCertificatesPresented
            | Error::InvalidCertificate(_)
            | Error::InvalidCertRevocationList(_) => Self::PeerCertificate,
            // rustls says so where the resolver knows no certificate.
            Error::General(_) => Self::NoCertificate,
            _ => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_outcome_has_a_name_of_its_own_and_its_place_in_the_list() {
        let names: BTreeSet<_> = HandshakeOutcome::ALL.iter().map(|one| one.name()).collect();
        assert_eq!(names.len(), HandshakeOutcome::ALL.len());
        for (place, outcome) in HandshakeOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place);
        }
    }

    #[test]
    fn an_error_of_the_socket_is_that_of_a_peer_that_left() {
        assert_eq!(
            HandshakeOutcome::of(&io::ErrorKind::UnexpectedEof.into()),
            HandshakeOutcome::Gone
        );
        let error = |why: Error| io::Error::new(io::ErrorKind::InvalidData, why);
        let of = |why| HandshakeOutcome::of(&error(why));
        assert_eq!(of(Error::NoApplicationProtocol), HandshakeOutcome::NothingInCommon);
        assert_eq!(of(Error::NoCertificatesPresented), HandshakeOutcome::PeerCertificate);
        assert_eq!(of(Error::DecryptError), HandshakeOutcome::Malformed);
    }
}
