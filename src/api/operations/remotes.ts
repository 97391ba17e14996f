// The nodes that this one knows: tables of the server's configuration file.

import { Type } from "@sinclair/typebox";
import { Named } from "../../model/kinds.ts";
import { limits } from "../../model/limits.ts";
import { Remote } from "../../model/remote.ts";
import { nothing, operation, strict } from "./operation.ts";

/** What is wrong with it the engine says, in the words that people know. */
const name = Type.String({
  minLength: 1,
  maxLength: limits.name_chars_max,
  description: "What this node calls the other one.",
});

export const remoteOperations = {
  listRemotes: operation({
    summary: "The other nodes, by name.",
    kind: "query",
    grant: "admin",
    reach: "store",
    input: nothing,
    output: Named(Remote),
  }),
  putRemote: operation({
    summary:
      "Name another node and the key it must prove, or replace the one of this name. Kept in the " +
      "server's configuration file, and followed at once.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: Type.Object(
      {
        name,
        endpoint: Type.String({
          maxLength: limits.name_chars_max,
          description:
            "host, host:port, [v6]:port, with tcp:// before it or not; port 6363 when missing.",
        }),
        public_key: Type.String({
          maxLength: limits.name_chars_max,
          description: "Its public key, as `dbx remote key` prints it there.",
        }),
        allow: Remote.properties.allow,
      },
      strict,
    ),
    output: Type.Object({ created: Type.Boolean(), ...Remote.properties }),
  }),
  removeRemote: operation({
    summary: "Forget another node: its key opens nothing here any more.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: Type.Object({ name }, strict),
    output: Type.Null(),
  }),
};
