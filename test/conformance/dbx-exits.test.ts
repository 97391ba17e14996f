// Every error code as the command line tells it: the name behind the words, and the exit code of
// the table (src/api/errors.ts). Each is provoked by commands alone, without a server; the two that
// no command can cause are named with the reason.

import { expect, test } from "bun:test";
import { join } from "node:path";
import { statusOf } from "../../src/api/errors.ts";
import { errorCodes, type ErrorCode } from "../../src/model/error.ts";
import { limits } from "../../src/model/limits.ts";
import { dbx } from "../support/cli.ts";
import { openStore } from "../support/store.ts";
import { tamper } from "../support/surfaces.ts";
import { tempDir } from "../support/temp.ts";

const impossible: Partial<Record<ErrorCode, string>> = {
  overloaded: "a command asks for one thing at a time",
  internal: "a defect that could be provoked would have been mended",
};

interface Row {
  /** Commands that must work, then the one that is refused. */
  readonly commands: readonly string[];
  readonly stdin?: string;
  /** Before the last command. */
  readonly arrange?: (data_dir: string) => unknown;
}

const bare = "aggregate apply thing t-1 made";
const apply = `${bare} --payload {}`;
const event_id = "45c3013e-9b95-4ed0-9af9-1a465f81d3cf";

const rows: Partial<Record<ErrorCode, Row>> = {
  invalid_argument: { commands: [`${apply} --event-id none`] },
  unauthenticated: { commands: [apply, "aggregate get thing t-1 --token EVT-none"] },
  permission_denied: {
    commands: ["token generate --group app --user bob --limit 0 --json", `${apply} --token TOKEN`],
  },
  not_found: { commands: [apply, "aggregate get thing none"] },
  already_exists: {
    commands: [`${apply} --event-id ${event_id}`, `${apply} --event-id ${event_id} --note other`],
  },
  version_conflict: { commands: [`${apply} --expected-version 7`] },
  aggregate_archived: { commands: [apply, "aggregate archive thing t-1", apply] },
  failed_precondition: {
    commands: ["aggregate create thing t-1", "aggregate snapshot thing t-1"],
  },
  schema_violation: { commands: ["schema create thing --events other", apply] },
  too_large: {
    commands: [`${bare} --payload -`],
    stdin: JSON.stringify("x".repeat(limits.payload_bytes_default)),
  },
  // Whoever else holds the directory: the command waits five seconds for him.
  unavailable: { commands: [apply, apply], arrange: openStore },
  data_corrupted: { commands: [apply, "aggregate verify thing t-1"], arrange: tamper },
};

test.each(Object.entries(rows))(
  "a command ends with %s",
  async (code, { commands, stdin, arrange }) => {
    using home = tempDir();
    const data_dir = join(home.path, ".eventdbx");
    let token = "";
    for (const [index, command] of commands.entries()) {
      const isLast = index === commands.length - 1;
      const args = command.replace("TOKEN", token).split(" ");
      const held = isLast ? await arrange?.(data_dir) : undefined;
      const ran = await dbx(args, { home: home.path, ...(isLast && stdin ? { stdin } : {}) });
      if (held !== undefined) await (held as AsyncDisposable)[Symbol.asyncDispose]();
      if (!isLast) {
        expect([ran.code, ran.stderr.split("\n")[0]]).toEqual([0, expect.any(String)]);
        token = /EVT-[\w-]+/.exec(ran.stdout)?.[0] ?? token;
        continue;
      }
      expect(ran.stderr).toContain(`(${code})`);
      expect(ran.stdout).toBe("");
      expect(ran.code).toBe(statusOf[code as ErrorCode].exit);
    }
  },
  30_000,
);

test("every code has a row, or a reason", () => {
  for (const code of errorCodes)
    expect([code, code in rows]).toEqual([code, !(code in impossible)]);
});
