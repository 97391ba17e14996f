// Bounds of plugins: settings, what they are handed, how long that may take. Part of limits.ts.

export const pluginLimits = {
  /** A plugin's label: it stands in tables and log lines. */ plugin_name_chars_max: 128,
  /** One word of a plugin's configuration: a URL, a header, an argument. */
  plugin_text_chars_max: 8_192,
  /** Headers, arguments or variables of one plugin. */ plugin_entries_max: 100,
  /** Events that a plugin is handed in one step; after a failure it begins with one again. */
  plugin_page_events: 256,
  /** Payload characters of such a step, beyond which it ends early. */
  plugin_page_chars_max: 4_194_304,
  /** A message to a process plugin: readers of Cap'n Proto refuse larger ones. */
  plugin_message_bytes_max: 67_108_864,
  /** Events that a process is handed before it is looked at whether it lives on. */
  plugin_process_events_max: 1_024,
  /** How long a process must have lived before it is handed anything: most that fail do it at once. */
  plugin_process_start_ms: 250,
  /** How long it must live on after it took some, so that they count as delivered. */
  plugin_process_stand_ms: 25,
  /** Bytes written at a time: a process that takes these is alive, however large the event. */
  plugin_process_piece_bytes: 65_536,
  /** How long a process may take none of them, before it counts as stuck and is replaced. */
  plugin_process_stall_ms: 10_000,
  /** What a process may have been handed without reading it: more than fits into its socket. */
  plugin_process_unread_bytes: 524_288,
  /** The same where the system's sockets hold more: it is kept in memory for each process. */
  plugin_process_unread_bytes_max: 16_777_216,
  /** How often the same events are sent again because a process ended soon after it took them. */
  plugin_process_resends_max: 10,
  /** How long a delivery waits for a process that is about to be started. */
  plugin_process_wait_ms: 2_500,
  /** Between the end of a process and its next start: twice as long each time, up to the second. */
  plugin_process_restart_ms: 1_000,
  /** The longest such time. */ plugin_process_restart_ms_max: 64_000,
  /** A process that lived for so long has not failed to start. */ plugin_process_life_ms: 60_000,
  /** How long a process may take to end once its input does, and then after it was told to. */
  plugin_process_farewell_ms: 2_000,
  /** How long it may take after that. */ plugin_process_term_ms: 1_000,
  /** One line of what a process prints. */ plugin_output_bytes_max: 2_000,
  /** Lines of one process that go into the log, a second. */ plugin_output_lines_max: 50,
  /** A bundle of a process plugin, as it is fetched: a large program with its files. */
  plugin_bundle_bytes_max: 268_435_456,
  /** The same unpacked. */ plugin_unpacked_bytes_max: 1_073_741_824,
  /** Bytes unpacked from one packed byte: programs shrink to a third, bombs to a thousandth. */
  plugin_unpacked_ratio_max: 100,
  /** What is unpacked before that ratio is looked at: a page of zeros is no bomb. */
  plugin_unpacked_bytes_free: 16_777_216,
  /** Files and directories of one bundle. */ plugin_bundle_entries_max: 10_000,
  /** A name within a bundle, in bytes: with the directory before it below every system's limit. */
  plugin_bundle_path_bytes_max: 1_024,
  /** One part of such a name, as file systems have it. */
  plugin_bundle_part_bytes_max: 255,
  /** Directories within each other. */
  plugin_bundle_depth_max: 32,
  /** A header of a tar archive that extends the next one: a long name, some times. */
  plugin_tar_header_bytes_max: 65_536,
  /** Names of a bundle that an error lists. */
  plugin_bundle_names_shown: 20,
  /** How long the download of a bundle may take: 256 MiB at 450 KB/s. */
  plugin_download_ms_max: 600_000,
  /** How long nothing may arrive meanwhile. */
  plugin_download_idle_ms_max: 30_000,
  /** Redirects of a download: release pages need one or two. */
  plugin_redirects_max: 5,
  /** How old what an install left unfinished must be, before the next one removes it. */
  plugin_staging_ms_max: 3_600_000,
  /** Installed bundles: all of them are read whenever one is looked up. */
  plugin_bundles_max: 1_000,
  /** Why a delivery failed, in characters: it is kept with the delivery and shown in tables. */
  plugin_fault_chars_max: 500,
  /** How long a plugin's target may take to be connected to. */
  plugin_connect_ms: 5_000,
  /** How long one request to a plugin's target may take, its answer included. */
  plugin_request_ms: 5_000,
  /** How long a connection to a plugin's target may take to end when it is let go. */
  plugin_farewell_ms: 500,
  /** How long a TCP receiver may take nothing of what waits for it. */
  plugin_stall_ms: 10_000,
  /** How long a connection must stand after the last byte has left: a reset takes a round trip. */
  plugin_tcp_settle_ms: 250,
  /** Least of this time after a receiver has closed: a round trip is known then. */
  plugin_tcp_settle_ms_min: 20,
  /** Events that wait for that together: one after the other they would be four a second. */
  plugin_tcp_events_max: 4_096,
  /** The same of a receiver that ends its connection after each: a second or two of its time. */
  plugin_tcp_events_alone: 32,
  /** Bytes that are handed to a connection at a time. */
  plugin_tcp_write_bytes: 65_536,
  /** How long one delivery may take, of a receiver that takes something now and then. */
  plugin_tcp_ms: 60_000,
  /** Events of one aggregate that are posted one after the other before their result is kept. */
  plugin_http_events_max: 16,
  /** Requests to one receiver at a time. */
  plugin_http_lanes: 16,
  /** What is read of an answer, and dropped, to use its connection again. */
  plugin_http_answer_bytes_max: 65_536,
  /** Events of one call to a gRPC receiver. */
  plugin_grpc_events_max: 256,
  /** Bytes of one message to it: receivers refuse 4 MiB by default. */
  plugin_grpc_message_bytes_max: 3_000_000,
  /** How long all calls of one delivery may take together. */
  plugin_grpc_ms: 30_000,
  /** Characters of one line that a log plugin writes. */
  plugin_log_chars_max: 65_536,
  /** Aggregates whose latest state a plugin's loop keeps to make the next one, and their size. */
  plugin_states_max: 256,
  /** Their characters, for each plugin. */ plugin_states_chars_max: 4_194_304,
  /** Before a delivery that failed is tried again: twice as long each time, up to some minute. */
  plugin_retry_ms: 1_000,
  /** The longest such time: somebody who is back should not wait. */ plugin_retry_ms_max: 64_000,
  /** How long a plugin's loop waits at most before it looks again whether a delivery is due. */
  plugin_idle_ms_max: 60_000,
  /** How long it may take to find out whether a plugin can be reached. */
  plugin_check_ms: 15_000,
  /** How often the copy of the queue is written at most. */
  plugin_mirror_ms: 1_000,
  /** Aggregates, deliveries or faults in one answer about plugins. */
  plugin_rows_max: 1_000,
} as const;

// As they are, or as a test has them.
export type PluginLimits = Readonly<Record<keyof typeof pluginLimits, number>>;
