//! The limits by name: what a line says when one of them is reached.

use std::fmt;
use std::time::Duration;

/// A limit of what a guest, a client or a component may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the key of the manifest that it is named after")]
pub enum LimitKey {
    AfterTimeout,
    BodyIdleTimeout,
    CpuTime,
    ExchangeTimeout,
    Handles,
    HookTimeout,
    Instances,
    KeyvalueSize,
    LogRate,
    Memory,
    MemoryTotal,
    OutgoingPerExchange,
    OutgoingRequests,
    OutgoingResponseBody,
    Queue,
    QueueTimeout,
    RequestBody,
    ResponseBody,
    ResponseHeadTimeout,
    MinRate,
    TotalInstances,
    TotalMemory,
    /// Not in the manifest: elements of a table.
    TableElements,
    /// Not in the manifest: bytes of the headers of one message.
    Fields,
    /// Not in the manifest: bytes that one call to the host may copy.
    Hostcall,
}

impl LimitKey {
    /// Where it stands in a manifest; nothing for a limit that is always the same.
    #[must_use]
    pub fn path(self) -> Option<&'static str> {
        Some(match self {
            Self::AfterTimeout => "limits.after-timeout",
            Self::BodyIdleTimeout => "limits.body-idle-timeout",
            Self::CpuTime => "limits.cpu-time",
            Self::ExchangeTimeout => "limits.exchange-timeout",
            Self::Handles => "limits.handles",
            Self::HookTimeout => "limits.hook-timeout",
            Self::Instances => "limits.instances",
            Self::KeyvalueSize => "limits.keyvalue-size",
            Self::LogRate => "limits.log-rate",
            Self::Memory => "limits.memory",
            Self::MemoryTotal => "limits.memory-total",
            Self::OutgoingPerExchange => "limits.outgoing-per-exchange",
            Self::OutgoingRequests => "limits.outgoing-requests",
            Self::OutgoingResponseBody => "limits.outgoing-response-body",
            Self::Queue => "limits.queue",
            Self::QueueTimeout => "limits.queue-timeout",
            Self::RequestBody => "limits.request-body",
            Self::ResponseBody => "limits.response-body",
            Self::ResponseHeadTimeout => "limits.response-head-timeout",
            Self::MinRate => "listen.min-rate",
            Self::TotalInstances => "total.instances",
            Self::TotalMemory => "total.memory",
            Self::TableElements | Self::Fields | Self::Hostcall => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::TableElements => "table elements",
            Self::Fields => "size of headers",
            Self::Hostcall => "size of a host call",
            key => key.path().and_then(|path| path.split_once('.')).map_or("", |(_, name)| name),
        }
    }

    /// This limit, reached at so many bytes.
    #[must_use]
    pub fn bytes(self, bytes: u64) -> LimitReached {
        LimitReached { key: self, value: LimitValue::Bytes(bytes) }
    }

    /// This limit, reached at so many bytes per second.
    #[must_use]
    pub fn rate(self, bytes_per_second: u64) -> LimitReached {
        LimitReached { key: self, value: LimitValue::Rate(bytes_per_second) }
    }

    /// This limit, reached after this time.
    #[must_use]
    pub fn time(self, time: Duration) -> LimitReached {
        LimitReached { key: self, value: LimitValue::Time(time) }
    }

    /// This limit, reached at so many.
    #[must_use]
    pub fn count(self, count: usize) -> LimitReached {
        LimitReached { key: self, value: LimitValue::Count(count) }
    }
}

/// A limit that was reached, and its value: `memory: 128MiB reached (limits.memory)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitReached {
    key: LimitKey,
    value: LimitValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LimitValue {
    Bytes(u64),
    Rate(u64),
    Time(Duration),
    Count(usize),
}

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.key.name())?;
        match self.value {
            LimitValue::Bytes(bytes) => f.write_str(&exact_size(bytes))?,
            LimitValue::Rate(bytes) => write!(f, "{}/s", exact_size(bytes))?,
            LimitValue::Time(time) => write!(f, "{time:?}")?,
            LimitValue::Count(count) => write!(f, "{count}")?,
        }
        match self.key.path() {
            Some(path) => write!(f, " reached ({path})"),
            None => f.write_str(" reached (the same for all)"),
        }
    }
}

