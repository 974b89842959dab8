//! A whole plugin: removes, sets and adds headers of requests and of responses, and replaces the beginning of paths. A
//! route of the manifest does the same to headers by itself (docs/http.md); this one stands where you put it in a chain.
//!
//! | key | what it has |
//! |---|---|
//! | `request-remove`, `response-remove` | names between spaces: all fields of these names are taken out |
//! | `request-set`, `response-set` | lines `name: value`: in place of all fields of that name |
//! | `request-add`, `response-add` | lines `name: value`: beside those that there are |
//! | `paths` | lines `/old /new`: a path `/old` or below it begins with `/new` instead; the longest `/old` that fits counts |
//!
//! In this order: remove, set, add. At least one key is needed.
//!
//! Limits: 100 names in each key, 8 KiB in a value, 100 lines in `paths`. Values are fixed text. Names of one connection
//! (`connection`), of a message's length (`content-length`), `host`, and what the host writes (`x-forwarded-for`) are
//! refused at the load. Paths are compared as they were sent: `/%6fld` is not `/old`, and the query stays as it is.
//! A `strip-prefix` of the route takes its prefix from what is left, so do not rewrite that.
use kit::{
    Answer, Config, ErrorCode, Fields, Parts, Request, check_name, next, response_with, set,
};

kit::plugin!(Rewrite, handle, schema: "../config.schema.json");

struct Rewrite {
    request: Rules,
    response: Rules,
    /// The longest beginning first.
    paths: Vec<(String, String)>,
}

#[derive(Default)]
struct Rules {
    remove: Vec<String>,
    set: Vec<(String, String)>,
    add: Vec<(String, String)>,
}

const MOST: usize = 100;
const LONGEST: usize = 8 << 10;

impl kit::Settings for Rewrite {
    fn read(config: &mut Config) -> Result<Self, String> {
        let request = Rules {
            remove: names(config, "request-remove", true)?,
            set: fields(config, "request-set", true)?,
            add: fields(config, "request-add", true)?,
        };
        let response = Rules {
            remove: names(config, "response-remove", false)?,
            set: fields(config, "response-set", false)?,
            add: fields(config, "response-add", false)?,
        };
        let paths = paths(&config.text("paths").unwrap_or_default())?;
        if request.is_empty() && response.is_empty() && paths.is_empty() {
            return Err("the configuration says nothing to rewrite".into());
        }
        Ok(Self { request, response, paths })
    }
}

fn names(config: &mut Config, key: &'static str, of_request: bool) -> Result<Vec<String>, String> {
    let names = config.words(key, "");
    at_most(key, names.len())?;
    names.iter().try_for_each(|name| check_name(key, name, of_request))?;
    Ok(names)
}

fn fields(
    config: &mut Config,
    key: &'static str,
    of_request: bool,
) -> Result<Vec<(String, String)>, String> {
    let text = config.text(key).unwrap_or_default();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let field = |line: &str| {
        let parts = line.split_once(':');
        let (name, value) =
            parts.ok_or_else(|| format!("config.{key}: {line:?} is no line `name: value`"))?;
        check_name(key, name, of_request)?;
        let value = value.trim();
        if value.len() > LONGEST {
            return Err(format!("config.{key}: the value of {name} has more than {LONGEST} bytes"));
        }
        if value.chars().any(char::is_control) {
            return Err(format!("config.{key}: the value of {name} has control characters"));
        }
        Ok((name.to_owned(), value.to_owned()))
    };
    let fields = lines.map(field).collect::<Result<Vec<_>, String>>()?;
    at_most(key, fields.len())?;
    Ok(fields)
}

fn at_most(key: &str, count: usize) -> Result<(), String> {
    if count > MOST {
        return Err(format!("config.{key} has {count} lines; {MOST} at most"));
    }
    Ok(())
}

fn paths(text: &str) -> Result<Vec<(String, String)>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut paths = lines.map(path).collect::<Result<Vec<_>, _>>()?;
    at_most("paths", paths.len())?;
    paths.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
    match paths.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(format!("config.paths has {:?} twice", pair[0].0)),
        None => Ok(paths),
    }
}

fn path(line: &str) -> Result<(String, String), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [from, to] = words[..] else {
        return Err(format!("config.paths: {line:?} is no line `/old /new`"));
    };
    for path in [from, to] {
        let dots = path.split('/').any(|part| matches!(part, "." | ".."));
        let odd =
            path.bytes().any(|byte| !byte.is_ascii_graphic() || b"?#\"<>\\^`{|}".contains(&byte));
        if !path.starts_with('/') || dots || odd {
            return Err(format!(
                "config.paths: {path:?} is no path; write /one/two, without dots and a query"
            ));
        }
    }
    Ok((from.trim_end_matches('/').to_owned(), to.trim_end_matches('/').to_owned()))
}

async fn handle(rewrite: &'static Rewrite, request: Request) -> Answer {
    let mut parts = Parts::of(request);
    rewrite.request.apply(&parts.headers)?;
    parts.path = parts.path.map(|path| rewrite.new_path(path));
    let answer = next(parts.whole()?).await?;
    if rewrite.response.is_empty() {
        return Ok(answer);
    }
    let headers = answer.get_headers().clone();
    rewrite.response.apply(&headers)?;
    Ok(response_with(answer, headers))
}

impl Rules {
    fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    fn apply(&self, headers: &Fields) -> Result<(), ErrorCode> {
        for name in &self.remove {
            let _ = headers.delete(name);
        }
        for (name, value) in &self.set {
            set(headers, name, value.as_bytes())?;
        }
        for (name, value) in &self.add {
            let added = headers.append(name, value.as_bytes());
            added.map_err(|_| ErrorCode::HttpRequestHeaderSectionSize(None))?;
        }
        Ok(())
    }
}

impl Rewrite {
    fn new_path(&self, path: String) -> String {
        let below = |from: &str| {
            let rest = path.strip_prefix(from)?;
            (rest.is_empty() || rest.starts_with(['/', '?'])).then_some(rest)
        };
        for (from, to) in &self.paths {
            if let Some(rest) = below(from) {
                let slash = if to.is_empty() && !rest.starts_with('/') { "/" } else { "" };
                return format!("{to}{slash}{rest}");
            }
        }
        path
    }
}
