//! Who we are to a registry. Secrets are in no `Debug` and in no error.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};
use thiserror::Error;
use zeroize::Zeroizing;

/// How Docker writes Docker Hub in its file.
const DOCKER_HUB: &str = "index.docker.io";

/// Who we are to one registry.
#[derive(Clone)]
pub enum RegistryLogin {
    /// A name and a password, or what a registry calls one: an access token, mostly.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Zeroizing<String>,
    },
    /// A token that the registry takes as it is.
    Token(Zeroizing<String>),
}

/// Credentials that cannot be used: what is wrong with which, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The text is empty.
    #[error("the credentials are empty; write USER:PASSWORD or a token, in one line")]
    Empty,
    /// The text has more than a line, or something that no head may have.
    #[error(
        "the credentials have more than one line, or characters that cannot be sent; write USER:PASSWORD or a token"
    )]
    NotALine,
    /// Docker's file is none.
    #[error("it is no config.json of Docker: {form}")]
    NotDockers {
        /// What is wrong, and where.
        form: String,
    },
    /// Docker's file leaves a registry to a program.
    #[error(
        "Docker's config.json leaves the credentials of {registry} to the program {helper}, which is not started here; \
         write USER:PASSWORD or a token into a file of its own"
    )]
    Helper {
        /// The registry.
        registry: String,
        /// The program.
        helper: String,
    },
    /// An entry of Docker's file is damaged.
    #[error(
        "Docker's config.json has credentials of {registry} that cannot be read: {form}; run docker login {registry}"
    )]
    DockerEntry {
        /// The registry.
        registry: String,
        /// What is wrong.
        form: &'static str,
    },
}

impl RegistryLogin {
    /// The credentials that a file holds: `USER:PASSWORD`, or a token, which has no colon.
    ///
    /// # Errors
    /// If it holds anything else.
    pub fn from_file(text: &[u8]) -> Result<Self, CredentialsError> {
        let text = std::str::from_utf8(text).map_err(|_| CredentialsError::NotALine)?.trim();
        if text.is_empty() {
            return Err(CredentialsError::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(CredentialsError::NotALine);
        }
        match text.split_once(':') {
            Some((user, password)) => Ok(Self::basic(user, password)),
            None if text.is_ascii() => Ok(Self::Token(Zeroizing::new(text.to_owned()))),
            None => Err(CredentialsError::NotALine),
        }
    }

    /// A name and a password.
    #[must_use]
    pub fn basic(user: &str, password: &str) -> Self {
        let password = Zeroizing::new(password.to_owned());
        Self::Basic { user: user.to_owned(), password }
    }

    /// What an `Authorization` says of it.
    pub(crate) fn authorization(&self) -> Zeroizing<String> {
        match self {
            Self::Basic { user, password } => {
                let pair = Zeroizing::new(format!("{user}:{}", password.as_str()));
                let encoded = Zeroizing::new(BASE64.encode(pair.as_bytes()));
                Zeroizing::new(format!("Basic {}", encoded.as_str()))
            }
            Self::Token(token) => Zeroizing::new(format!("Bearer {}", token.as_str())),
        }
    }
}

impl fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "RegistryLogin(a name and a password)",
            Self::Token(_) => "RegistryLogin(a token)",
        })
    }
}

