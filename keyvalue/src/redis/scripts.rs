//! What has to happen on the server, in one step.
//!
//! WATCH cannot be used: it belongs to a connection, and there is one for many operations.
//!
//! Scripts that write count the bytes of a bucket in a field of its hash, so that the count goes
//! wherever the hash goes: into copies, and away with it. The field is a byte that is no text, which
//! no guest can name. A bucket without one has been filled before there was a count, and is counted
//! with the first write of its component.
//!
//! KEYS: the hash, then those of all buckets whose bytes count towards the same limit. ARGV begins
//! with the limit. Each answers with a word or a number as text, and the bytes of all KEYS.

use std::sync::LazyLock;

use redis::Script;

/// What the scripts that write have in common. Pairs are written before the count: a server without
/// memory refuses the first write of a script and lets it end what it has begun.
const COUNT: &str = "
    local count = '\\255'
    local function size(hash, field)
        local length = redis.call('HSTRLEN', hash, field)
        if length == 0 and redis.call('HEXISTS', hash, field) == 0 then return 0 end
        return #field + length + 128
    end
    local function stored(hash)
        local bytes = redis.pcall('HGET', hash, count)
        return type(bytes) == 'string' and tonumber(bytes)
    end
    local function used(hash)
        local bytes = stored(hash)
        if bytes then return bytes end
        local fields = redis.pcall('HKEYS', hash)
        if fields.err then return 0 end  -- somebody else's, of another kind
        bytes = 0
        for _, field in ipairs(fields) do bytes = bytes + size(hash, field) end
        if bytes > 0 then redis.pcall('HSET', hash, count, string.format('%.0f', bytes)) end
        return bytes
    end
    local before, all
    local function look()
        before = used(KEYS[1])
        all = before
        for i = 2, #KEYS do all = all + used(KEYS[i]) end
    end
    local function fits(more)
        return more <= 0 or all + more <= tonumber(ARGV[1])
    end
    local function note(more)
        all = all + more
        if before + more > 0 then
            redis.call('HSET', KEYS[1], count, string.format('%.0f', before + more))
        else
            redis.call('HDEL', KEYS[1], count)
        end
    end
";

fn counting(script: &str) -> Script {
    Script::new(&format!("{COUNT}{script}"))
}

/// Limit, fields each with its value; none twice → `done`, or `full`.
pub(super) static SET: LazyLock<Script> = LazyLock::new(|| {
    counting(
        "look()
         local more = 0
         for i = 2, #ARGV, 2 do
             more = more + #ARGV[i] + #ARGV[i + 1] + 128 - size(KEYS[1], ARGV[i])
         end
         if not fits(more) then return {'full', all} end
         redis.call('HSET', KEYS[1], unpack(ARGV, 2))
         note(more)
         return {'done', all}",
    )
});

/// Limit, fields → `done`.
pub(super) static DELETE: LazyLock<Script> = LazyLock::new(|| {
    counting(
        "look()
         local less = 0
         for i = 2, #ARGV do
             less = less + size(KEYS[1], ARGV[i])
             redis.call('HDEL', KEYS[1], ARGV[i])
         end
         if less > 0 then note(-less) end
         return {'done', all}",
    )
});

/// Limit, a field that may be missing, its delta → the sum, as text: a number of Lua has 53 bits.
/// Or a word. One that does not fit is taken back: only the server knows how long the sum is.
pub(super) static INCREMENT: LazyLock<Script> = LazyLock::new(|| {
    counting(
        "look()
         local now = redis.call('HGET', KEYS[1], ARGV[2])
         if now and now ~= '0' and not string.match(now, '^[1-9]%d*$') then
             return {'not a number', all}
         end
         local size_before = size(KEYS[1], ARGV[2])
         local sum = redis.pcall('HINCRBY', KEYS[1], ARGV[2], ARGV[3])
         if type(sum) == 'table' then
             if string.find(sum.err, 'not an integer') then return {'not a number', all} end
             if string.find(sum.err, 'overflow') then return {'overflow', all} end
             return sum
         end
         local more = size(KEYS[1], ARGV[2]) - size_before
         if fits(more) then
             note(more)
             return {redis.call('HGET', KEYS[1], ARGV[2]), all}
         end
         if now then
             redis.call('HSET', KEYS[1], ARGV[2], now)
         else
             redis.call('HDEL', KEYS[1], ARGV[2])
         end
         return {'full', all}",
    )
});

/// Limit, a field, whether a value is expected, which one, the new one → `swapped`, or `other` if the
/// value is not as expected, or `full`.
pub(super) static SWAP: LazyLock<Script> = LazyLock::new(|| {
    counting(
        "look()
         local now = redis.call('HGET', KEYS[1], ARGV[2])
         local expected = ARGV[3] == '1' and ARGV[4]
         if now ~= expected then return {'other', all} end
         local more = #ARGV[2] + #ARGV[5] + 128 - size(KEYS[1], ARGV[2])
         if not fits(more) then return {'full', all} end
         redis.call('HSET', KEYS[1], ARGV[2], ARGV[5])
         note(more)
         return {'swapped', all}",
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
