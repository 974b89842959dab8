//! A whole plugin: lets pages of other origins call the components behind it, as the configuration says.
//! Preflights are answered here; answers get `Access-Control-Allow-Origin` and its like, in place of what the component
//! behind has written. Give it `fail = "closed"` if you prefer no answer to one that no browser shows.
//!
//! | key | default | |
//! |---|---|---|
//! | `origins` | needed | origins between spaces, `https://app.example https://b.example:8443`, or `*` |
//! | `methods` | `GET HEAD POST` | what preflights allow |
//! | `headers` | | request headers that preflights allow, between spaces |
//! | `expose` | | response headers that pages may read |
//! | `credentials` | `false` | whether cookies and `Authorization` may come along; never with `*` |
//! | `max-age` | `600` | for how many seconds a browser remembers a preflight |
//!
//! Limits: CORS keeps pages from *reading* answers. A simple request of another origin reaches the component behind all
//! the same, so this is no protection against forged requests. Origins are compared as a whole: no `https://*.example`.
//! The origin `null` is never allowed, because every sandboxed page has it.
use kit::wasip3::http::types::Method;
use kit::{Answer, Config, ErrorCode, Fields, Request, next, response_with, set, status, text};

kit::plugin!(Cors, handle, schema: "../config.schema.json");

struct Cors {
    /// None for every origin.
    origins: Option<Vec<String>>,
    methods: Vec<String>,
    headers: Vec<String>,
    expose: String,
    credentials: bool,
    max_age: String,
}

const METHOD: &str = "access-control-request-method";
const HEADERS: &str = "access-control-request-headers";

impl kit::Settings for Cors {
    fn read(config: &mut Config) -> Result<Self, String> {
        let origins = config.needed("origins")?;
        let credentials = config.flag("credentials")?;
        let origins = match origins.trim() {
            "*" if credentials => {
                return Err("config.origins: \"*\" with credentials = \"true\" would let every page act as \
                            its visitor; name the origins"
                    .into());
            }
            "*" => None,
            list => Some(list.split_whitespace().map(origin).collect::<Result<_, _>>()?),
        };
        let methods = tokens("methods", config.words("methods", "GET HEAD POST"))?;
        let mut headers = tokens("headers", config.words("headers", ""))?;
        headers.iter_mut().for_each(|name| name.make_ascii_lowercase());
        let expose = tokens("expose", config.words("expose", ""))?.join(", ");
        let max_age = config.number("max-age", 600, 0..=86_400)?.to_string();
        Ok(Self { origins, methods, headers, expose, credentials, max_age })
    }
}

/// An origin as browsers write it: RFC 6454, section 6.2.
fn origin(text: &str) -> Result<String, String> {
    let wrong = |why| format!("config.origins: {text:?} {why}");
    if text.contains('*') {
        return Err(wrong("has a `*`; it stands alone, for every origin"));
    }
    let (scheme, authority) =
        text.split_once("://").ok_or_else(|| wrong("is no origin; write https://HOST"))?;
    if scheme.is_empty() || authority.is_empty() {
        return Err(wrong("is no origin; write https://HOST"));
    }
    if authority.contains(['/', '?', '#', '@']) {
        return Err(wrong("has more than a scheme, a host and a port"));
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii_graphic()) {
        return Err(wrong("is not as browsers write it: small letters of ASCII"));
    }
    if matches!(text.rsplit_once(':'), Some(("https", "443") | ("http", "80")))
        || (scheme == "https" && authority.ends_with(":443"))
        || (scheme == "http" && authority.ends_with(":80"))
    {
        return Err(wrong("has the port of its scheme, which browsers leave out"));
    }
    Ok(text.to_owned())
}

/// Names of methods and of fields: RFC 9110, section 5.6.2. `*` is a token, but a literal one here.
fn tokens(key: &str, words: Vec<String>) -> Result<Vec<String>, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte);
    match words.iter().find(|word| !word.bytes().all(is_token)) {
        Some(word) => Err(format!("config.{key}: {word:?} is no name; write names between spaces")),
        None => Ok(words),
    }
}