/// Docker's `config.json`.
#[derive(Clone, Default)]
pub struct DockerConfig {
    auths: BTreeMap<String, DockerAuth>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

#[derive(Clone)]
struct DockerAuth {
    auth: Zeroizing<String>,
    identity: Zeroizing<String>,
}

impl DockerConfig {
    /// Reads it.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &[u8]) -> Result<Self, CredentialsError> {
        // What the library says may show a value, which may be a password.
        let value: Value = serde_json::from_slice(text).map_err(|error| {
            let form = format!("there is no JSON in line {}", error.line());
            CredentialsError::NotDockers { form }
        })?;
        let wrong = |key: &str| {
            let form = format!("{key} is not what it is in Docker's");
            CredentialsError::NotDockers { form }
        };
        let object = value.as_object().ok_or_else(|| wrong("the whole"))?;
        let mut config = Self::default();
        for (registry, entry) in table(object, "auths").ok_or_else(|| wrong("auths"))? {
            let entry = DockerAuth::read(&entry).ok_or_else(|| wrong("auths"))?;
            config.auths.insert(registry, entry);
        }
        for (registry, helper) in
            table(object, "credHelpers").ok_or_else(|| wrong("credHelpers"))?
        {
            let helper = helper.as_str().ok_or_else(|| wrong("credHelpers"))?;
            config.helpers.insert(registry, helper.to_owned());
        }
        config.store = match object.get("credsStore") {
            Some(store) => Some(store.as_str().ok_or_else(|| wrong("credsStore"))?.to_owned()),
            None => None,
        };
        Ok(config)
    }

    /// The credentials of a registry, if there are any.
    ///
    /// # Errors
    /// If they are kept by a program, or are damaged.
    pub fn login(&self, registry: &str) -> Result<Option<RegistryLogin>, CredentialsError> {
        let wanted = normal(registry);
        let helper = self.helpers.iter().find(|(named, _)| normal(named) == wanted);
        let entry = self.auths.iter().find(|(named, _)| normal(named) == wanted);
        let kept_by = |helper: &String| {
            let (registry, helper) = (registry.to_owned(), format!("docker-credential-{helper}"));
            Err(CredentialsError::Helper { registry, helper })
        };
        match (helper, entry, &self.store) {
            (Some((_, helper)), _, _) => kept_by(helper),
            (None, Some((_, entry)), store) => match (entry.auth.is_empty(), store) {
                (true, Some(helper)) => kept_by(helper),
                _ => entry.login(registry),
            },
            (None, None, _) => Ok(None),
        }
    }
}

/// A table of the file; an empty one if it is not there, and nothing if something else is.
fn table(object: &Map<String, Value>, key: &str) -> Option<Map<String, Value>> {
    object.get(key).map_or_else(|| Some(Map::new()), |value| value.as_object().cloned())
}

impl DockerAuth {
    fn read(entry: &Value) -> Option<Self> {
        let entry = entry.as_object()?;
        let text = |key: &str| match entry.get(key) {
            Some(value) => value.as_str().map(|text| Zeroizing::new(text.to_owned())),
            None => Some(Zeroizing::default()),
        };
        Some(Self { auth: text("auth")?, identity: text("identitytoken")? })
    }

    fn login(&self, registry: &str) -> Result<Option<RegistryLogin>, CredentialsError> {
        let damaged = |form| CredentialsError::DockerEntry { registry: registry.to_owned(), form };
        if self.auth.is_empty() {
            let form = "there is an identity token, which is not supported";
            return if self.identity.is_empty() { Ok(None) } else { Err(damaged(form)) };
        }
        let pair =
            BASE64.decode(self.auth.as_bytes()).map_err(|_| damaged("they are not base64"))?;
        let pair = Zeroizing::new(pair);
        let pair = std::str::from_utf8(&pair).map_err(|_| damaged("they are not UTF-8"))?;
        let (user, password) = pair.split_once(':').ok_or_else(|| damaged("there is no colon"))?;
        Ok(Some(RegistryLogin::basic(user, password)))
    }
}

impl fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registries: Vec<&str> = self.auths.keys().map(String::as_str).collect();
        f.debug_struct("DockerConfig").field("registries", &registries).finish_non_exhaustive()
    }
}

/// A registry as Docker's file may write it: with a scheme, with a path, and Docker Hub by an older name.
fn normal(registry: &str) -> String {
    let host = registry.split_once("://").map_or(registry, |(_, host)| host);
    let host = host.split_once('/').map_or(host, |(host, _)| host);
    let host = host.to_ascii_lowercase();
    if host == DOCKER_HUB { "docker.io".to_owned() } else { host }
}
