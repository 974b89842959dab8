//! A whole component: serves the files of the first directory that it was given. A directory is its
//! `index.html`. No file is read whole into memory.
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorType, ErrorCode, OpenFlags, PathFlags,
};
use wasip2::http::types::*;

/// Links are followed; one that leads out of the directory is refused by the host.
const FOLLOW: PathFlags = PathFlags::SYMLINK_FOLLOW;

struct Files;

impl wasip2::exports::http::incoming_handler::Guest for Files {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_else(|| "/".into());
        let path = target.split('?').next().unwrap_or_default();
        let with_body = match request.method() {
            Method::Get => true,
            Method::Head => false,
            _ => return bare(out, 405, "allow", "GET, HEAD"),
        };
        match find(path) {
            Found::File { file, size, media } => send(out, &file, size, media, with_body),
            // As a browser would take links in the index for links beside the directory.
            Found::Directory(name) => bare(out, 308, "location", &format!("./{name}/")),
            Found::Nothing => bare(out, 404, "cache-control", "no-cache"),
        }
    }
}

enum Found {
    File {
        file: Descriptor,
        size: u64,
        media: &'static str,
    },
    /// A directory that was asked for without a `/` at its end, by the last piece of its path.
    Directory(String),
    Nothing,
}

fn find(asked: &str) -> Found {
    let Some((root, _)) = get_directories().into_iter().next() else { return Found::Nothing };
    let Some(mut path) = safe(asked) else { return Found::Nothing };
    if is(&root, &path, DescriptorType::Directory) {
        if !asked.ends_with('/') {
            return Found::Directory(asked.rsplit('/').next().unwrap_or_default().into());
        }
        path.push_str("/index.html");
    }
    // Anything else, a pipe for example, might keep us waiting for ever.
    if !is(&root, &path, DescriptorType::RegularFile) {
        return Found::Nothing;
    }
    match open(&root, &path) {
        Ok((file, size)) => Found::File { file, size, media: media_type(&path) },
        Err(_) => Found::Nothing,
    }
}

fn is(root: &Descriptor, path: &str, type_: DescriptorType) -> bool {
    root.stat_at(FOLLOW, path).is_ok_and(|stat| stat.type_ == type_)
}

fn open(root: &Descriptor, path: &str) -> Result<(Descriptor, u64), ErrorCode> {
    let file = root.open_at(FOLLOW, path, OpenFlags::empty(), DescriptorFlags::READ)?;
    let size = file.stat()?.size;
    Ok((file, size))
}

/// The path within the directory, percent-decoded. `None` for one with `..` or a hidden file in it,
/// and for what is no text. The host would refuse to leave the directory; it need not come to that.
fn safe(asked: &str) -> Option<String> {
    let path = String::from_utf8(decode(asked.as_bytes())?).ok()?;
    let pieces: Vec<&str> = path.split('/').filter(|piece| !piece.is_empty()).collect();
    let bad = |piece: &&str| piece.starts_with('.') || piece.contains(['\\', '\0']);
    let path = if pieces.is_empty() { ".".into() } else { pieces.join("/") };
    (!pieces.iter().any(bad)).then_some(path)
}

fn decode(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    while let Some((first, rest)) = bytes.split_first() {
        bytes = rest;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let (digits, rest) = rest.split_at_checked(2)?;
        let digits = str::from_utf8(digits).ok()?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        bytes = rest;
    }
    Some(decoded)
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        Some("json") => "application/json",
        Some("wasm") => "application/wasm",
        Some("pdf") => "application/pdf",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("webp") => "image/webp",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

fn send(out: ResponseOutparam, file: &Descriptor, size: u64, media: &str, with_body: bool) {
    let headers = [
        ("content-type".into(), media.into()),
        ("content-length".into(), size.to_string().into()),
        ("x-content-type-options".into(), b"nosniff".into()),
    ];
    let response = OutgoingResponse::new(Fields::from_list(&headers).unwrap());
    if !with_body {
        return ResponseOutparam::set(out, Ok(response));
    }
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    // A body that is dropped unfinished is broken off, so nobody takes a part for the whole.
    if copy(file, &body, size).is_some() {
        let _ = OutgoingBody::finish(body, None);
    }
}

/// Moves the file piece by piece, as fast as the client takes it; `None` when that has failed.
fn copy(file: &Descriptor, body: &OutgoingBody, size: u64) -> Option<()> {
    let (from, to) = (file.read_via_stream(0).ok()?, body.write().ok()?);
    let mut left = size;
    while left > 0 {
        left -= to.blocking_splice(&from, left.min(64 * 1024)).ok()?;
    }
    to.blocking_flush().ok()
}

/// An answer without a body.
fn bare(out: ResponseOutparam, status: u16, header: &str, value: &str) {
    let headers = [(header.into(), value.into())];
    let response = OutgoingResponse::new(Fields::from_list(&headers).unwrap());
    response.set_status_code(status).unwrap();
    ResponseOutparam::set(out, Ok(response));
}

wasip2::http::proxy::export!(Files);
