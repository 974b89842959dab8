//! The page, and the policy that keeps everything else off it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::control::reply::{self, ReplyBody};

/// HTML, CSS and script in one file.
const PAGE: &str = include_str!("page.html");

/// What of other sites may load it: nothing.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The page with its policy.
pub(super) struct Page {
    policy: HeaderValue,
}

impl Page {
    pub(super) fn new() -> Self {
        let (script, style) = (digest("<script>", "</script>"), digest("<style>", "</style>"));
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; \
             connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        );
        // Base64 and words of ours.
        let closed = HeaderValue::from_static("default-src 'none'");
        Self { policy: HeaderValue::try_from(policy).unwrap_or(closed) }
    }

    pub(super) fn response(&self) -> Response<ReplyBody> {
        reply::html(StatusCode::OK, PAGE)
    }

    /// No other script or style runs on it, no other page shows it, and nobody takes it for something else.
    pub(super) fn guard(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        for (name, value) in [
            (X_FRAME_OPTIONS, "DENY"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (CACHE_CONTROL, "no-store"),
            (RESOURCE_POLICY, "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

/// The digest, as a policy has it, of what stands between two tags of the page.
fn digest(begin: &str, end: &str) -> String {
    let (_, rest) = PAGE.split_once(begin).unwrap_or_default();
    let (text, _) = rest.split_once(end).unwrap_or_default();
    STANDARD.encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_file_and_asks_nobody_else() {
        for tag in ["<script>", "</script>", "<style>", "</style>"] {
            assert_eq!(PAGE.matches(tag).count(), 1, "{tag}");
        }
        for elsewhere in ["http://", "https://", "src=", "@import", "url(", "style=\"", "onclick="]
        {
            let found = PAGE.replace("http://www.w3.org/2000/svg", "").contains(elsewhere);
            assert!(!found, "{elsewhere} in the page");
        }
        for unescaped in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
        {
            assert!(!PAGE.contains(unescaped), "{unescaped} in the page");
        }
    }
}
