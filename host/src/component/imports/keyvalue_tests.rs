//! Buckets as a guest meets them.

use std::collections::BTreeMap;

use host_keyvalue::Stores;
use host_manifest::Namespace;

use super::atomics::Host as _;
use super::batch::Host as _;
use super::extra::{CasError, Host as _};
use super::store::{Host as _, HostBucket as _};
use super::*;

struct Instance {
    buckets: Buckets,
    table: ResourceTable,
    topics: LogTopics,
    usage: ComponentUsage,
}

impl Instance {
    fn with(names: &[&str]) -> Self {
        let space = |name: &str| Namespace::Own("shop".into(), name.to_owned());
        let store = StoreConfig::Memory("main".to_owned());
        let bucket =
            |name: &str| host_manifest::BucketConfig { store: store.clone(), space: space(name) };
        let buckets: BTreeMap<_, _> =
            names.iter().map(|name| ((*name).to_owned(), bucket(name))).collect();
        let buckets = Stores::default().open(&buckets, 1_000).unwrap();
        let (table, topics) = (ResourceTable::new(), LogTopics::default());
        Self { buckets, table, topics, usage: ComponentUsage::default() }
    }

    fn view(&mut self) -> View<'_> {
        let Self { buckets, table, topics, usage } = self;
        View {
            timer: None,
            buckets: Some(buckets),
            table,
            component: "shop",
            number: 1,
            topics,
            usage,
        }
    }

    fn open(&mut self, name: &str) -> Result<Resource<Bucket>, Error> {
        self.view().open(name.to_owned()).unwrap()
    }
}

/// The handle, as a guest passes it to each call.
fn lent(bucket: &Resource<Bucket>) -> Resource<Bucket> {
    Resource::new_borrow(bucket.rep())
}

#[test]
fn a_bucket_that_was_not_granted_does_not_exist() {
    let mut none = Instance::with(&[]);
    assert!(matches!(none.open("carts"), Err(Error::AccessDenied)));
    assert_eq!(none.topics.said("buckets"), 1);
    let mut other = Instance::with(&["carts"]);
    assert!(matches!(other.open(""), Err(Error::NoSuchStore)));
    assert!(matches!(other.open("main"), Err(Error::NoSuchStore)));
    assert!(other.open("carts").is_ok());
}

#[tokio::test]
async fn one_handle_reads_what_another_has_written() {
    let mut instance = Instance::with(&["carts"]);
    let [first, second] = [(); 2].map(|()| instance.open("carts").unwrap());
    let mut view = instance.view();
    view.set(lent(&first), "k".to_owned(), b"v".to_vec()).await.unwrap().unwrap();
    view.set_many(lent(&first), vec![("l".to_owned(), b"w".to_vec())]).await.unwrap().unwrap();
    store::HostBucket::drop(&mut view, first).unwrap();
    let keys = ["l", "none", "k"].map(str::to_owned).to_vec();
    let pairs = view.get_many(lent(&second), keys).await.unwrap().unwrap();
    let pair = |key: &str, value: &str| Some((key.to_owned(), value.as_bytes().to_vec()));
    assert_eq!(pairs, [pair("l", "w"), None, pair("k", "v")]);
    assert_eq!(view.increment(lent(&second), "n".to_owned(), 2).await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn what_the_draft_lacks_works_on_the_same_pairs_and_is_counted() {
    let mut instance = Instance::with(&["carts"]);
    let bucket = instance.open("carts").unwrap();
    let mut view = instance.view();
    let (k, seven) = (|| "k".to_owned(), Some(b"7".to_vec()));
    view.set_with_ttl(lent(&bucket), k(), b"7".to_vec(), 600_000).await.unwrap().unwrap();
    assert_eq!(view.get(lent(&bucket), k()).await.unwrap().unwrap(), seven);
    let other = view.compare_and_swap(lent(&bucket), k(), None, None, None).await.unwrap();
    assert!(matches!(other, Err(CasError::CasFailed(value)) if value == seven));
    let done = view.compare_and_swap(lent(&bucket), k(), seven, None, None).await.unwrap();
    assert!(done.is_ok());
    let refused = view.compare_and_swap(lent(&bucket), k(), None, Some(vec![]), Some(0)).await;
    assert!(matches!(refused.unwrap(), Err(CasError::StoreError(Error::Other(_)))));
    let page = view.list_keys_with_prefix(lent(&bucket), String::new(), None, 0).await;
    let page = page.unwrap().unwrap();
    assert_eq!((page.keys, page.cursor), (vec![], None));
    let counted = instance.usage.totals().keyvalue;
    let counted = |operation: &str| (counted[operation].done, counted[operation].failed);
    assert_eq!(counted("set-with-ttl"), (1, 0));
    assert_eq!(counted("compare-and-swap"), (3, 1), "another value is no failure");
    assert_eq!(counted("list-keys-with-prefix"), (1, 0));
}

#[tokio::test]
async fn a_guest_learns_only_what_it_can_act_upon() {
    let mut instance = Instance::with(&["carts"]);
    let bucket = instance.open("carts").unwrap();
    let mut view = instance.view();
    let large = view.set(lent(&bucket), "k".to_owned(), vec![0; 2_000]).await.unwrap();
    let Err(Error::Other(text)) = large else { panic!("{large:?}") };
    assert_eq!(text, "the value is too large");
    assert_eq!(instance.topics.said("stores"), 1);
    let counted = instance.usage.totals().keyvalue["set"];
    assert_eq!((counted.done, counted.failed), (1, 1));
}
