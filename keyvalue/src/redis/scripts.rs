//! What has to happen on the server, in one step.
//!
//! WATCH cannot be used: it belongs to a connection, and there is one for all.

use std::sync::LazyLock;

use redis::Script;

/// A field that may be missing, its delta → the sum, as text: a number of Lua has 53 bits. Or a
/// word.
pub(super) static INCREMENT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local now = redis.call('HGET', KEYS[1], ARGV[1])
         if now and now ~= '0' and not string.match(now, '^[1-9]%d*$') then
             return 'not a number'
         end
         local sum = redis.pcall('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
         if type(sum) == 'table' then
             if string.find(sum.err, 'not an integer') then return 'not a number' end
             if string.find(sum.err, 'overflow') then return 'overflow' end
             return sum
         end
         return redis.call('HGET', KEYS[1], ARGV[1])",
    )
});

/// A field, whether a value is expected, which one, the new one → whether it was as expected.
pub(super) static SWAP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local now = redis.call('HGET', KEYS[1], ARGV[1])
         local expected = ARGV[2] == '1' and ARGV[3]
         if now ~= expected then return 0 end
         redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
         return 1",
    )
});

/// Bytes at most, fields → their values; nothing if they are larger.
pub(super) static VALUES: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local total = 0
         for i = 2, #ARGV do
             total = total + redis.call('HSTRLEN', KEYS[1], ARGV[i])
         end
         if total > tonumber(ARGV[1]) then return false end
         return redis.call('HMGET', KEYS[1], unpack(ARGV, 2))",
    )
});

/// A cursor → the next one and some fields. Only servers from 7.4 on leave the values out; of
/// others fewer are asked at once, and the values stay there. The server may give more than it is
/// asked for, so half a page is asked for.
pub(super) static LIST: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local step = 1
         local page = redis.pcall('HSCAN', KEYS[1], ARGV[1], 'COUNT', 500, 'NOVALUES')
         if page.err then
             step = 2
             page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', 100)
         end
         local keys = {}
         for i = 1, #page[2], step do keys[#keys + 1] = page[2][i] end
         return {page[1], keys}",
    )
});
