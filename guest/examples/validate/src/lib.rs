//! A whole plugin: lets the body of a request pass if it is JSON as a JSON Schema says, unchanged and byte by byte.
//! Anything else is answered with `application/problem+json`. Give it `fail = "closed"`.
//!
//! | key | default | |
//! |---|---|---|
//! | `schema` | needed | a JSON Schema as text: draft 4, 6, 7, 2019-09 or 2020-12, which is the default |
//! | `methods` | `POST PUT PATCH` | requests whose bodies are looked at; others pass as they are |
//! | `content-types` | `application/json` | what the body has to be, between spaces |
//! | `max-body` | `1048576` | bytes of a body, 8388608 at most |
//! | `max-errors` | `10` | errors in an answer, 100 at most |
//! | `formats` | `false` | whether `format` is checked (`date-time`, `email` …) or only a remark |
//!
//! | status | why |
//! |---|---|
//! | 400 | the body is no JSON, is empty, or has a name twice in an object: whoever is behind could read the other one |
//! | 413 | it is longer than `max-body` |
//! | 415 | another `Content-Type` or charset, or any `Content-Encoding` |
//! | 422 | it is JSON, but not as the schema says; `errors` has the place (a JSON Pointer) and the reason of each |
//!
//! Limits: a body is held as a whole, and takes several times its size of `limits.memory`; it goes on when it has ended.
//! JSON is at most 128 levels deep. `$ref` leads within the schema only: nothing is fetched. Patterns are of the crate
//! `regex`: linear in time, without look-around. Headers, queries and answers are not looked at. A plugin has a fresh instance
//! for each request, which compiles the schema, and those of JSON Schema itself: some 7 ms of a core.
use boon::{Compiler, SchemaIndex, Schemas, UrlLoader, ValidationError};
use kit::wasip3::http::types::Method;
use kit::wasip3::wit_bindgen::{StreamReader, StreamResult};
use kit::wasip3::{spawn_local, wit_future, wit_stream};
use kit::{Answer, Config, Fields, Parts, Request, next, text};
use serde_json::{Value, json};

use crate::strict::Strict;

mod random;
mod strict;

kit::plugin!(Validate, handle, schema: "../config.schema.json");

struct Validate {
    schemas: Schemas,
    schema: SchemaIndex,
    methods: Vec<String>,
    content_types: Vec<String>,
    max_body: usize,
    max_errors: usize,
}

/// Why a body does not pass.
struct Problem {
    status: u16,
    title: &'static str,
    errors: Vec<Value>,
    /// Whether there are more errors than these.
    more: bool,
}

const LONGEST: usize = 200;

/// Where the schema stands, for its own references.
const PLACE: &str = "http://schema.invalid/schema.json";

struct Nowhere;

impl UrlLoader for Nowhere {
    fn load(&self, _: &str) -> Result<Value, Box<dyn std::error::Error>> {
        Err("nothing is fetched; write it into the schema, under $defs".into())
    }
}

impl kit::Settings for Validate {
    fn read(config: &mut Config) -> Result<Self, String> {
        let given = config.needed("schema")?;
        let given: Value = serde_json::from_str(&given)
            .map_err(|error| format!("config.schema is no JSON: {error}"))?;
        let mut schemas = Schemas::new();
        let mut compiler = Compiler::new();
        compiler.use_loader(Box::new(Nowhere));
        if config.flag("formats")? {
            compiler.enable_format_assertions();
        }
        compiler.add_resource(PLACE, given).map_err(|error| wrong(&error))?;
        let schema = compiler.compile(PLACE, &mut schemas).map_err(|error| wrong(&error))?;
        let methods = config.words("methods", "POST PUT PATCH");
        let mut content_types = config.words("content-types", "application/json");
        content_types.iter_mut().for_each(|kind| kind.make_ascii_lowercase());
        if methods.is_empty() || content_types.is_empty() {
            return Err("config.methods and config.content-types must not be empty".into());
        }
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let max_body = size(config.number("max-body", 1 << 20, 1..=8 << 20)?);
        let max_errors = size(config.number("max-errors", 10, 1..=100)?);
        Ok(Self { schemas, schema, methods, content_types, max_body, max_errors })
    }
}

