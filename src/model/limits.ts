// Every bound of the system, each with its reason. Configuration may lower or raise only those that
// model/config.ts names; the rest are fixed, because a bound nobody tested is no bound.

import { pluginLimits } from "./limits-plugins.ts";
import { socketLimits } from "./limits-socket.ts";
import { upgradeLimits } from "./limits-upgrade.ts";

export const limits = {
  /** Aggregate types, aggregate ids and event types: long enough for URNs, short enough for an index key. */
  name_chars_max: 256,
  /** A note is a remark beside the event, not a second payload. */
  note_chars_max: 128,
  /** A comment says why something was done to an aggregate; longer reasons are documents. */
  comment_chars_max: 1_024,
  /** Ids that an entry of the audit trail names; of more, how many there are has to do. */
  audit_ids_max: 100,
  /** A filter in code points: it is parsed for every request. */
  filter_chars_max: 4_096,
  /** The same percent-encoded: with all else of a list it fits into a request's 16 KiB. */
  filter_url_chars_max: 8_192,
  /** Nesting of a filter's parentheses and NOTs, for the sake of somebody's recursion. */
  filter_depth_max: 64,
  /** Comparisons of one filter: each may read a whole state. */
  filter_comparisons_max: 100,
  /** Values in the comparisons of one filter, those of its lists included. */
  filter_values_max: 1_000,
  /** Token labels are shown in tables and recorded in every event they issue. */
  actor_chars_max: 128,
  /** Nesting of a payload; deeper input is an attack on somebody's recursion. */
  json_depth_max: 128,
  /** A number token must hold any double written out in full (1,077 characters) and little more. */
  json_number_chars_max: 1_100,
  /** Default of `payload_limit`: a payload is a fact, not a file. */
  payload_bytes_default: 1_048_576,
  /** Upper end of `payload_limit`: SQLite rows and JSON answers stay far from their own limits. */
  payload_bytes_max: 16_777_216,
  /** State of one aggregate, in characters: it is written and read as one value with every append. */
  state_chars_max: 16_777_216,
  /** What an append body may carry around its payload: names, note, id, expectation, white space. */
  envelope_bytes_max: 16_384,
  /** Events of one atomic batch; a batch blocks the commit of everyone else for its length. */
  transaction_events_max: 1_000,
  /** Body of `POST /v1/events/batch`. */
  batch_bytes_max: 16_777_216,
  /** Bodies of administrative requests. */
  admin_bytes_max: 65_536,
  /** Up to here a request body is read in one piece; beyond, it is counted and timed while it streams. */
  body_inline_bytes_max: 65_536,
  /** Streamed request bodies in memory at a time, all together. */
  bodies_bytes_max: 268_435_456,
  /** How long a streamed request body may take: 16 MiB at 56 KB/s. Bun itself ends slower clients. */
  body_ms_max: 300_000,
  /** Faults of an input that are looked at to find the one worth telling. */
  input_faults_max: 100,
  /** Bytes of a large page that go out at a time: what is held for whoever takes nothing of it. */
  answer_piece_bytes: 65_536,
  /** Requests being answered at a time; beyond this the caller is told to come back. */
  requests_running_max: 4_096,
  /** A connection on which nothing moves for so long is closed. */
  idle_seconds_max: 30,
  /** Connections to the shared port at a time; each takes three descriptors and its buffers. */
  connections_max: 8_192,
  /** Of these, from one address: three quarters at most, so that nobody takes all of the room. */
  address_connections_max: 6_144,
  /** Connections to the listener of this machine's command line. */
  control_connections_max: 256,
  ...socketLimits,
  /** Segments of a message of Cap'n Proto; the readers of others take no more either. */
  capnp_segments_max: 511,
  /** Pointers of such a message that lead anywhere: a command has 1,102, a stranger half a million. */
  capnp_pointers_max: 16_384,
  /** Structs and lists within each other in such a message, the usual bound of its readers. */
  capnp_depth_max: 64,
  /** How long a connection may take to show which protocol it speaks, with TLS from its first byte. */
  preface_ms: 10_000,
  /** How often the certificate's files are looked at; they hold once they are still for so long. */
  tls_look_ms: 1_000,
  /** How long before its end a certificate is warned of: most are renewed a month before. */
  tls_warn_ms: 1_209_600_000,
  /** A certificate with its chain, or its key: some kilobytes each. */
  tls_file_bytes_max: 1_048_576,
  /** How long a browser may keep the answer to a preflight: most keep none for longer. */
  preflight_seconds: 7_200,
  /** Bytes that one side of a shared connection may be ahead of the other before it is paused. */
  splice_bytes_max: 262_144,
  /** How long a client of the shared port may take nothing of what waits for it. */
  stall_seconds_max: 60,
  /** Messages of gRPC: as large as the body of a batch. */
  grpc_message_bytes_max: 16_777_216,
  /** Messages of calls that append nothing: names, filters, questions. */
  grpc_small_bytes_max: 65_536,
  /** Messages of gRPC in memory at a time, all together, of calls with a token. */
  grpc_bytes_max: 134_217_728,
  /** The same of calls that need none. */
  grpc_open_bytes_max: 8_388_608,
  /** Calls without a token at a time: health that is watched, reflection. */
  grpc_open_calls_max: 1_024,
  /** The same of one connection: whoever asks how a server is needs one or two. */
  grpc_open_calls_each_max: 16,
  /** How long a gRPC call may take to say what it asks, where that is little. */
  grpc_silence_ms: 30_000,
  /** How long a stream that has been told to end may take to take that, when dbx stops. */
  farewell_ms: 1_000,
  /** Wrong master keys in a row, each 30 ms of a core and 19 MiB; people mistype less often. */
  admin_key_tries_max: 10,
  /** How long until one more may be tried: a guesser has ten a minute. */
  admin_key_try_ms: 6_000,
  /** A master key administers everything, from anywhere: shorter ones are guessed. */
  master_key_chars_min: 16,
  /** Master keys that are being checked, one at a time, or wait for that. */
  admin_key_checks_max: 4,
  /** Tokens or addresses whose requests are counted: the one that asked longest ago goes first. */
  rate_keys_max: 65_536,
  /** New connections for each request an address may make: beyond these nobody is answered. */
  rate_connections_factor: 4,
  /** Calls of one gRPC connection at a time. */
  grpc_streams_max: 256,
  /** A gRPC connection on which nothing moves is asked whether somebody is there. */
  grpc_ping_ms: 30_000,
  /** How long it may take to answer that. */
  grpc_ping_timeout_ms: 20_000,
  /** What a refused gRPC call says: with the details below, trailers stay under 8 KiB. */
  grpc_message_chars_max: 500,
  /** Details of a refused gRPC call: names and values, as JSON in ASCII. */
  grpc_details_chars_max: 1_600,
  /** Events of a stream of appends that are committed together. */
  load_events_max: 500,
  /** Their payloads, in characters; one that is larger goes alone. */
  load_chars_max: 4_194_304,
  /** A GraphQL request: its document, its variables, one payload; batches are no larger elsewhere. */
  graphql_bytes_max: 16_777_216,
  /** A GraphQL document in characters: comments are no tokens, but have to be read. */
  graphql_document_chars_max: 262_144,
  /** Documents kept parsed and found valid: those that clients send again and again. */
  graphql_documents_max: 100,
  /** Characters of a document that is kept: with its tree it takes some hundred times as much. */
  graphql_kept_chars_max: 4_096,
  /** Characters of an error's message: it may quote what was sent. */
  graphql_message_chars_max: 1_000,
  /** Rows that verifying an aggregate counts for: it reads all events there are. */
  graphql_verify_rows: 1_000,
  /** Values in the variables of a GraphQL request: ten full batches, each member of each event. */
  graphql_values_max: 100_000,
  /** Tokens of a GraphQL document: the parser's work. */
  graphql_tokens_max: 2_000,
  /** Levels of selections; introspection by the usual tools takes thirteen. */
  graphql_depth_max: 15,
  /** Aliases of a document: each asks for the same work once more. */
  graphql_aliases_max: 30,
  /** Rows that a document may ask for: ten usual pages, or one where the owner has made it larger. */
  graphql_cost_max: 10_000,
  /** Live streams at a time, all surfaces together; each holds a connection and one batch. */
  subscribers_max: 4_096,
  /** Records of a batch that a live stream is handed at a time. */
  live_batch_rows: 256,
  /** Payload characters of such a batch, beyond which it ends early: 1 GiB for all, were all slow. */
  live_batch_chars_max: 262_144,
  /** Live streams that go on in one turn: whoever appends is answered between two turns. */
  live_wakes_max: 64,
  /** Latest events kept in memory for live streams: those behind them read from the disk. */
  live_tail_events_max: 8_192,
  /** Payload characters of these. */
  live_tail_chars_max: 16_777_216,
  /** A live stream on which nothing happens says so this often; less than most proxies' patience. */
  heartbeat_ms: 15_000,
  /** How long a live stream waits for a client that takes nothing, before it ends. */
  live_stall_ms: 60_000,
  /** A request id that a client chose: it is written into every log line of the request. */
  request_id_chars_max: 128,
  /** Events of one group commit: keeps one commit within a few milliseconds (measured, storage/DESIGN.md). */
  commit_events_max: 512,
  /** Group commits at a time: one is written while the next is planned; a third would only wait. */
  commits_running_max: 2,
  /** Events that must wait before a commit is planned ahead: fewer are not worth an fsync. */
  commit_ahead_min: 32,
  /** Payload bytes of one group commit, for the same reason. */
  commit_bytes_max: 8_388_608,
  /** Transactions that wait for a commit; beyond this the caller is told to slow down. */
  queue_transactions_max: 8_192,
  /** Payload bytes that wait for a commit: what the queue may hold in memory. */
  queue_bytes_max: 134_217_728,
  /** Upper end of `page_limit`. */
  page_rows_max: 100_000,
  /** Payload bytes of one page. A larger one is refused: cut short it would look like the last. */
  page_bytes_max: 67_108_864,
  /** Staged events: one commit appends them all. */
  staged_events_max: 1_000,
  /** Payload bytes of all staged events: the queue is one small file, rewritten at every change. */
  staged_bytes_max: 16_777_216,
  /** Steps of staging that run or wait: each may take the time of writing the whole queue. */
  staging_steps_max: 256,
  /** Payload bytes of these steps: more could not be staged anyway. */
  staging_steps_bytes_max: 16_777_216,
  /** Schemas, events of one, fields of one: each is looked at by people. */
  schema_entries_max: 1_000,
  /** Levels of columns within columns: `schemas.json` nests twice as deep, and is read back. */
  schema_depth_max: 32,
  /** Body of one change: as many events as a schema may have, with names as long as they may be. */
  schema_body_bytes_max: 2_097_152,
  /** `schemas.json` in bytes: it is read whole whenever it changes. */
  schemas_bytes_max: 16_777_216,
  /** One pattern, searched text, bound or path of a schema, in characters. */
  pattern_chars_max: 1_000,
  /** Patterns of one schema, in characters: compiled at each change of it, at worst in a second. */
  schema_pattern_chars_max: 16_384,
  /** Patterns of all schemas: compiled whenever dbx starts. */
  schemas_pattern_chars_max: 131_072,
  /** Compiled steps of one column's patterns: repetitions make few characters into many steps. */
  pattern_size_max: 2_000,
  /** Steps times characters of a transaction's matches: mostly a ns each, at worst eighty (measured). */
  pattern_work_max: 16_777_216,
  /** Versions of an aggregate that move to or from the archive at a time: a few ms of writing. */
  archive_block_events: 256,
  /** Payload characters of such a block, beyond which it ends early. */
  archive_block_chars_max: 1_048_576,
  /** Distinct top-level members of one aggregate type in a CSV export: its columns. */
  export_columns_max: 16_384,
  /** Aggregate types of one export: each is a file, and its name is remembered until the end. */
  export_types_max: 16_384,
  /** Tokens in `tokens.json`: every one is kept in memory. */
  tokens_max: 100_000,
  /** Aggregates and types that one token names: each is compared with what it asks for. */
  scope_entries_max: 100,
  /** A token has 68; what is longer is something else, which no header should carry. */
  token_chars_max: 256,
  /** Tokens the command line bought and that have not expired yet. */
  session_tokens_max: 4_096,
  /** Lifetime of a token the command line buys for one call. */
  session_token_ms: 60_000,
  /** Why an aggregate is erased: it is kept for ever, and is no place for what was erased. */
  erase_reason_chars_max: 1_024,
  /** Bodies, states or keys that are sealed anew at a time, between commits of others. */
  seal_rows_max: 256,
  /** A file that holds a key has one line; whatever is larger is another file. */
  key_file_bytes_max: 1_024,
  /** Data keys kept unwrapped in memory: 32 bytes and what a map takes, each. */
  data_keys_max: 65_536,
  /** Plugins: each has a loop of its own, and maybe a process. */
  plugins_max: 100,
  /** Rows of a page that nodes ask each other for: positions, roots, events. */
  position_rows_max: 1_000,
  /** A message between nodes: a batch of events of at most a quarter of that, or a single large one. */
  peer_message_bytes_max: 33_554_432,
  /** Payload characters of a page of events for another node, beyond which it ends early. */
  foreign_page_chars_max: 4_194_304,
  /** Aggregates with two histories that are named; the others are counted. */
  forks_listed_max: 100,
  /** Of these, for how many the first version that differs is searched. */
  forks_searched_max: 10,
  /** Events that a node takes over at once: erased ones come together with what erased them. */
  import_events_max: 10_000,
  /** Faults that `verify` lists before it stops counting. */
  verify_faults_max: 100,
  /** Rows that long work reads before it lets others run. */
  scan_rows_max: 1_000,
  /** Characters of states that long work looks at before it lets others run: some milliseconds. */
  scan_chars_max: 4_194_304,
  /** How long an offline command waits for another one to finish. */
  lock_wait_ms: 5_000,
  /** How long a stopping server waits for running requests: leaves two of ten seconds to close. */
  drain_ms: 8_000,
  /** What `dbx stop` grants beyond the drain time before it kills, and then for the dead to let go. */
  stop_grace_ms: 5_000,
  /** How long `dbx start` waits for its daemon to listen: a long log is replayed first. */
  ready_wait_ms: 120_000,
  /** How long a server that does not answer may take to be gone before it counts as hung. */
  settle_ms: 1_000,
  /** How often a command looks again at what cannot tell it anything: a PID file, a lock. */
  poll_ms: 20,
  /** How long a server elsewhere may take to show that it is dbx, before it is asked anything. */
  connect_ms: 10_000,
  /** How long an answer may stay away: `verify` of a large log says nothing before its end. */
  answer_idle_ms_max: 86_400_000,
  /** A daemon's log file is put aside at this size, and at midnight (UTC). */
  log_file_bytes_max: 16_777_216,
  /** Log files put aside; the oldest goes first. */
  log_files_max: 8,
  /** Files of a data directory besides its databases: each has a line in the manifest. */
  backup_files_max: 100_000,
  /** Directories within each other in a data directory; bundles of plugins have a dozen. */
  backup_depth_max: 32,
  /** A file of the data directory's top level that is backed up as of the databases' moment. */
  backup_small_bytes_max: 33_554_432,
  /** A backup's manifest: as many files with names as long as they may be would be far more. */
  backup_manifest_bytes_max: 67_108_864,
  /** A long name in a backup. */
  backup_header_bytes_max: 65_536,
  /** Incremental backups that stand on each other: a restore reads all of them. */
  backup_chain_max: 1_000,
  /** How often files are read again that changed while the databases were pinned. */
  backup_tries_max: 5,
  /** What a backup under a passphrase leaves free where the data is. */
  backup_spare_bytes: 268_435_456,
  /** A backup is as safe as its passphrase, which can be guessed without anybody noticing. */
  passphrase_chars_min: 12,
  /** The write-ahead log stays below this; what it takes to keep it there is in storage/DESIGN.md. */
  wal_bytes_max: 268_435_456,
  ...pluginLimits,
  ...upgradeLimits,
} as const;
