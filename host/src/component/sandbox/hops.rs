//! The depth of a request in requests of hosts: 0 for a client's request, 1 for a request that its guest
//! sends, and so on. Without a bound, a guest that requests its own host, directly or through others, would
//! take one instance after another for one request, each waiting for the next.
//!
//! The depth travels in a header field of its own. No guest sees the field or can remove it: the host takes
//! it out of requests that come in, and writes it to requests that go out.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The greatest depth. Services seldom call each other four deep, and each call holds an instance until the
/// last one has answered.
const MOST: u8 = 8;

const FIELD: HeaderName = HeaderName::from_static("host-hops");

/// The depth of a request. Travels in its extensions once it is taken from the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hops(u8);

impl Hops {
    /// Takes the depth out of a head that has come in. A client that sends the field can only get its own
    /// request refused; a value that is not a number is ignored.
    #[must_use]
    pub fn take(headers: &mut HeaderMap) -> Self {
        let Some(_) = headers.get(&FIELD) else { return Self::default() };
        let values = headers.get_all(&FIELD).iter().filter_map(|value| value.to_str().ok());
        let deepest = values.filter_map(|value| value.parse::<u64>().ok()).max().unwrap_or(0);
        headers.remove(&FIELD);
        Self(u8::try_from(deepest).unwrap_or(u8::MAX))
    }

    /// The depth in the extensions of a request.
    #[must_use]
    pub fn in_request<B>(request: &http::Request<B>) -> Self {
        request.extensions().get().copied().unwrap_or_default()
    }

    /// Stores the depth in a request.
    pub fn keep<B>(self, request: &mut http::Request<B>) {
        // Most requests come from clients and need no entry.
        if self != Self::default() {
            request.extensions_mut().insert(self);
        }
    }

    /// Whether the request goes in circles, as far as the host can tell.
    #[must_use]
    pub fn are_too_many(self) -> bool {
        self.0 > MOST
    }

    /// Writes the depth of a request that this request's guest sends, in place of a value of the guest's.
    pub(crate) fn write_next(self, headers: &mut HeaderMap) {
        headers.insert(FIELD, HeaderValue::from(u16::from(self.0.saturating_add(1))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_is_taken_from_the_head_and_written_one_deeper() {
        for (sent, is, goes_on) in [
            (&[][..], 0, "1"),
            (&["3"], 3, "4"),
            (&["8"], 8, "9"),
            (&["1", "7", "x"], 7, "8"),
            (&["-1"], 0, "1"),
            (&["1, 2"], 0, "1"),
            (&["99999"], 255, "255"),
        ] {
            let mut headers = HeaderMap::new();
            for value in sent {
                headers.append(FIELD, HeaderValue::from_static(value));
            }
            let hops = Hops::take(&mut headers);
            assert_eq!((hops, headers.len()), (Hops(is), 0), "{sent:?}");
            assert_eq!(hops.are_too_many(), is > 8);
            headers.append(FIELD, HeaderValue::from_static("0"));
            hops.write_next(&mut headers);
            let values: Vec<_> = headers.get_all(FIELD).iter().collect();
            assert_eq!(values, [goes_on], "a guest wrote another: {sent:?}");
        }
    }
}
