//! One operation with one registry: its time, who we are to it, and where it sends us.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use rustls::ClientConfig;
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use crate::bounds::Patience;
use crate::challenge::{self, Challenge};
use crate::credentials::RegistryLogin;
use crate::error::RegistryError;
use crate::exchange::{Ask, Told};
use crate::redirect;
use crate::wire::host_of;

/// What servers say of an error, and a token: more is not read.
const LONGEST_ERROR: u64 = 16 * 1024;
const LONGEST_TOKEN: u64 = 256 * 1024;
const LONGEST_SENTENCE: usize = 200;

/// One operation.
pub(crate) struct RegistrySession {
    base: Url,
    tls: Arc<ClientConfig>,
    patience: Patience,
    login: Option<RegistryLogin>,
    /// What a token is asked for: `repository:shop/cart:pull`.
    scope: String,
    authorization: Option<Zeroizing<String>>,
}

/// A request of an operation.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) accept: Option<&'static str>,
    pub(crate) content: Option<(&'static str, Bytes)>,
}

impl Call {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self { method, url, accept: None, content: None }
    }

    /// Whether it may be asked somewhere else, if the server says so.
    fn follows(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }
}

impl RegistrySession {
    pub(crate) fn new(
        (base, tls): (Url, Arc<ClientConfig>),
        patience: Patience,
        login: Option<RegistryLogin>,
        scope: String,
    ) -> Self {
        // A token is taken as it is; a name and a password are for whoever asks for them.
        let authorization = match &login {
            Some(token @ RegistryLogin::Token(_)) => Some(token.authorization()),
            Some(RegistryLogin::Basic { .. }) | None => None,
        };
        Self { base, tls, patience, login, scope, authorization }
    }

    /// The registry, for a sentence.
    pub(crate) fn host(&self) -> String {
        host_of(&self.base)
    }

    /// An address of the registry.
    pub(crate) fn address(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    /// Asks, tells who we are if that is wanted, and goes where we are sent. The answer is a success.
    pub(crate) async fn call(&mut self, call: Call) -> Result<Told, RegistryError> {
        let answer = self.answer(call.clone()).await?;
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(self.failure(&call.url, answer).await)
        }
    }

    /// The same, with whatever answer that is no redirect.
    pub(crate) async fn answer(&mut self, mut call: Call) -> Result<Told, RegistryError> {
        let mut asked_who = false;
        for _ in 0..=redirect::MOST + 1 {
            let answer = self.once(&call).await?;
            let is_ours = redirect::same_server(&call.url, &self.base);
            if answer.status == StatusCode::UNAUTHORIZED && is_ours && !asked_who {
                asked_who = true;
                self.identify(&call.url, answer).await?;
            } else if redirect::is_one(answer.status) && call.follows() {
                call.url = redirect::target(&call.url, &answer)?;
            } else {
                return Ok(answer);
            }
        }
        let (host, to) = (self.host(), redirect::shown(&call.url));
        Err(RegistryError::Redirect { host, to, why: "there were too many of them" })
    }

    async fn once(&self, call: &Call) -> Result<Told, RegistryError> {
        let mut ask = Ask::new(call.method.clone(), call.url.clone());
        let mut field = |name: HeaderName, value: &'static str| {
            ask.headers.insert(name, HeaderValue::from_static(value));
        };
        if let Some(accept) = call.accept {
            field(ACCEPT, accept);
        }
        if let Some((kind, content)) = &call.content {
            field(CONTENT_TYPE, kind);
            ask.body = content.clone();
        }
        if redirect::same_server(&call.url, &self.base)
            && let Some(authorization) = &self.authorization
        {
            ask.headers.insert(AUTHORIZATION, self.secret(authorization)?);
        }
        ask.send(Arc::clone(&self.tls), self.patience).await
    }

    fn secret(&self, text: &str) -> Result<HeaderValue, RegistryError> {
        let mut value = HeaderValue::from_str(text).map_err(|_| RegistryError::Protocol {
            host: self.host(),
            why: "its token cannot be sent".into(),
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Finds what lets us in, by what the registry has answered.
    async fn identify(&mut self, asked: &Url, answer: Told) -> Result<(), RegistryError> {
        match Challenge::of(&answer.headers) {
            Some(Challenge::Basic)
                if let Some(login @ RegistryLogin::Basic { .. }) = &self.login =>
            {
                self.authorization = Some(login.authorization());
                Ok(())
            }
            Some(Challenge::Bearer { realm, service, scope })
                if !matches!(self.login, Some(RegistryLogin::Token(_))) =>
            {
                let token = self.token(&realm, service, scope).await?;
                self.authorization = Some(RegistryLogin::Token(token).authorization());
                Ok(())
            }
            _ => Err(self.failure(asked, answer).await),
        }
    }

    /// Gets a token of the server that the registry has named.
    async fn token(
        &self,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
    ) -> Result<Zeroizing<String>, RegistryError> {
        let odd = |why: &str| RegistryError::Protocol { host: self.host(), why: why.to_owned() };
        let mut url = Url::parse(realm).map_err(|_| odd("it names no server of tokens"))?;
        redirect::allowed(&self.base, &url).map_err(|why| RegistryError::Redirect {
            host: self.host(),
            to: redirect::shown(&url),
            why,
        })?;
        url.set_fragment(None);
        let scope = scope.unwrap_or_else(|| self.scope.clone());
        let service = service.iter().map(|service| ("service", service.as_str()));
        url.query_pairs_mut().extend_pairs(service).append_pair("scope", &scope);
        let mut ask = Ask::new(Method::GET, url.clone());
        if let Some(login @ RegistryLogin::Basic { .. }) = &self.login {
            ask.headers.insert(AUTHORIZATION, self.secret(&login.authorization())?);
        }
        let answer = ask.send(Arc::clone(&self.tls), self.patience).await?;
        if !answer.status.is_success() {
            return Err(self.failure(&url, answer).await);
        }
        let text = Zeroizing::new(answer.body(LONGEST_TOKEN, "the token").await?);
        challenge::token(&text).ok_or_else(|| odd("its server of tokens gives none"))
    }

    /// What an answer that is no success means.
    pub(crate) async fn failure(&self, asked: &Url, answer: Told) -> RegistryError {
        let (host, status) = (answer.host.clone(), answer.status);
        let again = answer.field(RETRY_AFTER.as_str()).and_then(|text| text.parse().ok());
        let said = said(answer).await;
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                RegistryError::Denied { host, known: self.login.is_some(), said }
            }
            StatusCode::NOT_FOUND => RegistryError::Missing { what: redirect::shown(asked), said },
            StatusCode::TOO_MANY_REQUESTS => {
                RegistryError::TooMany { host, again: again.map(Duration::from_secs) }
            }
            _ => RegistryError::Refused { host, status, said },
        }
    }
}

/// What the body of an answer says of an error, in a line.
async fn said(answer: Told) -> String {
    let status = answer.status;
    let reason = || status.canonical_reason().unwrap_or("no reason").to_lowercase();
    let Ok(text) = answer.body(LONGEST_ERROR, "the error").await else { return reason() };
    let Ok(answer) = serde_json::from_slice::<Value>(&text) else { return reason() };
    let text =
        |place| answer.pointer(place).and_then(Value::as_str).filter(|text| !text.is_empty());
    let line = text("/errors/0/message").or_else(|| text("/errors/0/code")).unwrap_or_default();
    let plain: String =
        line.chars().filter(|one| !one.is_control()).take(LONGEST_SENTENCE).collect();
    if plain.is_empty() { reason() } else { plain }
}
