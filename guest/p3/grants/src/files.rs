//! Preopened directories.

use kit::wasip3::filesystem::preopens;
use kit::wasip3::filesystem::types::{
    Descriptor, DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
};
use kit::wasip3::wit_stream;

pub fn dirs() -> Vec<String> {
    preopens::get_directories().into_iter().map(|(_, path)| path).collect()
}

pub async fn read(path: &str) -> Result<String, String> {
    let file = open(path, OpenFlags::empty(), DescriptorFlags::READ).await?;
    let (bytes, outcome) = file.read_via_stream(0);
    let bytes = bytes.collect().await;
    outcome.await.map_err(name)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub async fn write(path: &str, data: &str) -> Result<String, String> {
    let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE;
    let file = open(path, flags, DescriptorFlags::WRITE).await?;
    let (mut send, bytes) = wit_stream::new();
    let outcome = file.write_via_stream(bytes, 0);
    let left = send.write_all(data.as_bytes().to_vec()).await;
    drop(send);
    outcome.await.map_err(name)?;
    Ok(format!("{} bytes\n", data.len() - left.len()))
}

/// Says that a file was used now, whatever it is a link to.
pub async fn touch(path: &str) -> Result<String, String> {
    let (directory, rest) =
        kit::best(preopens::get_directories(), path).ok_or("no preopen fits")?;
    let (how, now) = (PathFlags::SYMLINK_FOLLOW, NewTimestamp::Now);
    directory.set_times_at(how, rest.into(), now, now).await.map_err(name)?;
    Ok("touched\n".into())
}

pub async fn list(path: &str) -> Result<String, String> {
    let directory = open(path, OpenFlags::DIRECTORY, DescriptorFlags::READ).await?;
    let (entries, outcome) = directory.read_directory();
    let entries = entries.collect().await;
    outcome.await.map_err(name)?;
    let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name + "\n").collect();
    names.sort();
    Ok(names.concat())
}

async fn open(path: &str, how: OpenFlags, access: DescriptorFlags) -> Result<Descriptor, String> {
    let (directory, rest) =
        kit::best(preopens::get_directories(), path).ok_or("no preopen fits")?;
    let rest = if rest.is_empty() { "." } else { rest };
    directory.open_at(PathFlags::SYMLINK_FOLLOW, rest.into(), how, access).await.map_err(name)
}

fn name(error: ErrorCode) -> String {
    kit::case(error)
}
