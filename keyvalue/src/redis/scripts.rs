//! What has to happen on the server, in one step.
//!
//! WATCH cannot be used: it belongs to a connection, and there is one for many operations.
//!
//! Scripts that write count the bytes of a bucket in a field of its hash, so that the count goes
//! wherever the hash goes: into copies, and away with it. The field is a byte that is no text, which
//! no guest can name. A bucket without one has been filled before there was a count, and is counted
//! with the first write of its component.
//!
//! Beside the hash there are two sorted sets, if they are needed: `:ends` has the keys that have a time to
//! live, by the moment at which they end; `:order` has all keys in the order of text, from the first list by
//! prefix on. Another field of the hash has a mark for each that is kept, `t` and `o`. So a bucket that needs
//! neither costs no more than it did, and sets that a hash of the same name has left behind do not count.
//!
//! Fields of a hash have times to live of their own from Redis 7.4 on. They cannot be used: older servers do
//! not have them, and nobody would be told to count less.
//!
//! KEYS: the hash, `:ends`, `:order`, then hash and `:ends` of all other buckets whose bytes count towards
//! the same limit. ARGV begins with the limit, the moment for which it is (nothing: the server's), and a time
//! to live (nothing: none). Those that write answer with a word or a number as text, the bytes of all
//! hashes, when the next pair ends (nothing: none does), and a list of values.

use std::sync::LazyLock;

use redis::Script;

/// What all scripts have in common: whether a pair has ended.
const LOOK: &str = "
    local hash, ends, order = KEYS[1], KEYS[2], KEYS[3]
    local count, marks = '\\255', '\\254'
    local function marked(hash, mark)
        local all = redis.pcall('HGET', hash, marks)
        return type(all) == 'string' and string.find(all, mark, 1, true) ~= nil
    end
    local timed, ordered = false, false
    if redis.pcall('HEXISTS', hash, marks) == 1 then
        timed, ordered = marked(hash, 't'), marked(hash, 'o')
    end
    local moment
    local function now()
        if not moment then
            moment = tonumber(ARGV[2])
            if not moment then
                local time = redis.call('TIME')
                moment = time[1] * 1000 + math.floor(time[2] / 1000)
            end
        end
        return moment
    end
    local function ended(field)
        if not timed then return false end
        local at = redis.call('ZSCORE', ends, field)
        return at and tonumber(at) <= now()
    end
";

