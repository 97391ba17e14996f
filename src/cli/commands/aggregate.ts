// `dbx aggregate …`: append events and read them back.

import type { Group } from "../command.ts";

export const aggregate: Group = {
  kind: "group",
  summary: "Append events, read aggregates and prove their history.",
  commands: {
    apply: async () => (await import("./append.ts")).apply,
    commit: async () => (await import("./staged.ts")).commit,
    discard: async () => (await import("./staged.ts")).discard,
    create: async () => (await import("./append.ts")).create,
    list: async () => (await import("./read.ts")).list,
    get: async () => (await import("./read.ts")).get,
    replay: async () => (await import("./read.ts")).replay,
    verify: async () => (await import("./verify.ts")).verify,
    export: async () => (await import("./export.ts")).exportCommand,
    snapshot: async () => (await import("./archive.ts")).snapshot,
    archive: async () => (await import("./archive.ts")).archive,
    restore: async () => (await import("./archive.ts")).restore,
    erase: async () => (await import("./erase.ts")).erase,
    remove: async () => (await import("./archive.ts")).remove,
  },
};
