//! Asking registries and servers of files.

use std::fmt;
use std::sync::Arc;

use http::Method;
use http::header::CONTENT_LENGTH;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;
use tokio::task;
use url::Url;

use crate::authorities::{self, PrivateAuthorities};
use crate::bounds::{Patience, PullBounds};
use crate::credentials::RegistryLogin;
use crate::digest::ContentDigest;
use crate::error::RegistryError;
use crate::exchange::Told;
use crate::image::{ComponentLayer, ImageManifest, LARGEST_MANIFEST, MANIFESTS};
use crate::reference::{FileReference, OciReference, Reference, is_loopback};
use crate::session::{Call, RegistrySession};

/// The head in which a registry says the digest of a manifest.
const MANIFEST_DIGEST: &str = "docker-content-digest";

/// How one registry is spoken to.
#[derive(Clone, Debug, Default)]
pub struct RegistryAccess {
    /// Who we are to it.
    pub login: Option<RegistryLogin>,
    /// Authorities that vouch for it, for its server of tokens and for where it redirects to, beside those of the
    /// system and of Mozilla. A registry on this machine (`localhost:5000`) is spoken to in plain HTTP if there are
    /// none.
    pub authorities: PrivateAuthorities,
}

/// Asks registries and servers of files. Cheap to clone. It keeps no connection and no token.
#[derive(Clone)]
pub struct RegistryClient {
    bounds: PullBounds,
    roots: Arc<OnceCell<RootCertStore>>,
}

/// A component that was pulled.
#[derive(Clone, PartialEq, Eq)]
pub struct PulledComponent {
    /// The manifest of its image, to the byte; none of a file.
    pub manifest: Option<Vec<u8>>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl PulledComponent {
    /// The digest of the manifest of its image.
    #[must_use]
    pub fn manifest_digest(&self) -> Option<ContentDigest> {
        self.manifest.as_deref().map(ContentDigest::of)
    }
}

impl fmt::Debug for PulledComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PulledComponent({:?}, {} bytes)", self.manifest_digest(), self.bytes.len())
    }
}

impl RegistryClient {
    /// A client whose operations each may take this much.
    #[must_use]
    pub fn new(bounds: PullBounds) -> Self {
        Self { bounds, roots: Arc::default() }
    }

    /// Gets a component. What comes has the digests that the reference and the manifest say.
    ///
    /// # Errors
    /// If it does not come, is something else, or takes more than the bounds allow.
    pub async fn pull(
        &self,
        reference: &Reference,
        access: &RegistryAccess,
    ) -> Result<PulledComponent, RegistryError> {
        match reference {
            Reference::Oci(image) => self.pull_image(image, access).await,
            Reference::File(file) => self.pull_file(file, access).await,
        }
    }

    /// What a reference leads to now: the digest of the manifest, or of the file. Asks nobody if the reference says it;
    /// else it pulls nothing, and what the registry says is not proven until it is pulled by that digest.
    ///
    /// # Errors
    /// If the registry does not say it.
    pub async fn resolve(
        &self,
        reference: &Reference,
        access: &RegistryAccess,
    ) -> Result<ContentDigest, RegistryError> {
        let image = match reference {
            Reference::File(file) => return Ok(file.sha256()),
            Reference::Oci(image) => image,
        };
        if let Some(digest) = image.digest() {
            return Ok(digest);
        }
        let mut session = self.session(image, access, "pull").await?;
        let url = manifest_url(&session, image);
        let head = Call { accept: Some(MANIFESTS), ..Call::new(Method::HEAD, url.clone()) };
        let answer = session.answer(head).await?;
        let said = answer.field(MANIFEST_DIGEST).and_then(|digest| digest.parse().ok());
        match said {
            Some(digest) if answer.status.is_success() => Ok(digest),
            // Some answer no HEAD, or tell no digest, or tell in the body what is wrong.
            _ => Ok(ContentDigest::of(&manifest(&mut session, image).await?)),
        }
    }

    async fn pull_image(
        &self,
        image: &OciReference,
        access: &RegistryAccess,
    ) -> Result<PulledComponent, RegistryError> {
        let mut session = self.session(image, access, "pull").await?;
        let text = manifest(&mut session, image).await?;
        let none = |why| RegistryError::UnusableImage { image: image.to_string(), why };
        let layer = ImageManifest::parse(&text).and_then(|read| read.component()).map_err(none)?;
        let bytes = blob(&mut session, image, layer, self.bounds.size, "the component").await?;
        Ok(PulledComponent { manifest: Some(text), bytes })
    }

