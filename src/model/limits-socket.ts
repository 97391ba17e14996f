// Bounds of the control socket: its commands, and other nodes, or strangers who say that they are
// some. A part of limits.ts.

export const socketLimits = {
  /** Connections to the control socket, where the descriptors allow them. */
  socket_connections_max: 256,
  /** Of these, from one address. */
  socket_address_connections_max: 192,
  /** Commands of the control socket that run at a time, or whose answer is not taken yet. */
  socket_commands_max: 32,
  /** A request on the control socket: room for an append of a large payload and its words. */
  socket_request_bytes_max: 4_194_304,
  /** Larger requests than this share the bound below, and have more time to arrive. */
  socket_small_bytes: 65_536,
  /** Larger requests in memory at a time, all together; with their copies up to eight times as much. */
  socket_requests_bytes_max: 33_554_432,
  /** How long a larger request may take, from the moment its size is known. */
  socket_large_ms: 60_000,
  /** Words of one command: as many as a schema may have entries, and its flags. */
  socket_args_max: 1_100,
  /** What a command on the control socket may print: whoever wants more asks page by page. */
  socket_output_bytes_max: 8_388_608,
  /** Name of another node: it stands in commands, tables and log lines. */
  remote_name_chars_max: 64,
  /** Other nodes: each that calls is looked for among them. */
  remotes_max: 1_000,
  /** How long two nodes may take to prove who they are, connecting included. */
  session_handshake_ms: 10_000,
  /** Nodes, or strangers, that do so at a time: each costs a handshake of TLS and a signature. */
  session_handshakes_max: 32,
  /** Sessions with other nodes at a time. */
  sessions_max: 64,
  /** One message within a session: a page of events. */
  session_message_bytes_max: 33_554_432,
  /** How long the other node may take nothing of a message: it may be busy with the one before. */
  session_stall_ms: 300_000,
  /** How long it has to take notice of the end. */
  session_farewell_ms: 2_000,
  /** How often a node says that it is there still, while it has nothing else to say. */
  session_alive_ms: 15_000,
  /** How long nothing may be heard of the other node, not even that. */
  session_silence_ms: 120_000,
  /** Bytes of one session in one direction: far below what one key of AES-GCM may seal. */
  session_bytes_max: 137_438_953_472,
} as const;