async fn handle(cors: &'static Cors, request: Request) -> Answer {
    let headers = request.get_headers();
    let origin = kit::only(&headers, "origin");
    let asked = matches!(request.get_method(), Method::Options) && headers.has(METHOD);
    match origin {
        Some(origin) if asked => Ok(cors.preflight(&origin, &headers)),
        origin => cors.onward(origin.as_deref(), request).await,
    }
}

impl Cors {
    fn allows(&self, origin: &str) -> bool {
        match &self.origins {
            None => true,
            Some(origins) => origins.iter().any(|allowed| allowed == origin),
        }
    }

    /// Answers for the component behind, which does not see the request.
    fn preflight(&self, origin: &str, asked: &Fields) -> kit::Response {
        let Some(why) = self.refuses(origin, asked) else {
            return self.allowed(origin).unwrap_or_else(|_| status(500, Fields::new()));
        };
        let vary = [("vary", VARY)];
        text(403, &vary, "text/plain", format!("no page of another origin may do this: {why}\n"))
    }

    fn refuses(&self, origin: &str, asked: &Fields) -> Option<&'static str> {
        if !self.allows(origin) {
            return Some("its origin is not allowed");
        }
        let method = kit::only(asked, METHOD).unwrap_or_default();
        if !self.methods.contains(&method) {
            return Some("its method is not allowed");
        }
        let names = asked.get(HEADERS).join(&b',');
        let names = String::from_utf8_lossy(&names).to_ascii_lowercase();
        let mut names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        let unknown = names.any(|name| !self.headers.iter().any(|allowed| allowed == name));
        unknown.then_some("one of its headers is not allowed")
    }

    fn allowed(&self, origin: &str) -> Result<kit::Response, ErrorCode> {
        let headers = Fields::new();
        set(&headers, "vary", VARY.as_bytes())?;
        self.name_origin(&headers, origin)?;
        set(&headers, "access-control-allow-methods", self.methods.join(", ").as_bytes())?;
        if !self.headers.is_empty() {
            set(&headers, "access-control-allow-headers", self.headers.join(", ").as_bytes())?;
        }
        set(&headers, "access-control-max-age", self.max_age.as_bytes())?;
        Ok(status(204, headers))
    }

    fn name_origin(&self, headers: &Fields, origin: &str) -> Result<(), ErrorCode> {
        let named = if self.origins.is_none() { "*" } else { origin };
        set(headers, "access-control-allow-origin", named.as_bytes())?;
        if self.credentials {
            set(headers, "access-control-allow-credentials", b"true")?;
        }
        Ok(())
    }

    async fn onward(&self, origin: Option<&str>, request: Request) -> Answer {
        let answer = next(request).await?;
        let headers = answer.get_headers().clone();
        for (name, _) in headers.copy_all() {
            if name.to_ascii_lowercase().starts_with("access-control-") {
                let _ = headers.delete(&name);
            }
        }
        // A cache must not give one origin what was meant for another, nor for none.
        if self.origins.is_some() && !varies_by_origin(&headers) {
            let added = headers.append("vary", b"Origin");
            added.map_err(|_| ErrorCode::HttpResponseHeaderSectionSize(None))?;
        }
        if let Some(origin) = origin.filter(|origin| self.allows(origin)) {
            self.name_origin(&headers, origin)?;
            if !self.expose.is_empty() {
                set(&headers, "access-control-expose-headers", self.expose.as_bytes())?;
            }
        }
        Ok(response_with(answer, headers))
    }
}

const VARY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

fn varies_by_origin(headers: &Fields) -> bool {
    let all = headers.get("vary").join(&b',');
    let all = String::from_utf8_lossy(&all).to_ascii_lowercase();
    all.split(',').map(str::trim).any(|name| name == "origin" || name == "*")
}
