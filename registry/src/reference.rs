//! What an operator writes to say where a component comes from.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use url::{Host, Url};

use crate::digest::ContentDigest;

/// Where Docker Hub answers, which its references call `docker.io`.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// The specification of registries: the longest name with its registry, and the longest tag.
const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

/// Where a component comes from.
///
/// ```
/// # use host_registry::Reference;
/// let cart: Reference = "oci://ghcr.io/shop/cart:1.4".parse()?;
/// assert_eq!(cart.to_string(), "oci://ghcr.io/shop/cart:1.4");
/// # Ok::<(), host_registry::ReferenceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reference {
    /// An image in a registry: `oci://REGISTRY/REPOSITORY:TAG`, with `@sha256:…` behind the tag or in its place.
    Oci(OciReference),
    /// A file: `https://HOST/PATH#sha256=…`.
    File(FileReference),
}

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OciReference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<ContentDigest>,
}

/// A file that is named by its address and its digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileReference {
    url: Url,
    sha256: ContentDigest,
}

/// A text that says no source.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no source of a component: {why}")]
pub struct ReferenceError {
    /// The text.
    pub text: String,
    /// What is wrong with it, and what to write.
    pub why: &'static str,
}

impl Reference {
    /// Whether a text says a source by its scheme, and is no path of a file.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        ["oci://", "https://", "http://"].iter().any(|scheme| text.starts_with(scheme))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let read = match text.strip_prefix("oci://") {
            Some(rest) => oci(rest).map(Self::Oci),
            None if Self::is_one(text) => file(text).map(Self::File),
            None => Err("it begins with oci:// or https://"),
        };
        read.map_err(|why| ReferenceError { text: shown(text), why })
    }
}

/// A text that may have a password in it, for a sentence: without it, and without a query.
fn shown(text: &str) -> String {
    let text =
        text.split_once('?').map_or_else(|| text.to_owned(), |(text, _)| format!("{text}?…"));
    match text.rsplit_once('@') {
        Some((before, after)) if before.contains("://") && !after.starts_with("sha256:") => {
            format!("…@{after}")
        }
        _ => text,
    }
}

impl OciReference {
    /// The registry, with its port if it has one: `ghcr.io`, `localhost:5000`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository, without its registry: `shop/cart`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The repository with its registry, which is what a signature names: `ghcr.io/shop/cart`.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest.
    #[must_use]
    pub fn digest(&self) -> Option<ContentDigest> {
        self.digest
    }

    /// The same image, by the digest of its manifest.
    #[must_use]
    pub fn pinned(&self, digest: ContentDigest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// Another tag of the same repository.
    pub(crate) fn tagged(&self, tag: String) -> Self {
        Self { tag: Some(tag), digest: None, ..self.clone() }
    }

    /// What the registry is asked for: the digest if there is one.
    pub(crate) fn asked(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => String::new(),
        }
    }

    /// The host that answers for the registry, with its port.
    pub(crate) fn api_host(&self) -> &str {
        if self.registry == DOCKER_HUB { DOCKER_HUB_API } else { &self.registry }
    }
}

impl FileReference {
    /// The address, without the digest.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The digest of the file.
    #[must_use]
    pub fn sha256(&self) -> ContentDigest {
        self.sha256
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oci(image) => image.fmt(f),
            Self::File(file) => file.fmt(f),
        }
    }
}

impl fmt::Display for OciReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci://{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

impl fmt::Display for FileReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#sha256={}", self.url, self.sha256.hex())
    }
}

fn oci(rest: &str) -> Result<OciReference, &'static str> {
    let Some((registry, rest)) = rest.split_once('/') else {
        return Err(
            "there is no repository behind the registry; write oci://REGISTRY/REPOSITORY:TAG",
        );
    };
    let registry = registry.to_ascii_lowercase();
    if !is_registry(&registry) {
        return Err("its registry is no host name or address, with a port or without one");
    }
    let (rest, digest) = match rest.split_once('@') {
        Some((rest, digest)) => {
            let read = digest.parse();
            let said = "its digest is not sha256: and 64 hexadecimal digits in lower case";
            (rest, Some(read.map_err(|_| said)?))
        }
        None => (rest, None),
    };
    let (repository, tag) = match rest.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag.to_owned())),
        None => (rest, None),
    };
    if !repository.split('/').all(is_component) {
        return Err(
            "its repository may have lower-case letters, digits, and one of . _ - between them, in parts \
                    with / between them",
        );
    }
    if tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
        return Err(
            "its tag may have letters, digits, . _ and -, begins with none of the last two, and has 128 \
                    characters at most",
        );
    }
    if tag.is_none() && digest.is_none() {
        return Err("there is no version; write :TAG or @sha256:DIGEST behind it");
    }
    if registry.len() + 1 + repository.len() > LONGEST_NAME {
        return Err("its name has more than 255 characters");
    }
    let is_official = registry == DOCKER_HUB && !repository.contains('/');
    let repository = if is_official { format!("library/{repository}") } else { repository.into() };
    Ok(OciReference { registry, repository, tag, digest })
}

fn is_registry(registry: &str) -> bool {
    let of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    let Ok(url) = Url::parse(&format!("https://{registry}/")) else { return false };
    let behind = url.host_str().and_then(|host| registry.strip_prefix(host));
    let is_port =
        |behind: &str| behind.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    registry.bytes().all(of_a_host)
        && behind.is_some_and(|behind| behind.is_empty() || is_port(behind))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, as the specification has it.
fn is_component(part: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separators = part.split(|one: char| one.is_ascii_lowercase() || one.is_ascii_digit());
    let are_right = separators.filter(|between| !between.is_empty()).all(|between| {
        matches!(between, "." | "_" | "__") || between.bytes().all(|byte| byte == b'-')
    });
    are_right
        && part.bytes().next().is_some_and(is_plain)
        && part.bytes().next_back().is_some_and(is_plain)
}

fn is_tag(tag: &str) -> bool {
    let of_a_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= LONGEST_TAG
        && tag.bytes().next().is_some_and(of_a_word)
        && tag.bytes().all(|byte| of_a_word(byte) || byte == b'.' || byte == b'-')
}

fn file(text: &str) -> Result<FileReference, &'static str> {
    let mut url = Url::parse(text)
        .map_err(|_| "its address is none; write https://HOST/PATH#sha256=DIGEST")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "a name or a password in an address would be seen by everybody; serve the file without one",
        );
    }
    if url.query().is_some() {
        return Err(
            "its address has a query, which may be a secret and would be seen by everybody",
        );
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err("http:// is for addresses of this machine only; write https://");
    }
    let digest = url.fragment().and_then(|behind| behind.strip_prefix("sha256="));
    let Some(digest) = digest else {
        return Err(
            "there is no digest; write #sha256= and the 64 digits that sha256sum prints behind it",
        );
    };
    let said = "its digest is not sha256= and 64 hexadecimal digits in lower case";
    let sha256 = ContentDigest::from_hex(digest).map_err(|_| said)?;
    url.set_fragment(None);
    Ok(FileReference { url, sha256 })
}

/// Whether a URL leads to this machine, by its host alone. Whoever dials looks at the address too.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