    async fn pull_file(
        &self,
        file: &FileReference,
        access: &RegistryAccess,
    ) -> Result<PulledComponent, RegistryError> {
        let tls = self.tls(file.url(), access).await?;
        let patience = Patience::new(self.bounds);
        let from = (file.url().clone(), tls);
        let mut session = RegistrySession::new(from, patience, access.login.clone(), String::new());
        let answer = session.call(Call::new(Method::GET, file.url().clone())).await?;
        let bytes = bounded(answer, self.bounds.size, file.url().as_str()).await?;
        check(file.url().as_str(), file.sha256(), &bytes)?;
        Ok(PulledComponent { manifest: None, bytes })
    }

    /// An operation that may do this to the repository of an image: `pull`, or `pull,push`.
    pub(crate) async fn session(
        &self,
        image: &OciReference,
        access: &RegistryAccess,
        doing: &str,
    ) -> Result<RegistrySession, RegistryError> {
        let host = image.api_host();
        let odd =
            |_| RegistryError::Protocol { host: host.to_owned(), why: "its name is none".into() };
        let mut base = Url::parse(&format!("https://{host}/")).map_err(odd)?;
        if is_loopback(&base) && access.authorities.is_empty() {
            base = Url::parse(&format!("http://{host}/")).map_err(odd)?;
        }
        let tls = self.tls(&base, access).await?;
        let scope = format!("repository:{}:{doing}", image.repository());
        let patience = Patience::new(self.bounds);
        Ok(RegistrySession::new((base, tls), patience, access.login.clone(), scope))
    }

    async fn tls(
        &self,
        url: &Url,
        access: &RegistryAccess,
    ) -> Result<Arc<ClientConfig>, RegistryError> {
        let failed = |why: String| RegistryError::Tls { host: crate::wire::host_of(url), why };
        // Reads files, so away from the threads that serve.
        let load = || async { task::spawn_blocking(authorities::of_the_system).await };
        let roots =
            self.roots.get_or_try_init(load).await.map_err(|error| failed(error.to_string()))?;
        authorities::config(roots.clone(), &access.authorities)
            .map_err(|error| failed(error.to_string()))
    }
}

impl fmt::Debug for RegistryClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryClient").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

/// Where a registry has the manifest that a reference asks for.
pub(crate) fn manifest_url(session: &RegistrySession, image: &OciReference) -> Url {
    session.address(&format!("/v2/{}/manifests/{}", image.repository(), image.asked()))
}

/// Gets the manifest that a reference asks for. It has the digest that the reference says.
pub(crate) async fn manifest(
    session: &mut RegistrySession,
    image: &OciReference,
) -> Result<Vec<u8>, RegistryError> {
    let url = manifest_url(session, image);
    let answer =
        session.call(Call { accept: Some(MANIFESTS), ..Call::new(Method::GET, url) }).await?;
    let what = format!("the manifest of {image}");
    let text = bounded(answer, LARGEST_MANIFEST, &what).await?;
    if let Some(digest) = image.digest() {
        check(&what, digest, &text)?;
    }
    Ok(text)
}

/// Gets a part of an image. It has the size and the digest that its manifest says.
pub(crate) async fn blob(
    session: &mut RegistrySession,
    image: &OciReference,
    content: ComponentLayer,
    limit: u64,
    what: &str,
) -> Result<Vec<u8>, RegistryError> {
    let what = format!("{what} of {image}");
    if content.size > limit {
        return Err(RegistryError::TooLarge { what, limit });
    }
    let url = session.address(&format!("/v2/{}/blobs/{}", image.repository(), content.digest));
    let answer = session.call(Call::new(Method::GET, url)).await?;
    let other_size =
        |found| RegistryError::OtherSize { what: what.clone(), said: content.size, found };
    let bytes = match bounded(answer, content.size, &what).await {
        Err(RegistryError::TooLarge { .. }) => {
            return Err(other_size(content.size.saturating_add(1)));
        }
        other => other?,
    };
    let found = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if found != content.size {
        return Err(other_size(found));
    }
    check(&what, content.digest, &bytes)?;
    Ok(bytes)
}

/// The body of an answer, which may say beforehand that it is too large.
async fn bounded(answer: Told, limit: u64, what: &str) -> Result<Vec<u8>, RegistryError> {
    let said = answer.field(CONTENT_LENGTH.as_str()).and_then(|text| text.parse::<u64>().ok());
    if said.is_some_and(|said| said > limit) {
        return Err(RegistryError::TooLarge { what: what.to_owned(), limit });
    }
    answer.body(limit, what).await
}

fn check(what: &str, asked: ContentDigest, bytes: &[u8]) -> Result<(), RegistryError> {
    let found = ContentDigest::of(bytes);
    if found == asked {
        Ok(())
    } else {
        Err(RegistryError::OtherDigest { what: what.to_owned(), asked, found })
    }
}