/// Bytes as a manifest takes them: in the largest unit that says it exactly. `bytesize` rounds what a flag has to take
/// back.
#[must_use]
pub fn exact_size(bytes: u64) -> String {
    let exact = |(shift, _): &(u32, &str)| bytes != 0 && bytes.trailing_zeros() >= *shift;
    let (shift, unit) =
        [(30, "GiB"), (20, "MiB"), (10, "KiB")].into_iter().find(exact).unwrap_or((0, "B"));
    format!("{}{unit}", bytes >> shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ByteSize;

    const ALL: [LimitKey; 25] = [
        LimitKey::AfterTimeout,
        LimitKey::BodyIdleTimeout,
        LimitKey::CpuTime,
        LimitKey::ExchangeTimeout,
        LimitKey::Handles,
        LimitKey::HookTimeout,
        LimitKey::Instances,
        LimitKey::KeyvalueSize,
        LimitKey::LogRate,
        LimitKey::Memory,
        LimitKey::MemoryTotal,
        LimitKey::OutgoingPerExchange,
        LimitKey::OutgoingRequests,
        LimitKey::OutgoingResponseBody,
        LimitKey::Queue,
        LimitKey::QueueTimeout,
        LimitKey::RequestBody,
        LimitKey::ResponseBody,
        LimitKey::ResponseHeadTimeout,
        LimitKey::MinRate,
        LimitKey::TotalInstances,
        LimitKey::TotalMemory,
        LimitKey::TableElements,
        LimitKey::Fields,
        LimitKey::Hostcall,
    ];

    /// A key that is not in the manifest would lead nowhere, and a limit without a key could not be named.
    #[test]
    fn every_limit_of_a_component_has_its_key() {
        let schema: serde_json::Value = serde_json::from_str(&crate::schema()).unwrap();
        let limits = schema["$defs"]["Limits"]["properties"].as_object().unwrap();
        let keys = || ALL.iter().filter_map(|key| key.path());
        // A profile is no limit by itself.
        for limit in limits.keys().filter(|key| *key != "profile") {
            assert!(keys().any(|key| key == format!("limits.{limit}")), "{limit}");
        }
        for key in keys() {
            let (table, name) = key.split_once('.').unwrap();
            let (first, rest) = table.split_at(1);
            let table = format!("{}{rest}", first.to_uppercase());
            assert!(!schema["$defs"][&table]["properties"][name].is_null(), "{key}");
        }
    }

    #[test]
    fn a_limit_is_told_with_its_value_as_people_write_it() {
        for (reached, says) in [
            (LimitKey::Memory.bytes(128 << 20), "memory: 128MiB reached (limits.memory)"),
            (
                LimitKey::CpuTime.time(Duration::from_millis(1500)),
                "cpu-time: 1.5s reached (limits.cpu-time)",
            ),
            (LimitKey::Handles.count(1000), "handles: 1000 reached (limits.handles)"),
            (LimitKey::MinRate.rate(240), "min-rate: 240B/s reached (listen.min-rate)"),
            (LimitKey::TotalMemory.bytes(1 << 32), "memory: 4GiB reached (total.memory)"),
            (LimitKey::TableElements.count(7), "table elements: 7 reached (the same for all)"),
        ] {
            assert_eq!(reached.to_string(), says);
        }
    }

    #[test]
    fn sizes_are_printed_as_the_flags_take_them() {
        for text in ["0B", "1B", "1025B", "32KiB", "128MiB", "1536MiB", "4GiB"] {
            let bytes: ByteSize = text.parse().unwrap();
            assert_eq!(exact_size(bytes.0), text);
        }
    }
}
