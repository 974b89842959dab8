//! What an operation costs while two processes use one database file by turns, against one that has it for
//! itself. `turns [MEGABYTES]`, in the folder that TMPDIR names: the disk below it is what is measured.

#![expect(clippy::print_stdout, reason = "it prints what it has measured")]

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use host_keyvalue::{Bucket, Stores};
use host_manifest::{BucketConfig, Namespace, StoreConfig};
use tokio::time::Instant;

/// How long each figure is measured.
const LONG: Duration = Duration::from_secs(3);

/// For how much all of it may take together.
const ROOM: u64 = 1 << 40;

type Failure = Box<dyn Error + Send + Sync>;

fn open(stores: &Stores, path: &Path) -> Result<Bucket, Failure> {
    let space = Namespace::Own("app".into(), "data".to_owned());
    let config = BucketConfig { store: StoreConfig::Disk(path.to_owned()), space };
    let buckets = stores.open(&[("data".to_owned(), config)].into(), ROOM)?;
    buckets.get("data").ok_or_else(|| "no bucket".into())
}

async fn fill(bucket: &Bucket, megabytes: usize) -> Result<(), Failure> {
    for megabyte in 0..megabytes {
        let entry = |number| (format!("{megabyte}.{number}"), vec![7; 1_000]);
        bucket.set_many((0..1_000).map(entry).collect()).await?;
    }
    Ok(())
}

/// Operations one after the other by `tasks` tasks, and how long they took.
async fn measure(bucket: &Bucket, tasks: usize, write: bool) -> Result<Vec<Duration>, Failure> {
    let end = Instant::now() + LONG;
    let task = |task: usize| {
        let bucket = bucket.clone();
        tokio::spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < end {
                let (begun, key) = (Instant::now(), format!("0.{task}"));
                if write {
                    bucket.set(key, vec![8; 1_000]).await?;
                } else {
                    bucket.get(key).await?;
                }
                took.push(begun.elapsed());
            }
            Ok::<_, Failure>(took)
        })
    };
    let tasks: Vec<_> = (0..tasks).map(task).collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await??);
    }
    took.sort_unstable();
    Ok(took)
}

async fn table(who: &str, bucket: &Bucket) -> Result<(), Failure> {
    for (tasks, write) in [(1, false), (1, true), (64, false), (64, true)] {
        let took = measure(bucket, tasks, write).await?;
        let at = |part: usize| took.get((took.len() * part / 1_000).min(took.len() - 1));
        println!(
            "{who}: {tasks:2} {} at once: {:7.0}/s, middle {:?}, 99 % {:?}, longest {:?}",
            if write { "writes" } else { "reads " },
            took.len() as f64 / LONG.as_secs_f64(),
            at(500).ok_or("nothing done")?,
            at(990).ok_or("nothing done")?,
            took.last().ok_or("nothing done")?,
        );
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(path) = arguments.get(2) {
        // The other process, which does the same at the same time.
        let stores = Stores::default();
        stores.share();
        return table("  other", &open(&stores, Path::new(path))?).await;
    }
    let megabytes = arguments.get(1).map_or(Ok(100), |number| number.parse())?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("data.redb");
    let stores = Stores::default();
    let bucket = open(&stores, &path)?;
    fill(&bucket, megabytes).await?;
    println!("{} MB", path.metadata()?.len() / 1_000_000);
    table("its own", &bucket).await?;
    let killed = folder.path().join("killed.redb");
    std::fs::copy(&path, &killed)?;
    let begun = Instant::now();
    let opened = open(&Stores::default(), &killed)?;
    println!("opened in {:?} after its process was killed", begun.elapsed());
    drop(opened);
    stores.share();
    table("shared, the other idle", &bucket).await?;
    let mut other = Command::new(std::env::current_exe()?)
        .arg(megabytes.to_string())
        .arg(&path)
        .stdout(Stdio::inherit())
        .spawn()?;
    let both = table("shared, both busy", &bucket).await;
    other.wait()?;
    both?;
    stores.keep();
    table("its own again", &bucket).await
}
