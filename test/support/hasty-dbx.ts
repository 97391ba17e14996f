// dbx as it is, but for the times that deliveries take: where a test lets receivers fail, nobody
// has to wait a minute until they are tried again.

import { limits } from "../../src/model/limits.ts";

Object.assign(limits, {
  plugin_connect_ms: 500,
  plugin_request_ms: 400,
  plugin_farewell_ms: 100,
  plugin_stall_ms: 400,
  plugin_grpc_ms: 800,
  plugin_retry_ms: 20,
  plugin_retry_ms_max: 200,
  plugin_process_start_ms: 50,
  plugin_process_resends_max: 3,
  plugin_process_stall_ms: 400,
  plugin_process_restart_ms: 20,
  plugin_process_restart_ms_max: 100,
  plugin_process_farewell_ms: 300,
  plugin_process_term_ms: 200,
});

await import("../../src/main.ts");
