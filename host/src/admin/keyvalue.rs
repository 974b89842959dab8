//! What operators do with the buckets of components. Each operation is a line in the log, without the value.

use std::sync::Arc;

use host_keyvalue::{Bucket, StoreError};
use host_manifest::escape::quote;
use tracing::info;

use crate::component::buckets;
use crate::control::schema::{BucketName, BucketStatus, KeyList, KeyWritten};
use crate::control::{BucketAnswer, BucketOperation, BucketRefusal};
use crate::site::App;

/// A page, unless fewer keys are asked for.
const PAGE: u32 = 1_000;

/// The buckets of these components.
pub(super) fn list(apps: &[Arc<App>]) -> Vec<BucketStatus> {
    let of = |app: &Arc<App>| -> Vec<BucketStatus> {
        let Some(buckets) = buckets(&app.settings.grants) else { return Vec::new() };
        let named = buckets.names().filter_map(|name| Some((name, buckets.get(name)?)));
        named
            .map(|(name, bucket)| BucketStatus {
                component: app.manifest.name.to_string(),
                bucket: name.to_owned(),
                backend: bucket.backend().to_owned(),
            })
            .collect()
    };
    let mut all: Vec<_> = apps.iter().flat_map(of).collect();
    all.sort_by(|one, other| (&one.component, &one.bucket).cmp(&(&other.component, &other.bucket)));
    all
}

/// A bucket, with its names.
pub(super) struct Found {
    bucket: Bucket,
    names: KeyWritten,
}

/// The bucket that is meant.
pub(super) fn find(apps: &[Arc<App>], name: &BucketName) -> Result<Found, BucketRefusal> {
    let there = list(apps);
    let wanted = |status: &&BucketStatus| {
        status.bucket == name.bucket
            && name.component.as_ref().is_none_or(|wanted| *wanted == status.component)
    };
    let fits: Vec<_> = there.iter().filter(wanted).collect();
    let [BucketStatus { component, bucket, .. }] = fits[..] else {
        return Err(BucketRefusal::Missing(not_one(name, &fits, &there)));
    };
    let app = apps.iter().find(|app| *app.manifest.name == **component);
    let found = app.and_then(|app| buckets(&app.settings.grants)?.get(bucket));
    let found = found.ok_or_else(|| BucketRefusal::Missing(not_one(name, &[], &there)))?;
    let names = KeyWritten { component: component.clone(), bucket: bucket.clone() };
    Ok(Found { bucket: found, names })
}

/// Why no bucket is meant, or more than one, and what there is.
fn not_one(name: &BucketName, fits: &[&BucketStatus], there: &[BucketStatus]) -> String {
    let bucket = quote(&name.bucket);
    if !fits.is_empty() {
        let whose: Vec<_> = fits.iter().map(|status| &*status.component).collect();
        let whose = whose.join(", ");
        return format!("several components have a bucket {bucket}: name one of {whose}");
    }
    let of = |whose: &String| format!(" of the component {}", quote(whose));
    let of = name.component.as_ref().map_or_else(String::new, of);
    if there.is_empty() {
        return format!("there is no bucket {bucket}{of}: no component has been granted any");
    }
    let there: Vec<_> =
        there.iter().map(|status| format!("{} of {}", status.bucket, status.component)).collect();
    format!("there is no bucket {bucket}{of}; there are: {}", there.join(", "))
}

impl Found {
    /// Carries out what is asked. Bounded by the store.
    pub(super) async fn carry_out(
        self,
        operation: BucketOperation,
    ) -> Result<BucketAnswer, BucketRefusal> {
        let Self { bucket, names } = self;
        let KeyWritten { component, bucket: name } = &names;
        let note = |what: &str, key: &str| {
            let key = quote(key);
            info!(component, bucket = name, key, "an operator {what} a key-value pair");
        };
        match operation {
            BucketOperation::List { prefix, cursor, limit } => {
                let prefix_shown = quote(&prefix);
                info!(component, bucket = name, prefix = prefix_shown, "an operator lists keys");
                let most = usize::try_from(limit.unwrap_or(PAGE)).unwrap_or(usize::MAX);
                let page = bucket.list_keys_with_prefix(prefix, cursor, most).await;
                let page = page.map_err(|why| refused(&why))?;
                Ok(BucketAnswer::Keys(KeyList { keys: page.keys, cursor: page.cursor }))
            }
            BucketOperation::Get(key) => {
                note("reads", &key);
                let missing = format!("there is no key {} in {name} of {component}", quote(&key));
                let value = bucket.get(key).await.map_err(|why| refused(&why))?;
                value.map(BucketAnswer::Value).ok_or(BucketRefusal::Missing(missing))
            }
            BucketOperation::Set(key, value, ttl) => {
                note("sets", &key);
                let set = match ttl {
                    Some(ttl) => bucket.set_with_ttl(key, value, ttl).await,
                    None => bucket.set(key, value).await,
                };
                set.map_err(|why| refused(&why))?;
                Ok(BucketAnswer::Written(names))
            }
            BucketOperation::Delete(key) => {
                note("deletes", &key);
                bucket.delete(key).await.map_err(|why| refused(&why))?;
                Ok(BucketAnswer::Written(names))
            }
        }
    }
}

/// An operator is told more than a guest.
fn refused(why: &StoreError) -> BucketRefusal {
    BucketRefusal::Refused(why.to_string())
}
