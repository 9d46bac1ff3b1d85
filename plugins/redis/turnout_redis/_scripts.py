"""What the server does in one step each: constant texts, every value bound as a key or an argument (S24).

A record is a hash: kind, id, version, data (absent when it was removed: its version goes on), by (the key that sealed
it), writer. `changes` ranks the digests of all records by the sequence number of their last change, which is how others
find what they missed; `news` only wakes them.
"""

from typing import Final

SAVE: Final = """
-- KEYS: record, changes, seq, about, lease
-- ARGV: header, if_version, last, kind, id, data, by, writer, digest, fence, news
if (redis.call('HGET', KEYS[4], 'seal') or '') ~= ARGV[1] then return {'header', 0} end
local last = tonumber(redis.call('HGET', KEYS[1], 'version') or 0)
local current = 0
if redis.call('HEXISTS', KEYS[1], 'data') == 1 then current = last end
if ARGV[10] ~= '' and (redis.call('HGET', KEYS[5], 'fence') or '') ~= ARGV[10] then return {'fenced', current} end
if ARGV[2] ~= '' and tonumber(ARGV[2]) ~= current then return {'conflict', current} end
if tonumber(ARGV[3]) ~= last then return {'last', last} end
redis.call('HSET', KEYS[1], 'kind', ARGV[4], 'id', ARGV[5], 'version', last + 1, 'data', ARGV[6], 'by', ARGV[7],
    'writer', ARGV[8])
local seq = redis.call('INCR', KEYS[3])
redis.call('ZADD', KEYS[2], seq, ARGV[9])
redis.call('PUBLISH', ARGV[11], seq)
return {'saved', last + 1, seq}
"""

DELETE: Final = """
-- KEYS: record, changes, seq; ARGV: writer, digest, news
if redis.call('HEXISTS', KEYS[1], 'data') == 0 then return 0 end
redis.call('HDEL', KEYS[1], 'data', 'by')
redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('HSET', KEYS[1], 'writer', ARGV[1])
local seq = redis.call('INCR', KEYS[3])
redis.call('ZADD', KEYS[2], seq, ARGV[2])
redis.call('PUBLISH', ARGV[3], seq)
return seq
"""

SET_ASIDE: Final = """
-- KEYS: record, aside; ARGV: version, name
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 0 end
local data = redis.call('HGET', KEYS[1], 'data')
if not data then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], data)
redis.call('HDEL', KEYS[1], 'data', 'by')
return 1
"""

REPLACE_HEADER: Final = """
-- KEYS: about; ARGV: old, new
if (redis.call('HGET', KEYS[1], 'seal') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'seal', ARGV[2])
return 1
"""

REWRAP: Final = """
-- KEYS: record; ARGV: version, old, new, by
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] or redis.call('HGET', KEYS[1], 'data') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'data', ARGV[3], 'by', ARGV[4])
return 1
"""

TAKE_LEASE: Final = """
-- KEYS: lease; ARGV: milliseconds, the longest that any may last, writer, ask. The clock is the server's, so nobody
-- else's matters. A writer to whom the answer got lost asks again with a greater number and takes back what is its own.
-- Of an ask that arrives late the number is less; the fence tells a lease that an earlier version took since, unnamed.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local known = redis.call('HMGET', KEYS[1], 'until', 'fence', 'holder')
local ends = tonumber(known[1] or 0)
local fence, writer, ask = string.match(known[3] or '', '^(%d+) (%x+) (%d+)$')
local lost = fence == known[2] and writer == ARGV[3] and tonumber(ARGV[4]) > tonumber(ask)
if now < ends and ends <= now + tonumber(ARGV[2]) and not lost then return {0, ends} end
fence = redis.call('HINCRBY', KEYS[1], 'fence', 1)
ends = now + tonumber(ARGV[1])
redis.call('HSET', KEYS[1], 'until', ends, 'holder', string.format('%d %s %d', fence, ARGV[3], ARGV[4]))
return {fence, ends}
"""

GIVE_BACK: Final = """
-- KEYS: lease; ARGV: fence
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'until', 0)
return 1
"""

ALLOT: Final = """
-- KEYS: one for each claim; ARGV: writer, then limit, used, wanted and milliseconds of each. A field of a key is what
-- one writer has: used, wanted, held, until. Answers each claim with what is granted, and used, wanted of each other.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local answers = {}
for number, key in ipairs(KEYS) do
    local limit, used, wanted, lasts = tonumber(ARGV[4 * number - 2]), tonumber(ARGV[4 * number - 1]),
        tonumber(ARGV[4 * number]), tonumber(ARGV[4 * number + 1])
    local answer, taken, rows = {0}, 0, redis.call('HGETALL', key)
    for at = 1, #rows, 2 do
        local theirs, wish, held, ends = string.match(rows[at + 1], '(%d+) (%d+) (%d+) (%d+)')
        if tonumber(ends) <= now then
            redis.call('HDEL', key, rows[at])
        elseif rows[at] ~= ARGV[1] then
            taken = taken + tonumber(held)
            table.insert(answer, theirs)
            table.insert(answer, wish)
        end
    end
    answer[1] = math.max(0, math.min(wanted, limit - taken))
    if wanted > 0 or used > 0 then
        redis.call('HSET', key, ARGV[1], string.format('%d %d %d %d', used, wanted, math.max(used, answer[1]),
            now + lasts))
        if redis.call('PTTL', key) < lasts then redis.call('PEXPIRE', key, lasts) end
    else
        redis.call('HDEL', key, ARGV[1])
    end
    answers[number] = answer
end
return answers
"""
