// Method and path of each operation. Names in braces are taken out of the input; the rest is the
// query of a GET or DELETE and the JSON body of anything else. An output with `next_cursor` is
// answered as its list alone, with the cursor in the header `X-Next-Cursor`.

import type { OperationName } from "./operations.ts";

export interface Route {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly operation: OperationName;
  /** HTTP status of success; of a PUT that made something new, 201. */
  readonly status: 200 | 201 | 204;
  /**
   * Public routes belong to the REST surface; the others serve administration, whatever surfaces
   * are on.
   */
  readonly surface: "rest" | "admin";
}

export const routes: readonly Route[] = [
  { method: "GET", path: "/health", operation: "health", status: 200, surface: "admin" },
  {
    method: "GET",
    path: "/v1/aggregates",
    operation: "listAggregates",
    status: 200,
    surface: "rest",
  },
  {
    method: "POST",
    path: "/v1/aggregates",
    operation: "createAggregate",
    status: 201,
    surface: "rest",
  },
  {
    method: "GET",
    path: "/v1/aggregates/{aggregate_type}/{aggregate_id}",
    operation: "getAggregate",
    status: 200,
    surface: "rest",
  },
  {
    method: "GET",
    path: "/v1/aggregates/{aggregate_type}/{aggregate_id}/events",
    operation: "listEvents",
    status: 200,
    surface: "rest",
  },
  {
    method: "GET",
    path: "/v1/aggregates/{aggregate_type}/{aggregate_id}/verify",
    operation: "verifyAggregate",
    status: 200,
    surface: "rest",
  },
  {
    method: "POST",
    path: "/v1/aggregates/{aggregate_type}/{aggregate_id}/snapshots",
    operation: "createSnapshot",
    status: 201,
    surface: "rest",
  },
  {
    method: "POST",
    path: "/v1/aggregates/{aggregate_type}/{aggregate_id}/archive",
    operation: "archiveAggregate",
    status: 200,
    surface: "rest",
  },
  {
    method: "POST",
    path: "/v1/aggregates/{aggregate_type}/{aggregate_id}/restore",
    operation: "restoreAggregate",
    status: 200,
    surface: "rest",
  },
  {
    method: "POST",
    path: "/v1/aggregates/{aggregate_type}/{aggregate_id}/remove",
    operation: "removeAggregate",
    status: 200,
    surface: "rest",
  },
  {
    method: "POST",
    path: "/v1/aggregates/{aggregate_type}/{aggregate_id}/erase",
    operation: "eraseAggregate",
    status: 200,
    surface: "rest",
  },
  {
    method: "GET",
    path: "/v1/export",
    operation: "exportAggregates",
    status: 200,
    surface: "rest",
  },
  { method: "GET", path: "/v1/staged", operation: "listStaged", status: 200, surface: "rest" },
  { method: "POST", path: "/v1/staged", operation: "stageEvent", status: 201, surface: "rest" },
  {
    method: "POST",
    path: "/v1/staged/commit",
    operation: "commitStaged",
    status: 200,
    surface: "rest",
  },
  {
    method: "POST",
    path: "/v1/staged/discard",
    operation: "discardStaged",
    status: 200,
    surface: "rest",
  },
  { method: "POST", path: "/v1/events", operation: "appendEvent", status: 200, surface: "rest" },
  {
    method: "POST",
    path: "/v1/events/batch",
    operation: "appendEvents",
    status: 200,
    surface: "rest",
  },
  {
    method: "POST",
    path: "/v1/events/import",
    operation: "importEvents",
    status: 200,
    surface: "rest",
  },
  { method: "GET", path: "/v1/events", operation: "readLog", status: 200, surface: "rest" },
  {
    method: "GET",
    path: "/admin/schemas",
    operation: "listSchemas",
    status: 200,
    surface: "admin",
  },
  {
    method: "POST",
    path: "/admin/schemas",
    operation: "createSchema",
    status: 201,
    surface: "admin",
  },
  {
    method: "GET",
    path: "/admin/schemas/{aggregate}",
    operation: "getSchema",
    status: 200,
    surface: "admin",
  },
  {
    method: "PATCH",
    path: "/admin/schemas/{aggregate}",
    operation: "changeSchema",
    status: 200,
    surface: "admin",
  },
  {
    method: "DELETE",
    path: "/admin/schemas/{aggregate}/events/{event}",
    operation: "removeSchemaEvent",
    status: 200,
    surface: "admin",
  },
  {
    method: "POST",
    path: "/admin/schemas/{aggregate}/validate",
    operation: "validateEvent",
    status: 200,
    surface: "admin",
  },
  {
    method: "POST",
    path: "/admin/schemas/apply",
    operation: "applySchemas",
    status: 200,
    surface: "admin",
  },
  {
    method: "POST",
    path: "/admin/nodes/positions",
    operation: "listPositions",
    status: 200,
    surface: "admin",
  },
  {
    method: "POST",
    path: "/admin/nodes/roots",
    operation: "rootsAt",
    status: 200,
    surface: "admin",
  },
  {
    method: "POST",
    path: "/admin/nodes/events",
    operation: "readForeign",
    status: 200,
    surface: "admin",
  },
  {
    method: "GET",
    path: "/admin/plugins",
    operation: "listPlugins",
    status: 200,
    surface: "admin",
  },
  {
    method: "PUT",
    path: "/admin/plugins/{name}",
    operation: "putPlugin",
    status: 200,
    surface: "admin",
  },
  {
    method: "DELETE",
    path: "/admin/plugins/{name}",
    operation: "removePlugin",
    status: 204,
    surface: "admin",
  },
  {
    method: "POST",
    path: "/admin/plugins/{name}/enable",
    operation: "enablePlugin",
    status: 200,
    surface: "admin",
  },
  {
    method: "POST",
    path: "/admin/plugins/{name}/disable",
    operation: "disablePlugin",
    status: 200,
    surface: "admin",
  },
  {
    method: "POST",
    path: "/admin/plugins/{name}/replay",
    operation: "replayPlugin",
    status: 200,
    surface: "admin",
  },
  {
    method: "POST",
    path: "/admin/plugins/test",
    operation: "testPlugins",
    status: 200,
    surface: "admin",
  },
  { method: "GET", path: "/admin/queue", operation: "listQueue", status: 200, surface: "admin" },
  {
    method: "POST",
    path: "/admin/queue/clear",
    operation: "clearQueue",
    status: 200,
    surface: "admin",
  },
  {
    method: "POST",
    path: "/admin/queue/retry",
    operation: "retryQueue",
    status: 200,
    surface: "admin",
  },
  { method: "GET", path: "/admin/audit", operation: "listAudit", status: 200, surface: "admin" },
  { method: "GET", path: "/admin/tokens", operation: "listTokens", status: 200, surface: "admin" },
  { method: "POST", path: "/admin/tokens", operation: "issueToken", status: 201, surface: "admin" },
  {
    method: "POST",
    path: "/admin/tokens/{token}/revoke",
    operation: "revokeToken",
    status: 204,
    surface: "admin",
  },
  {
    method: "POST",
    path: "/admin/tokens/{token}/refresh",
    operation: "refreshToken",
    status: 200,
    surface: "admin",
  },
  {
    method: "GET",
    path: "/admin/remotes",
    operation: "listRemotes",
    status: 200,
    surface: "admin",
  },
  {
    method: "PUT",
    path: "/admin/remotes/{name}",
    operation: "putRemote",
    status: 200,
    surface: "admin",
  },
  {
    method: "DELETE",
    path: "/admin/remotes/{name}",
    operation: "removeRemote",
    status: 204,
    surface: "admin",
  },
  { method: "GET", path: "/admin/verify", operation: "verifyLog", status: 200, surface: "admin" },
  {
    method: "GET",
    path: "/admin/status",
    operation: "serverStatus",
    status: 200,
    surface: "admin",
  },
  {
    method: "POST",
    path: "/admin/config/reload",
    operation: "reloadConfig",
    status: 200,
    surface: "admin",
  },
  {
    method: "POST",
    path: "/admin/key/rotate",
    operation: "rotateKey",
    status: 200,
    surface: "admin",
  },
];

/** The names in a path: `aggregate_type`, `aggregate_id`. */
export const pathNames = (path: string): string[] =>
  [...path.matchAll(/\{(\w+)\}/g)].map((match) => String(match[1]));
