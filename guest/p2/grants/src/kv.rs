//! Key-value.

use kit::Request;
use kit::stores::{atomics, batch, store};

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
