// The operation table: everything that can be asked of dbx, once. Surfaces, clients, permissions,
// OpenAPI and the README derive from it.

import type { Static } from "@sinclair/typebox";
import { aggregateOperations } from "./operations/aggregates.ts";
import { eventOperations } from "./operations/events.ts";
import { nodeOperations } from "./operations/nodes.ts";
import { pluginOperations } from "./operations/plugins.ts";
import { remoteOperations } from "./operations/remotes.ts";
import { schemaOperations } from "./operations/schemas.ts";
import { serverOperations } from "./operations/server.ts";
import { stagedOperations } from "./operations/staged.ts";
import { tokenOperations } from "./operations/tokens.ts";

export const operations = {
  ...serverOperations,
  ...eventOperations,
  ...aggregateOperations,
  ...stagedOperations,
  ...schemaOperations,
  ...nodeOperations,
  ...pluginOperations,
  ...tokenOperations,
  ...remoteOperations,
};

export type Operations = typeof operations;
export type OperationName = keyof Operations;
export type Input<Name extends OperationName> = Static<Operations[Name]["input"]>;
export type Output<Name extends OperationName> = Static<Operations[Name]["output"]>;
