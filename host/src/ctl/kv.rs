//! `host ctl kv`: buckets of components.

use std::io::{self, Read as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use host_log::outlet;
use host_manifest::HumanDuration;
use host_manifest::escape;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::{CtlClient, CtlRequest, NoAnswer};
use super::failure::{CtlError, refusal_text};
use super::screen_size::ScreenSize;
use super::table::{Cell, Cut, Table, column};
use crate::config::{CtlCommand, KvAction};
use crate::control::LARGEST_VALUE;
use crate::control::schema::{
    BucketList, KeyList, KeyRequest, KeyValue, KeyWritten, KeysRequest, SetRequest,
};
use crate::exit::Exit;

/// A disk that is slow has 10 s: the host tells of that.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a command needs of stdin: read before a host is asked, which waits for no one who types.
pub(super) fn input(command: &CtlCommand) -> Result<Vec<u8>, CtlError> {
    let mut bytes = Vec::new();
    if let CtlCommand::Kv { action: KvAction::Set { value: None, .. }, .. } = command {
        let read = io::stdin().take(LARGEST_VALUE as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|why| CtlError::Usage(format!("the value cannot be read from stdin: {why}")))?;
        if bytes.len() > LARGEST_VALUE {
            let why = format!("the value on stdin is larger than {LARGEST_VALUE} bytes");
            return Err(CtlError::Usage(why));
        }
    }
    Ok(bytes)
}

/// A host that is asked about buckets.
pub(super) struct KvSession<'a> {
    pub(super) client: &'a mut CtlClient,
    pub(super) json: bool,
    pub(super) component: Option<String>,
    /// What came on stdin.
    pub(super) input: Vec<u8>,
}

impl KvSession<'_> {
    pub(super) async fn run(mut self, action: &KvAction) -> Result<Exit, CtlError> {
        match action {
            KvAction::Buckets => self.buckets().await,
            KvAction::List { bucket, prefix, limit } => self.list(bucket, prefix, *limit).await,
            KvAction::Get { bucket, key } => {
                let value: Option<KeyValue> =
                    self.ask("/v1/kv/get", &self.key_request(bucket, key)).await?;
                let Some(KeyValue { value_base64 }) = value else { return Ok(Exit::Clean) };
                let value = STANDARD.decode(value_base64).map_err(NoAnswer::not_ours)?;
                outlet::pass(&value).map_err(CtlError::Unprinted)?;
                Ok(Exit::Clean)
            }
            KvAction::Set { bucket, key, value, ttl } => {
                self.set((bucket, key), value.as_deref(), *ttl).await
            }
            KvAction::Del { bucket, key } => {
                let request = self.key_request(bucket, key);
                self.write("/v1/kv/delete", &request, "deleted", key).await
            }
        }
    }

    fn key_request(&self, bucket: &str, key: &str) -> KeyRequest {
        let component = self.component.clone();
        KeyRequest { component, bucket: bucket.to_owned(), key: key.to_owned() }
    }

    async fn buckets(&mut self) -> Result<Exit, CtlError> {
        let ask = CtlRequest { method: Method::GET, path: "/v1/kv", body: Vec::new() };
        let list: Option<BucketList> = self.answered(ask).await?;
        let Some(mut list) = list else { return Ok(Exit::Clean) };
        if let Some(component) = &self.component {
            list.buckets.retain(|bucket| bucket.component == *component);
        }
        outlet::print(&table(&list, ScreenSize::of_stdout())).map_err(CtlError::Unprinted)?;
        Ok(Exit::Clean)
    }

    /// Page by page. Each is printed as it comes.
    async fn list(
        &mut self,
        bucket: &str,
        prefix: &str,
        limit: Option<usize>,
    ) -> Result<Exit, CtlError> {
        let (mut left, mut cursor) = (limit.unwrap_or(usize::MAX), None);
        while left > 0 {
            let request = KeysRequest {
                component: self.component.clone(),
                bucket: bucket.to_owned(),
                prefix: prefix.to_owned(),
                cursor,
                limit: Some(u32::try_from(left).unwrap_or(u32::MAX)),
            };
            let body = self.bytes(CtlRequest::post("/v1/kv/list", &request)).await?;
            let page: KeyList = serde_json::from_slice(&body).map_err(NoAnswer::not_ours)?;
            let printed = if self.json {
                outlet::print_json(&body)
            } else {
                let line = |key: &String| escape::harmless(key) + "\n";
                outlet::print(&page.keys.iter().map(line).collect::<String>())
            };
            printed.map_err(CtlError::Unprinted)?;
            left = left.saturating_sub(page.keys.len());
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(Exit::Clean)
    }

    async fn set(
        &mut self,
        (bucket, key): (&str, &str),
        value: Option<&str>,
        ttl: Option<HumanDuration>,
    ) -> Result<Exit, CtlError> {
        let value = value.map_or(&*self.input, str::as_bytes);
        let request = SetRequest {
            component: self.component.clone(),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            value_base64: STANDARD.encode(value),
            ttl_ms: ttl.map(|ttl| u64::try_from(ttl.0.as_millis()).unwrap_or(u64::MAX)),
        };
        self.write("/v1/kv/set", &request, "set", key).await
    }

    async fn write(
        &mut self,
        path: &'static str,
        request: &impl Serialize,
        done: &str,
        key: &str,
    ) -> Result<Exit, CtlError> {
        let written: Option<KeyWritten> = self.ask(path, request).await?;
        if let Some(KeyWritten { component, bucket }) = written {
            let key = escape::quote(key);
            let line = format!("{done}: {key} in {bucket} of {component}\n");
            outlet::print(&line).map_err(CtlError::Unprinted)?;
        }
        Ok(Exit::Clean)
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        path: &'static str,
        request: &impl Serialize,
    ) -> Result<Option<T>, CtlError> {
        self.answered(CtlRequest::post(path, request)).await
    }

    /// The answer; none if it has been printed as JSON.
    async fn answered<T: DeserializeOwned>(
        &mut self,
        ask: CtlRequest,
    ) -> Result<Option<T>, CtlError> {
        let body = self.bytes(ask).await?;
        if self.json {
            outlet::print_json(&body).map_err(CtlError::Unprinted)?;
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&body).map_err(NoAnswer::not_ours)?))
    }

    async fn bytes(&mut self, ask: CtlRequest) -> Result<bytes::Bytes, CtlError> {
        let (status, body) = self.client.ask(ask, PATIENCE).await?;
        if status.is_success() {
            return Ok(body);
        }
        if self.json {
            outlet::print_json(&body).map_err(CtlError::Unprinted)?;
        }
        Err(CtlError::Refused(refusal_text(status, &body)))
    }
}

fn table(list: &BucketList, size: ScreenSize) -> String {
    let mut table = Table::new(&[
        column("component", Cut::Middle),
        column("bucket", Cut::Middle),
        column("backend", Cut::Never),
    ]);
    for bucket in &list.buckets {
        table.row([
            Cell::text(escape::quote(&bucket.component)),
            Cell::text(escape::quote(&bucket.bucket)),
            Cell::text(&bucket.backend),
        ]);
    }
    table.print(size.columns, usize::MAX)
}