/// What the scripts that write have in common. Pairs are written before the count: a server without
/// memory refuses the first write of a script and lets it end what it has begun.
const COUNT: &str = "
    local function size(hash, ends, field)
        local length = redis.call('HSTRLEN', hash, field)
        if length == 0 and redis.call('HEXISTS', hash, field) == 0 then return 0 end
        local own = #field + 128
        if ends and redis.call('ZSCORE', ends, field) then own = own * 2 end
        return own + length
    end
    local function own_size(field) return size(hash, timed and ends, field) end
    local function used(hash, ends)
        local bytes = redis.pcall('HGET', hash, count)
        if type(bytes) == 'string' and tonumber(bytes) then return tonumber(bytes) end
        local fields = redis.pcall('HKEYS', hash)
        if fields.err then return 0 end  -- somebody else's, of another kind
        if not marked(hash, 't') then ends = false end
        bytes = 0
        for _, field in ipairs(fields) do
            if field ~= marks then bytes = bytes + size(hash, ends, field) end
        end
        if bytes > 0 then redis.pcall('HSET', hash, count, string.format('%.0f', bytes)) end
        return bytes
    end
    local before = used(hash, ends)
    local all, change = before, 0
    for i = 4, #KEYS, 2 do all = all + used(KEYS[i], KEYS[i + 1]) end
    local function fits(more)
        return more <= 0 or all + change + more <= tonumber(ARGV[1])
    end
    local function mark(letter, set)
        redis.call('ZREMRANGEBYRANK', set, 0, -1)
        local now = redis.call('HGET', hash, marks)
        redis.call('HSET', hash, marks, (now or '') .. letter)
    end
    local function note()
        if change == 0 then return end
        if before + change > 0 then
            redis.call('HSET', hash, count, string.format('%.0f', before + change))
        else
            redis.call('HDEL', hash, count)
            if redis.call('HLEN', hash) == 1 and redis.call('HDEL', hash, marks) == 1 then  -- it is empty
                timed, ordered = false, false
            end
        end
    end
    local function answer(word, values)
        note()
        local first = timed and redis.call('ZRANGE', ends, 0, 0, 'WITHSCORES')[2]
        return {word, all + change, first or '', values or {}}
    end
    -- After its value is there. Without a word about its end it has none.
    local function enter(field)
        if ARGV[3] ~= '' then
            if not timed then mark('t', ends) end
            timed = true
            local at = math.min(now() + tonumber(ARGV[3]), 9007199254740991)
            redis.call('ZADD', ends, string.format('%.0f', at), field)
        elseif timed then
            redis.call('ZREM', ends, field)
        end
        if ordered then redis.call('ZADD', order, 0, field) end
    end
    local function drop(field)
        change = change - own_size(field)
        redis.call('HDEL', hash, field)
        if timed then redis.call('ZREM', ends, field) end
        if ordered then redis.call('ZREM', order, field) end
    end
    local function free()
        if not timed then return end
        local over = redis.call('ZRANGEBYSCORE', ends, '-inf', now(), 'LIMIT', 0, 1000)
        for _, field in ipairs(over) do drop(field) end
    end
    -- Room for fields, each with its value, from this argument on.
    local function makes_room(first)
        local own = ARGV[3] == '' and 1 or 2
        local function more()
            local bytes = 0
            for i = first, #ARGV, 2 do
                bytes = bytes + (#ARGV[i] + 128) * own + #ARGV[i + 1] - own_size(ARGV[i])
            end
            return bytes
        end
        if not fits(more()) then free() end
        local bytes = more()
        if not fits(bytes) then return false end
        change = change + bytes
        return true
    end
";

fn looking(script: &str) -> Script {
    Script::new(&format!("{LOOK}{script}"))
}

fn counting(script: &str) -> Script {
    Script::new(&format!("{LOOK}{COUNT}{script}"))
}

/// Fields each with its value; none twice → `done`, or `full`.
pub(super) static SET: LazyLock<Script> = LazyLock::new(|| {
    counting(
        "if not makes_room(4) then return answer('full') end
         redis.call('HSET', hash, unpack(ARGV, 4))
         for i = 4, #ARGV, 2 do enter(ARGV[i]) end
         return answer('done')",
    )
});

/// Fields → `done`.
pub(super) static DELETE: LazyLock<Script> = LazyLock::new(|| {
    counting(
        "for i = 4, #ARGV do drop(ARGV[i]) end
         return answer('done')",
    )
});

/// Nothing → `done`. What has ended, a thousand at most, is no more.
pub(super) static FREE: LazyLock<Script> = LazyLock::new(|| {
    counting(
        "free()
         return answer('done')",
    )
});

/// A field that may be missing, its delta → the sum, as text: a number of Lua has 53 bits. Or a word.
/// One that does not fit is taken back: only the server knows how long the sum is.
pub(super) static INCREMENT: LazyLock<Script> = LazyLock::new(|| {
    counting(
        "local field = ARGV[4]
         if ended(field) then drop(field) end
         local now = redis.call('HGET', hash, field)
         if now and now ~= '0' and not string.match(now, '^[1-9]%d*$') then
             return answer('not a number')
         end
         local size_before = own_size(field)
         local sum = redis.pcall('HINCRBY', hash, field, ARGV[5])
         if type(sum) == 'table' then
             if string.find(sum.err, 'not an integer') then return answer('not a number') end
             if string.find(sum.err, 'overflow') then return answer('overflow') end
             note()
             return sum
         end
         local more = own_size(field) - size_before
         if not fits(more) then free() end
         if fits(more) then
             change = change + more
             if timed and not now then redis.call('ZREM', ends, field) end
             if ordered then redis.call('ZADD', order, 0, field) end
             return answer(redis.call('HGET', hash, field))
         end
         if now then
             redis.call('HSET', hash, field, now)
         else
             redis.call('HDEL', hash, field)
         end
         return answer('full')",
    )
});

/// Whether a value is expected, which one, whether there is a new one, a field, the new one → `swapped`, or
/// `other` and the value if it is not as expected, or `full`.
pub(super) static SWAP: LazyLock<Script> = LazyLock::new(|| {
    counting(
        "local field = ARGV[7]
         local now = not ended(field) and redis.call('HGET', hash, field)
         local expected = ARGV[4] == '1' and ARGV[5]
         if now ~= expected then return answer('other', now and {now}) end
         if ARGV[6] ~= '1' then
             drop(field)
             return answer('swapped')
         end
         if not makes_room(7) then return answer('full') end
         redis.call('HSET', hash, field, ARGV[8])
         enter(field)
         return answer('swapped')",
    )
});

/// Bytes at most, fields → their values; nothing if they are larger.
pub(super) static VALUES: LazyLock<Script> = LazyLock::new(|| {
    looking(
        "local total, over = 0, {}
         for i = 4, #ARGV do
             if ended(ARGV[i]) then
                 over[#over + 1] = i - 3
             else
                 total = total + redis.call('HSTRLEN', hash, ARGV[i])
             end
         end
         if total > tonumber(ARGV[1]) then return false end
         local values = redis.call('HMGET', hash, unpack(ARGV, 4))
         for _, i in ipairs(over) do values[i] = false end
         return values",
    )
});

/// A field → whether it is there.
pub(super) static EXISTS: LazyLock<Script> = LazyLock::new(|| {
    looking(
        "if ended(ARGV[4]) then return 0 end
         return redis.call('HEXISTS', hash, ARGV[4])",
    )
});

/// A cursor → the next one and some fields. Only servers from 7.4 on leave the values out; of
/// others fewer are asked at once, and the values stay there. The server may give more than it is
/// asked for, so half a page is asked for.
pub(super) static LIST: LazyLock<Script> = LazyLock::new(|| {
    looking(
        "local step = 1
         local page = redis.pcall('HSCAN', hash, ARGV[4], 'COUNT', 500, 'NOVALUES')
         if page.err then
             step = 2
             page = redis.call('HSCAN', hash, ARGV[4], 'COUNT', 100)
         end
         local keys = {}
         for i = 1, #page[2], step do
             if not ended(page[2][i]) then keys[#keys + 1] = page[2][i] end
         end
         return {page[1], keys}",
    )
});

/// A prefix, how many, the last field of the page before, if there was one → whether more follow, the last
/// field, all fields, in the order of text. HSCAN could give one twice.
///
/// The first one orders the fields of a bucket. So does one that finds more or fewer of them in the order
/// than in the hash: somebody has written by other ways.
pub(super) static PREFIX: LazyLock<Script> = LazyLock::new(|| {
    looking(
        "local prefix, most, after = ARGV[4], tonumber(ARGV[5]), ARGV[6]
         local there = redis.call('HLEN', hash)
         for _, own in ipairs({count, marks}) do there = there - redis.call('HEXISTS', hash, own) end
         if there == 0 then return {0, '', {}} end
         if not ordered or redis.call('ZCARD', order) ~= there then
             redis.call('ZREMRANGEBYRANK', order, 0, -1)
             for _, field in ipairs(redis.call('HKEYS', hash)) do
                 if field ~= count and field ~= marks then redis.call('ZADD', order, 0, field) end
             end
             if not ordered then
                 redis.call('HSET', hash, marks, (redis.call('HGET', hash, marks) or '') .. 'o')
             end
         end
         local from = after and '(' .. after or '[' .. prefix
         local found = redis.call('ZRANGEBYLEX', order, from, '(' .. prefix .. '\\255', 'LIMIT', 0, most)
         local keys = {}
         for _, field in ipairs(found) do
             if not ended(field) then keys[#keys + 1] = field end
         end
         return {#found == most and 1 or 0, found[#found] or '', keys}",
    )
});
