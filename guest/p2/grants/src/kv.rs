//! Key-value.

use kit::Request;
use kit::stores::{atomics, batch, extra, store};

pub fn kv(what: &str, request: &Request) -> Result<String, String> {
    run(what, request).map_err(|error| match error {
        store::Error::Other(text) => format!("other: {text}"),
        error => kit::case(error),
    })
}

fn run(what: &str, request: &Request) -> Result<String, store::Error> {
    let text = |name| request.text(name).unwrap_or_default();
    let (key, value) = (text("key"), text("value"));
    let bucket = store::open(text("bucket"))?;
    match what {
        "get" => Ok(shown(bucket.get(key)?)),
        "set" => bucket.set(key, value.as_bytes()).map(|()| "set\n".into()),
        "delete" => bucket.delete(key).map(|()| "deleted\n".into()),
        "exists" => bucket.exists(key).map(|exists| format!("{exists}\n")),
        "incr" => {
            let new = atomics::increment(&bucket, key, request.number("value", 1))?;
            Ok(format!("{new}\n"))
        }
        "list" => list(&bucket),
        "set-with-ttl" => {
            let ttl = request.number("ttl", 0);
            extra::set_with_ttl(&bucket, key, value.as_bytes(), ttl).map(|()| "set\n".into())
        }
        "cas" => cas(&bucket, request),
        "prefix" => prefix(&bucket, key, request.number("limit", 1000)),
        "many/get" => {
            let all = batch::get_many(&bucket, &many(key))?;
            Ok(all.into_iter().map(|pair| shown(pair.map(|(_, value)| value))).collect())
        }
        "many/set" => {
            let values = value.split(',').map(|value| value.as_bytes().to_vec());
            let pairs: Vec<_> = many(key).into_iter().zip(values).collect();
            batch::set_many(&bucket, &pairs).map(|()| "set\n".into())
        }
        "many/delete" => batch::delete_many(&bucket, &many(key)).map(|()| "deleted\n".into()),
        _ => Err(store::Error::Other("no such path".into())),
    }
}

fn cas(bucket: &store::Bucket, request: &Request) -> Result<String, store::Error> {
    let [expected, new] = ["expected", "value"].map(|name| request.text(name).map(str::as_bytes));
    let ttl = request.text("ttl").map(|_| request.number("ttl", 0));
    let key = request.text("key").unwrap_or_default();
    match extra::compare_and_swap(bucket, key, expected, new, ttl) {
        Ok(()) => Ok("swapped\n".into()),
        Err(extra::CasError::CasFailed(value)) => Ok(format!("it is {}", shown(value))),
        Err(extra::CasError::StoreError(error)) => Err(error),
    }
}

/// All keys with a prefix in their order, through as many pages as there are.
fn prefix(bucket: &store::Bucket, prefix: &str, limit: u64) -> Result<String, store::Error> {
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = extra::list_keys_with_prefix(bucket, prefix, cursor.as_deref(), limit)?;
        keys.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    keys.sort();
    Ok(keys.into_iter().map(|key| key + "\n").collect())
}

/// All keys in their order, through as many pages as there are.
fn list(bucket: &store::Bucket) -> Result<String, store::Error> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = bucket.list_keys(cursor)?;
        keys.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    keys.sort();
    Ok(keys.into_iter().map(|key| key + "\n").collect())
}

fn many(keys: &str) -> Vec<String> {
    keys.split(',').map(String::from).collect()
}

fn shown(value: Option<Vec<u8>>) -> String {
    let text = value.map_or("none".into(), |bytes| String::from_utf8_lossy(&bytes).into_owned());
    text + "\n"
}
