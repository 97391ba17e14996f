// Everything that is fuzzed. Another kind of input is a module with a `Target` and a line here; a
// target that changes what others need names a place of its own.

import { admin } from "./admin.ts";
import { filter } from "./filter.ts";
import { graphql } from "./graphql.ts";
import { grpc } from "./grpc.ts";
import { http, sse } from "./http.ts";
import { json } from "./json.ts";
import { raw } from "./raw.ts";
import { socket } from "./socket.ts";
import type { Target } from "./target.ts";
import { tls } from "./tls.ts";

export const targets: readonly Target[] = [
  ...[json, http, raw, filter, graphql, grpc, sse],
  ...[admin, tls, socket],
];
