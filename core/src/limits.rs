//! Every bound of the product: value, unit, and why this value.
//!
//! What can grow has a line here. The fields of [`Limits`] can be changed under `gateway.limits` in the config, by the
//! same names; the constants can't.

macro_rules! limits {
    ($( $(#[$doc:meta])* $name:ident: $type:ty = $default:expr, at most $max:expr; )*) => {
        /// The bounds an operator may change, under `gateway.limits`. Sizes are bytes, times are milliseconds.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits { $( $(#[$doc])* pub $name: $type, )* }

        impl Default for Limits {
            fn default() -> Self {
                Self { $( $name: $default, )* }
            }
        }

        impl Limits {
            /// Every bound, in the order of this file.
            pub const ALL: &'static [Limit] = &[ $( Limit {
                name: stringify!($name),
                min: if $default == 0 { 0 } else { 1 },
                max: $max as u64,
                read: |limits| limits.$name as u64,
                write: |limits, value| limits.$name = value as $type,
            }, )* ];
        }
    };
}

/// One of [`Limits`]' fields, for whoever reads or prints all of them.
#[derive(Debug)]
pub struct Limit {
    /// Its name, in config and code alike.
    pub name: &'static str,
    /// The smallest value it may be given: 0 where that is the default and means that there is no bound, else 1.
    pub min: u64,
    /// The largest value it may be given: what one machine could bear, so that a slip of the keyboard is noticed.
    pub max: u64,
    /// Reads it.
    pub read: fn(&Limits) -> u64,
    /// Sets it, to a value that is at most `max`.
    pub write: fn(&mut Limits, u64),
}

limits! {
    /// Largest request or response head, start line to blank line. Cookies and traces fit; 64 KiB is what Node, Envoy
    /// and HAProxy users know as "large".
    head_bytes_max: usize = 64 * KIB, at most MIB;
    /// Most header fields in one head. The official clients send about twenty.
    head_fields_max: usize = 100, at most HEAD_FIELDS_CEILING;
    /// Largest request body. OpenAI and Anthropic both refuse requests over 32 MB.
    body_bytes_max: usize = 32 * MIB, at most KIB * MIB;
    /// What one core holds of request bodies that didn't come with their heads, together; beyond it 503 with `retry-after`.
    /// Sixteen of the largest, or a thousand long conversations.
    held_bytes_max: usize = 512 * MIB, at most KIB * KIB * MIB;
    /// Largest vendor answer that has to be held whole, which is one that is translated. Streams aren't held.
    answer_bytes_max: usize = 64 * MIB, at most KIB * MIB;
    /// Largest single event of a stream. Beyond it the vendor is broken (502): nothing real comes near.
    sse_event_bytes_max: usize = 4 * MIB, at most 64 * MIB;
    /// From the first byte of a head, or from the beginning of a connection, to the head's blank line.
    head_ms: u64 = 10_000, at most HOUR_MS;
    /// What a request body may take on top of the time that its bytes take at `bytes_per_second_min`.
    body_ms: u64 = 20_000, at most HOUR_MS;
    /// The slowest client that is waited for, over a whole body or a whole write of its answer. A kilobyte a second is
    /// a modem of 1994.
    bytes_per_second_min: u64 = 1_024, at most MIB;
    /// How long a kept-alive client connection may idle. One second over nginx's 75 s, so a proxy in front closes first.
    keep_alive_ms: u64 = 76_000, at most DAY_MS;
    /// How long a client may take nothing of its answer before it counts as gone. One write may take this long on top of
    /// the time that its bytes take at `bytes_per_second_min`.
    slow_reader_ms: u64 = 60_000, at most HOUR_MS;
    /// Idle vendor connections kept per core and vendor address.
    pool_idle_max: usize = 1_024, at most 65_536;
    /// How long a vendor connection may idle in the pool. Under the 60 s after which common load balancers drop it.
    pool_idle_ms: u64 = 55_000, at most HOUR_MS;
    /// How long a vendor connection may live before it is no longer reused, so that a vendor whose name points
    /// elsewhere is followed there.
    pool_life_ms: u64 = 600_000, at most DAY_MS;
    /// Requests in flight on one core; beyond it 503 with `retry-after`.
    in_flight_max: usize = 16_384, at most 1_000_000;
    /// Client connections on one core; beyond it the next one waits in the kernel.
    connections_max: usize = 16_384, at most 1_000_000;
    /// Client connections from one address on one core; beyond it a new one is closed at once. An IPv6 network of 64
    /// bits counts as one address, for a single host has as many as it likes. 0 is no bound, the default: many users may
    /// sit behind one proxy.
    connections_per_address_max: usize = 0, at most 1_000_000;
    /// Descriptors kept for what is no connection: config and key files, the log, the admin door, resolvers. When only
    /// these are left, idle vendor connections are given up and new clients wait in the kernel.
    spare_descriptors: usize = 64, at most 1_000_000;
}

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// 1,024 bytes.
pub const KIB: usize = 1_024;
/// 1,048,576 bytes.
pub const MIB: usize = 1_024 * KIB;

