//! Every bound of the product: value, unit, and why this value.
//!
//! What can grow has a line here. The fields of [`Limits`] can be changed under `gateway.limits` in the config, by the
//! same names; the constants can't.

/// The bounds an operator may change, under `gateway.limits`. Sizes are bytes, times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest request or response head, start line to blank line. Cookies and traces fit; 64 KiB is what Node, Envoy
    /// and HAProxy users know as "large".
    pub head_bytes_max: usize,
    /// Most header fields in one head. The official clients send about twenty.
    pub head_fields_max: usize,
    /// Largest request body. OpenAI and Anthropic both refuse requests over 32 MB.
    pub body_bytes_max: usize,
    /// Largest vendor answer that has to be held whole, which is one that is translated. Streams aren't held.
    pub answer_bytes_max: usize,
    /// Largest single event of a stream. Beyond it the vendor is broken (502): nothing real comes near.
    pub sse_event_bytes_max: usize,
    /// From the first byte of a head to its blank line.
    pub head_ms: u64,
    /// Longest silence between two reads of a request body.
    pub body_idle_ms: u64,
    /// How long a kept-alive client connection may idle. One second over nginx's 75 s, so a proxy in front closes first.
    pub keep_alive_ms: u64,
    /// How long one write to a client may make no headway before the client counts as gone.
    pub slow_reader_ms: u64,
    /// Idle vendor connections kept per core and target.
    pub pool_idle_max: usize,
    /// How long a vendor connection may idle in the pool. Under the 60 s after which common load balancers drop it.
    pub pool_idle_ms: u64,
    /// Requests in flight on one core; beyond it 503 with `retry-after`.
    pub in_flight_max: usize,
    /// Client connections on one core; beyond it the oldest queue in the kernel waits.
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 64 * KIB,
            head_fields_max: 100,
            body_bytes_max: 32 * MIB,
            answer_bytes_max: 64 * MIB,
            sse_event_bytes_max: 4 * MIB,
            head_ms: 10_000,
            body_idle_ms: 30_000,
            keep_alive_ms: 76_000,
            slow_reader_ms: 60_000,
            pool_idle_max: 1_024,
            pool_idle_ms: 55_000,
            in_flight_max: 16_384,
            connections_max: 16_384,
        }
    }
}

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
/// Most client request target, bytes. RFC 9110 section 4.1 recommends at least 8,000.
pub const TARGET_BYTES_MAX: usize = 8 * KIB;
/// Longest method. The longest that is registered (IANA, HTTP methods) is UPDATEREDIRECTREF with 17.
pub const METHOD_BYTES_MAX: usize = 32;
/// What `head_fields_max` may be set to at most; a larger value counts as this one. Fields are parsed on the stack.
pub const HEAD_FIELDS_CEILING: usize = 512;
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
/// Events that one core may have open, waiting for its batch or waiting for the writer.
pub const EVENT_SLOTS: u64 = 65_536;
/// A batch of events is handed to the writer at this many events, or when [`EVENT_BATCH_MS`] have passed.
pub const EVENT_BATCH_LEN: usize = 128;
/// How long a closed record may wait for its batch, milliseconds. `tail` promises 20.
pub const EVENT_BATCH_MS: u64 = 2;
/// Batches that may wait for the writer, over all cores. While the queue is full, each core's next batch grows instead.
pub const EVENT_QUEUE_LEN: usize = 1_024;
/// The writer takes waiting batches together up to about this size, so that one system call carries many of them.
pub const EVENT_WRITE_BYTES: usize = MIB;
/// How long the writer waits between two tries on a disk that refuses, milliseconds.
pub const EVENT_RETRY_MS: u64 = 100;
/// How long a shutdown waits for a disk that refuses before records are given up, milliseconds.
pub const EVENT_GIVE_UP_MS: u64 = 5_000;
/// Longest line that a reader of the log takes. A `config` record of the largest config stays below 2 MiB.
pub const EVENT_LINE_BYTES_MAX: usize = 16 * MIB;
/// How long a drain waits for requests in flight, milliseconds.
pub const DRAIN_MS: u64 = 30_000;
/// Longest value of a vendor that goes into an event (`upstream_model`, `upstream_request_id`).
pub const EVENT_TEXT_BYTES_MAX: usize = 256;
/// A write to a client that takes longer is one that the client held up, nanoseconds. A millisecond is far above what a
/// socket with room takes, and far below what a reader that falls behind costs.
pub const CLIENT_WAIT_NS: u64 = 1_000_000;