/// With all reasons, on one line.
fn wrong(error: &boon::CompileError) -> String {
    let text = format!("{error:#}").replace(PLACE, "");
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    format!("config.schema: {}", lines.join("; "))
}

async fn handle(validate: &'static Validate, request: Request) -> Answer {
    let method = method(&request.get_method());
    if !validate.methods.contains(&method) {
        return next(request).await;
    }
    let mut parts = Parts::of(request);
    if let Err(problem) = validate.admit(&parts.headers) {
        return Ok(problem.answer());
    }
    let Some(bytes) = whole(&mut parts.body, validate.max_body).await else {
        return Ok(Problem::new(413, "The body is too long").answer());
    };
    // A body that broke off is no body, and the host knows whose fault that is.
    let trailers = parts.trailers.await?;
    if let Err(problem) = validate.check(&bytes) {
        return Ok(problem.answer());
    }
    let (mut writer, body) = wit_stream::new();
    let (ended, read) = wit_future::new(|| Err(kit::failed("the body was not passed on")));
    (parts.body, parts.trailers) = (body, read);
    spawn_local(async move {
        // Whoever is behind need not read it.
        if writer.write_all(bytes).await.is_empty() {
            drop(writer);
            let _ = ended.write(Ok(trailers)).await;
        }
    });
    next(parts.whole()?).await
}

fn method(method: &Method) -> String {
    match method {
        Method::Other(name) => name.clone(),
        known => format!("{known:?}").rsplit("::").next().unwrap_or_default().to_ascii_uppercase(),
    }
}

/// The whole body; none if it is longer than it may be.
async fn whole(body: &mut StreamReader<u8>, most: usize) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let (result, bytes) = body.read(Vec::with_capacity(64 << 10)).await;
        all.extend(bytes);
        if all.len() > most {
            return None;
        }
        if !matches!(result, StreamResult::Complete(_)) {
            return Some(all);
        }
    }
}

impl Validate {
    /// What can be said before the body is read.
    fn admit(&self, headers: &Fields) -> Result<(), Problem> {
        let kind = kit::only(headers, "content-type").unwrap_or_default().to_ascii_lowercase();
        let mut parts = kind.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let other_charset = parts
            .filter_map(|part| part.strip_prefix("charset="))
            .any(|charset| charset.trim_matches('"') != "utf-8");
        if other_charset || !self.content_types.iter().any(|known| known == essence) {
            return Err(Problem::new(415, "The Content-Type is none that is taken here"));
        }
        if headers.has("content-encoding") {
            return Err(Problem::new(415, "The body must not be encoded"));
        }
        let length = kit::only(headers, "content-length");
        let length = length.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        if length > self.max_body as u64 {
            return Err(Problem::new(413, "The body is too long"));
        }
        Ok(())
    }

    fn check(&self, bytes: &[u8]) -> Result<(), Problem> {
        let Strict(value) = serde_json::from_slice(bytes).map_err(|error| {
            let errors = vec![json!({ "at": "", "why": short(&error.to_string()) })];
            Problem { errors, ..Problem::new(400, "The body is no JSON") }
        })?;
        self.schemas.validate(&value, self.schema).map_err(|error| {
            let mut problem = Problem::new(422, "The body is not as it should be");
            self.collect(&error, &mut problem);
            problem
        })
    }

    /// The reasons that have no reasons themselves.
    fn collect(&self, error: &ValidationError, problem: &mut Problem) {
        for cause in &error.causes {
            self.collect(cause, problem);
        }
        if !error.causes.is_empty() {
            return;
        }
        if problem.errors.len() == self.max_errors {
            problem.more = true;
            return;
        }
        let at = short(&error.instance_location.to_string());
        problem.errors.push(json!({ "at": at, "why": short(&error.kind.to_string()) }));
    }
}

/// A text of ours may have one of the client's in it.
fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl Problem {
    fn new(status: u16, title: &'static str) -> Self {
        Self { status, title, errors: Vec::new(), more: false }
    }

    fn answer(&self) -> kit::Response {
        let mut body = json!({ "title": self.title, "status": self.status });
        if !self.errors.is_empty() {
            body["errors"] = Value::Array(self.errors.clone());
        }
        if self.more {
            body["more"] = Value::Bool(true);
        }
        text(self.status, &[], "application/problem+json", format!("{body}\n"))
    }
}