/// Largest config file, before it is parsed. 4,096 targets and as many groups take about 700 KiB.
pub const CONFIG_BYTES_MAX: usize = MIB;
/// Largest weight of one arm. Keeps the sum of a group's weights in 32 bits.
pub const WEIGHT_MAX: u32 = 1_000_000;
/// Most slots in one block of a group's assignment: shuffling them stays under 10 µs, and 0.1 % is as fine as a split
/// needs to be.
pub const BLOCK_SLOTS_MAX: u32 = 1_000;
/// Most places where a group's unit is looked for.
pub const UNIT_SOURCES_MAX: usize = 8;
/// Most keys that lead to a unit in a body. `metadata.user_id` has two.
pub const UNIT_PATH_MAX: usize = 8;
/// Longest unit, bytes; what is longer is none. An id of a user or a session has some tens, a signed token 1,000.
pub const UNIT_BYTES_MAX: usize = 4 * KIB;
/// Highest price, dollars per million tokens. The dearest model there was took 600; a price written in another unit by
/// mistake is noticed.
pub const PRICE_USD_MAX: f64 = 10_000.0;
/// Most client request target, bytes. RFC 9110 section 4.1 recommends at least 8,000.
pub const TARGET_BYTES_MAX: usize = 8 * KIB;
/// Longest method. The longest that is registered (IANA, HTTP methods) is UPDATEREDIRECTREF with 17.
pub const METHOD_BYTES_MAX: usize = 32;
/// What `head_fields_max` may be set to at most; a larger value counts as this one. Fields are parsed on the stack.
pub const HEAD_FIELDS_CEILING: usize = 512;
/// Largest body that is read only to be thrown away, where a path has no use for one: what keeps a connection alive may not
/// cost more than a new one.
pub const DISCARDED_BYTES_MAX: usize = 64 * KIB;
/// Longest line that starts a chunk, its extensions included.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Largest trailer section after the last chunk. Trailers are read and dropped.
pub const TRAILER_BYTES_MAX: usize = 8 * KIB;
/// Deepest nesting of JSON that is read. Tool schemas of real traffic stay below 20.
pub const JSON_DEPTH_MAX: usize = 128;
/// Longest `model` of a request. Names of real models, tenants and deployments included, stay below 128.
pub const MODEL_BYTES_MAX: usize = 256;
/// Longest `x-request-id` of a client that is taken over; others are replaced.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// A body up to this size is copied into one buffer with its head and sent by one call; a larger one goes out in
/// place around the edits.
pub const COPY_BYTES_MAX: usize = 16 * KIB;
/// Size of the buffers that a core uses again, and least room that a read is given. One read takes a usual request or a
/// burst of stream events whole, and an idle connection that waits for its next request doesn't hold more than this.
pub const BUFFER_BYTES: usize = 4 * KIB;
/// Room for a read that may be long in coming and brings little: an event of a stream takes 200 to 400 bytes, and of a
/// client whose answer is under way only its hang-up is looked for. A read that finds less room makes itself more.
pub const SMALL_READ_BYTES: usize = BUFFER_BYTES / 8;
/// Buffers that have grown beyond this are not kept.
pub const BUFFER_BYTES_MAX: usize = 4 * BUFFER_BYTES;
/// Buffers that a core keeps while much goes on: mostly of 4 KiB each, and enough for what hundreds of requests that end
/// at once give back before as many begin.
pub const BUFFERS_KEPT: usize = 1_024;
/// And those that it keeps when it is quiet.
pub const BUFFERS_KEPT_QUIET: usize = 128;
/// Longest list in a decision (policies); the rest is cut, and the decision says so.
pub const EVENT_LIST_LEN_MAX: usize = 64;
/// Largest decision as it lies in a core's ring, unless there is plenty of room: what one request reserves there. A usual
/// one takes about 450 bytes; texts and lists of a larger one are cut.
pub const EVENT_FRAME_BYTES_MAX: usize = 1_000;
/// Longest beginning of a body that a decision holds where `events.bodies` is on, bytes: two of them fit into a line with
/// the usual escapes of JSON.
pub const EVENT_BODY_BYTES_MAX: usize = 1_000;
/// How much of a body is looked at for keys, bytes: a signed token that begins in the part that is kept ends in here.
pub const EVENT_BODY_SCAN_BYTES: usize = 16 * KIB;
/// A credential shorter than this isn't taken out of bodies, bytes: it is a placeholder, and any text may hold it.
pub const EVENT_SECRET_BYTES_MIN: usize = 8;
/// Largest decision as a line, bytes: what one request reserves on the disk. A usual line has 1,100. A longer one is cut.
pub const EVENT_DECISION_BYTES_MAX: usize = 4 * KIB;
/// What a core's ring has room for beside the records of requests in flight, bytes: some 30,000 records, for a disk that
/// takes a break.
pub const EVENT_RING_BYTES: usize = 16 * MIB;
/// The share of a small disk that the rings of all cores may take together: one in so many.
pub const EVENT_RING_SHARE: u64 = 8;
/// Fewest requests in flight on one core that a small disk's ring has room for.
pub const EVENT_SLOTS_MIN: u64 = 32;
/// Slots that each core is given at first, 16 MiB of the disk: eighty milliseconds of the highest rates, since a machine
/// with all its cores busy keeps the writer waiting for tens of them. It doubles them when half are in use.
pub const EVENT_WINDOW_START: u64 = 4_096;
/// How long requests wait for a slot while the disk has room and none of them finds one, milliseconds: what a machine with
/// all its cores busy keeps the writer waiting. From the first that found none on, so a writer that hangs is soon known.
pub const EVENT_SLOT_WAIT_MS: u64 = 100;
/// How long one of them waits at most while others find slots, milliseconds: a writer that goes on, but for ever behind.
pub const EVENT_SLOT_WAIT_MAX_MS: u64 = 3_000;
/// Room on the disk that is set aside for the log's own records, bytes.
pub const EVENT_OWN_BYTES: usize = 64 * KIB;
/// A batch of events is announced to the writer at this many events, or when [`EVENT_BATCH_MS`] have passed.
pub const EVENT_BATCH_LEN: u64 = 128;
/// How long a closed record may wait for its batch, milliseconds. `tail` promises 20.
pub const EVENT_BATCH_MS: u64 = 2;
/// As [`EVENT_BATCH_LEN`], where `events.durability` is `relaxed`.
pub const EVENT_RELAXED_BATCH_LEN: u64 = 4_096;
/// As [`EVENT_BATCH_MS`], where `events.durability` is `relaxed`. The timer may add 2 ms to the 100 that are promised.
pub const EVENT_RELAXED_BATCH_MS: u64 = 90;
/// Words that may wait for the writer: one to look at the rings, and new configs.
pub const EVENT_QUEUE_LEN: usize = 64;
/// How long an answer waits for its record to be on the disk, milliseconds; then it is torn.
pub const EVENT_SYNC_WAIT_MS: u64 = 10_000;
/// How often the writer looks after its segments, and whether the wall clock has jumped, milliseconds.
pub const EVENT_TICK_MS: u64 = 1_000;
/// How often closed segments are looked after, seconds, beside each rotation.
pub const EVENT_KEEP_TICK_S: u64 = 60;
/// A jump of the wall clock by less than this between two looks is a correction, not a step, nanoseconds. NTP steps at
/// 128 ms, and slews by 0.5 ms a second at most.
pub const CLOCK_STEP_NS: u64 = 100_000_000;
/// Where a segment ends, bytes: large enough to be worth a file, small enough to be moved about.
pub const EVENT_SEGMENT_BYTES: u64 = 256 * MIB as u64;
/// When a segment ends, seconds: a file a day is what people look for.
pub const EVENT_SEGMENT_AGE_S: u64 = 86_400;
/// Smallest bound for a segment, and for the log, bytes.
pub const EVENT_SEGMENT_BYTES_FLOOR: u64 = 64 * KIB as u64;
/// Largest bound for a segment, and for the log, bytes: 1 PiB, a slip of the keyboard.
pub const EVENT_SIZE_BYTES_CEILING: u64 = 1 << 50;
/// Largest age, seconds: a hundred years.
pub const EVENT_AGE_S_CEILING: u64 = 36_525 * 86_400;
/// The writer takes waiting batches together up to about this size, so that one system call carries many of them.
pub const EVENT_WRITE_BYTES: usize = MIB;
/// Step in which the kernel is told that it may forget what it holds of the log, and what is left in memory of its end:
/// twice as much. A log would otherwise take all memory that is free, bit by bit: on a virtual machine, whose free memory
/// has to be brought in first, a line took ten times as long to write as into memory that was used before.
pub const EVENT_CACHED_BYTES: u64 = 4 * MIB as u64;
/// How long the writer waits between two tries on a disk that refuses, milliseconds.
pub const EVENT_RETRY_MS: u64 = 100;
/// How long a shutdown waits for a disk that refuses before records are given up, milliseconds.
pub const EVENT_GIVE_UP_MS: u64 = 5_000;
/// Longest line that a reader of the log takes. A `config` record of the largest config stays below 2 MiB.
pub const EVENT_LINE_BYTES_MAX: usize = 16 * MIB;
/// Histograms that one core may have, each of at most 272 KiB: 272 MiB at the very most, and in practice a third of
/// that for a hundred arms that are all busy, streamed and failing.
pub const HISTOGRAMS_MAX: usize = 1_024;
/// Arms that one core keeps numbers of, before it forgets those that the config doesn't have any more. Without histograms
/// an arm takes about 1 KiB.
pub const METERED_ARMS_MAX: usize = 16_384;
/// Statuses that are counted apart for one arm. Vendors use about fifteen.
pub const STATUSES_MAX: usize = 32;
/// Arms of one core that are kept apart in a minute's record of the last hour.
pub const MINUTE_ARMS_MAX: usize = 128;
/// Most requests of one experiment that `kt events compare` holds, about eighty bytes each. A verdict may be given after
/// any number of requests, so what is beyond is left out, and said so; differences of half a percent show before.
pub const COMPARE_REQUESTS_MAX: usize = 4 * 1_048_576;
/// Most names that a comparison tells requests apart by (`--by`, endpoints); what is beyond is thrown together.
pub const COMPARE_LABELS_MAX: usize = 256;
/// How long a drain waits for requests in flight, milliseconds.
pub const DRAIN_MS: u64 = 30_000;
/// Longest value of a vendor that goes into an event (`upstream_model`, `upstream_request_id`).
pub const EVENT_TEXT_BYTES_MAX: usize = 256;
/// A write to a client that takes longer is one that the client held up, nanoseconds. A millisecond is far above what a
/// socket with room takes, and far below what a reader that falls behind costs.
pub const CLIENT_WAIT_NS: u64 = 1_000_000;
/// Blocks of a vendor's stream that may be open at once: vendors open one at a time, and tests of clients two.
pub const BLOCKS_OPEN_MAX: usize = 64;
/// Tool calls of one streamed answer whose ids are remembered. OpenAI takes 128 tools, and models call a handful at once.
pub const STREAM_CALLS_MAX: usize = 1_024;
/// Most paths in one list of a translation's report. A request that loses more is one for a person to look at; the last
/// place says that there were more.
pub const REPORT_PATHS_MAX: usize = 32;
/// Longest path in such a list, bytes. `messages[1234].content[12].cache_control` has 43.
pub const REPORT_PATH_BYTES_MAX: usize = 128;
/// Most words of a sentence that are judged together; a longer one is judged in stretches. Sentences of prose have 20
/// words and rarely 48, and the words of one are bits of a number.
pub const POLICY_SENTENCE_WORDS: usize = 48;
/// Words of a stretch that are judged again with the next one, so that no phrase is cut: the longest has ten.
pub const POLICY_SENTENCE_OVERLAP: usize = 12;
/// Longest word that is judged, bytes; what is longer is cut. Dictionaries know none over 45 letters.
pub const POLICY_WORD_BYTES_MAX: usize = 64;
/// Text that the policies of a request read before others get their turn: about half a millisecond.
pub const POLICY_SLICE_BYTES: usize = 64 * KIB;
/// Text of an answer that waits for what follows, so that no address, number or key is cut by where events end: the
/// longest key that is looked for. In prose it is a word.
pub const POLICY_HELD_BYTES: usize = 4 * KIB;
/// Events that are held back because of such a text. Beyond it they go with what has been found by then: an event of a
/// usual size says 4 bytes in 250.
pub const POLICY_HELD_EVENTS_BYTES: usize = 512 * KIB;
/// Texts that an answer may say side by side and that are judged apart: choices, blocks, calls of tools. OpenAI gives up to
/// 128 choices, and one with calls has two or three; what is beyond is read into the last one.
pub const POLICY_LANES_MAX: usize = 256;
/// Most text of a request that an external moderation is asked about, bytes: some 250,000 tokens, more than any of them
/// reads. A request with more is one that it can't judge.
pub const MODERATION_BYTES_MAX: usize = 1 << 20;
/// Longest text of a question to an external moderation, bytes: a longer one is cut, so that a bad sentence isn't lost
/// among good ones.
pub const MODERATION_PIECE_BYTES: usize = 8 * KIB;
/// Longest answer of an external moderation, bytes: a result has about 1 KiB, and there are at most some hundred.
pub const MODERATION_ANSWER_BYTES_MAX: usize = 1 << 20;
