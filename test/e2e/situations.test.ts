/**
 * Every command of the data side, in the same order and with the same answers, in five situations:
 * with the server down, up, up with 16 writers busy, and elsewhere, reached by its URL over TLS or
 * by its control socket.
 * What differs by its nature (ids, times, hashes, positions, who acts) is masked; everything else
 * must be equal to the letter.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { dbx, startForeground, type Ran } from "../support/cli.ts";
import { connectSocket } from "../support/socket.ts";
import { tempDir, type TempDir } from "../support/temp.ts";
import { makePair } from "../support/tls.ts";
import { keepWriting } from "../support/writers.ts";

interface Step {
  readonly args: readonly string[];
  readonly stdin?: string;
  /** The whole of stdout after masking; null where `holds` judges it. */
  readonly prints: string | null;
  /** Texts of stdout, masked. */
  readonly holds?: readonly string[];
  /** Texts of stderr; without any it is empty. */
  readonly says?: readonly string[];
  readonly code?: number;
}

const patient = ["patient", "p-001"];
const key = "aggregate_type=patient aggregate_id=p-001";

const schemaSteps: readonly Step[] = [
  {
    args: ["schema", "create", "patient", "--events", "added,moved", "--snapshot-threshold", "3"],
    prints: "schema=patient events=2 snapshot_threshold=3\n",
  },
  {
    args: ["schema", "add", "patient", "--events", "left"],
    prints: "schema=patient added_events=left total_events=3\n",
  },
  {
    args: ["schema", "annotate", "patient", "moved", "--note", "to another ward"],
    prints: 'aggregate=patient event=moved note_set="to another ward"\n',
  },
  {
    args: ["schema", "field", "patient", "age", "--type", "integer", "--min", "0", "--max", "150"],
    prints: null,
    holds: ["age"],
  },
  {
    args: ["schema", "alter", "patient", "--add-fields", "left=reason"],
    prints: null,
    holds: ["patient"],
  },
  { args: ["schema", "list", "--json"], prints: null, holds: ['"aggregate": "patient"', '"age"'] },
  { args: ["schema", "show", "patient"], prints: null, holds: ['"notes": "to another ward"'] },
  {
    args: ["schema", "validate", "patient", "added", "--payload", '{"age":42}'],
    prints: "aggregate=patient event=added validation=ok\n",
  },
  {
    args: ["schema", "validate", "patient", "added", "--payload", '{"age":151}'],
    prints: "",
    says: ["schema violation: field age must be <= 150 (schema_violation)"],
    code: 6,
  },
];

const writeSteps: readonly Step[] = [
  {
    args: ["aggregate", "apply", ...patient, "added", "--payload", '{"age":42,"ssn":"078"}'],
    prints: null,
    holds: ['"age": 42', '"version": 1'],
  },
  {
    args: ["aggregate", "apply", ...patient, "died", "--payload", "{}"],
    prints: "",
    says: ["event died is not defined for aggregate patient (schema_violation)"],
    code: 6,
  },
  {
    args: ["aggregate", "apply", ...patient, "moved", "--payload", "-", "--stage"],
    stdin: '{"ward":{"floor":3,"bed":9007199254740993}}',
    prints: "event staged for later commit\n",
  },
  {
    args: ["aggregate", "apply", ...patient, "left", "--stage"].concat("--field", "why=none"),
    prints: "",
    says: ["missing required field reason for event left (schema_violation)"],
    code: 6,
  },
  {
    args: ["aggregate", "apply", ...patient, "left", "--stage", "--field", "reason=recovered"],
    prints: "event staged for later commit\n",
  },
  {
    args: ["aggregate", "list", "--stage"],
    prints: null,
    holds: ['"bed": 9007199254740993', '"reason": "recovered"'],
  },
  { args: ["aggregate", "commit"], prints: null, holds: ['"version": 3', "committed 2 event(s)"] },
  { args: ["aggregate", "commit"], prints: "no staged events to commit\n" },
  { args: ["aggregate", "list", "--stage"], prints: "no staged events\n" },
  { args: ["aggregate", "create", "ward", "w-1"], prints: null, holds: ['"version": 0'] },
  {
    args: ["aggregate", "apply", "ward", "w-2", "opened", "--field", "name==HYPER"],
    prints: null,
    holds: ['"version": 1'],
  },
];

const readSteps: readonly Step[] = [
  {
    args: ["aggregate", "get", ...patient],
    prints: null,
    holds: ['"age": "42"', '"bed": 9007199254740993', '"version": 3'],
  },
  {
    args: ["aggregate", "get", ...patient, "--version", "1"],
    prints: null,
    holds: ['"ssn": "078"'],
  },
  {
    args: ["aggregate", "get", ...patient, "--at", "2001-02-03T04:05:06Z"],
    prints: "",
    says: ["aggregate not found"],
    code: 3,
  },
  {
    args: ["aggregate", "list", "--type", "patient", "--filter", "ward.floor = 3 AND age >= 42"],
    prints: `${key} version=3 merkle_root=HASH archived=false\n`,
  },
  { args: ["aggregate", "list", "--type", "patient", "--filter", "age > 42"], prints: "" },
  {
    args: ["aggregate", "list", "--filter", "age >"],
    prints: "",
    says: ["(invalid_argument)"],
    code: 2,
  },
  { args: ["aggregate", "replay", ...patient, "--skip", "2"], prints: null, holds: ["recovered"] },
  {
    args: ["aggregate", "verify", ...patient],
    prints: `${key} version=3 merkle_root=HASH\n`,
  },
  {
    args: ["aggregate", "snapshot", ...patient, "--comment", "for the audit"],
    prints: null,
    holds: ['"comment": "for the audit"', '"version": 3'],
  },
];

const lifecycleSteps: readonly Step[] = [
  {
    args: ["aggregate", "archive", ...patient, "--comment", "gone"],
    prints: `${key} archived=true comment=gone\n`,
  },
  {
    args: ["aggregate", "list", "--archived", "--type", "patient"],
    prints: `${key} version=3 merkle_root=HASH archived=true\n`,
  },
  {
    args: ["aggregate", "apply", ...patient, "moved", "--payload", "{}"],
    prints: "",
    says: ["aggregate is archived and cannot accept new events (aggregate_archived)"],
    code: 4,
  },
  {
    args: ["aggregate", "replay", ...patient, "--json"],
    prints: null,
    holds: ['"bed": 9007199254740993'],
  },
  { args: ["aggregate", "get", ...patient, "--version", "2"], prints: null, holds: ['"floor": 3'] },
  {
    args: ["aggregate", "verify", ...patient],
    prints: `${key} version=3 merkle_root=HASH\n`,
  },
  {
    args: ["aggregate", "restore", ...patient],
    prints: `${key} archived=false comment=""\n`,
  },
  {
    args: ["aggregate", "apply", ...patient, "moved", "--payload", '{"ward":null}'],
    prints: null,
    holds: ['"version": 4'],
  },
  {
    args: ["aggregate", "remove", "ward", "w-1", "--comment", "never built"],
    prints: "aggregate_type=ward aggregate_id=w-1 removed\n",
  },
  {
    args: ["aggregate", "remove", ...patient],
    prints: "",
    says: ["cannot be removed while events exist (failed_precondition)"],
    code: 4,
  },
  {
    // Not all of it: servers tell how they are configured.
    args: ["audit", "--aggregate", "patient", "--json"],
    prints: null,
    holds: ['"action": "archive"', '"comment": "gone"', '"action": "restore"'],
  },
  {
    args: ["audit", "--action", "remove", "--json"],
    prints: null,
    holds: ["never built"],
  },
  {
    args: ["schema", "hide", "--aggregate", "patient", "--field", "ssn"],
    prints: "aggregate=patient field=ssn hidden\n",
    says: ["note: no column or event of patient names field=ssn; check the name"],
  },
  {
    args: ["aggregate", "list", "--type", "patient", "--filter", 'ssn = "078"'],
    prints: "",
  },
  { args: ["schema", "lock", "patient"], prints: null, holds: ["patient"] },
  {
    args: ["aggregate", "apply", ...patient, "moved", "--payload", "{}"],
    prints: "",
    says: ["aggregate patient is locked for updates (schema_violation)"],
    code: 6,
  },
  { args: ["schema", "unlock", "patient"], prints: null, holds: ["patient"] },
  {
    args: ["schema", "remove", "patient", "left"],
    prints: "schema=patient removed_event=left remaining_events=2\n",
  },
];

const exportSteps: readonly Step[] = [
  {
    args: ["aggregate", "export", "patient", "--output", "out/patient.csv"],
    prints: null,
    holds: ["wrote out/patient.csv", "Exported 1 aggregate type(s) in CSV format"],
  },
  {
    args: ["aggregate", "export", "ward", "--output", "out/ward.json", "--format", "json"],
    prints: null,
    holds: ["wrote out/ward.json", "Exported 1 aggregate type(s) in JSON format"],
  },
  {
    args: ["aggregate", "export", "--all", "--zip", "--output", "out/all.zip"],
    prints: null,
    holds: ["aggregate type(s) to out/all.zip (zip archive)"],
  },
];

/** Those that make files come last: not everybody who asks has any. */
const steps = [schemaSteps, writeSteps, readSteps, lifecycleSteps, exportSteps].flat();

/** What no two runs have in common. */
const masked = (text: string): string =>
  text
    .replaceAll(/\b[0-9a-f]{64}\b/g, "HASH")
    .replaceAll(/"subject": "[0-9a-f]{16}"/g, '"subject": "ID"')
    .replaceAll(/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, "ID")
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z/g, "TIME")
    .replaceAll(/"position": \d+/g, '"position": N')
    .replaceAll(/"entry": \d+/g, '"entry": N')
    .replaceAll(/"(group|user)": "[^"]+"/g, '"$1": "X"')
    // The writers' aggregates are a type more.
    .replaceAll(/^Exported \d+ (.* \(zip archive\))$/gm, "Exported N $1");

let dir: TempDir;
let home: string;
beforeEach(() => {
  dir = tempDir();
  home = dir.path;
  mkdirSync(join(home, "out"));
});
afterEach(() => dir[Symbol.dispose]());

const outputs = new Map<string, readonly string[]>();

async function writersToken(at = home): Promise<string> {
  const words = ["token", "generate", "--group", "admin", "--user", "w", "--json"];
  const { stdout } = await dbx(words, { home: at });
  return String(JSON.parse(stdout).token);
}

async function runAll(situation: string, env: Record<string, string> = {}): Promise<void> {
  await runSteps(situation, steps, ({ args, stdin }) =>
    dbx(args, { home, env, ...(stdin === undefined ? {} : { stdin }) }),
  );
  expectFiles();
}

async function runSteps(
  situation: string,
  which: readonly Step[],
  run: (step: Step) => Promise<Ran>,
): Promise<void> {
  const printed: string[] = [];
  for (const step of which) {
    const { args, prints, holds = [], says = [], code = 0 } = step;
    const ran = await run(step);
    const what = `${situation}: dbx ${args.join(" ")}`;
    const stdout = masked(ran.stdout);
    expect({ what, code: ran.code, stderr: ran.stderr }).toEqual({
      what,
      code,
      stderr: says.length === 0 ? "" : expect.stringContaining(says[0] ?? ""),
    });
    if (prints !== null) expect(stdout).toBe(prints);
    for (const text of holds) expect(stdout).toContain(text);
    printed.push(stdout);
  }
  outputs.set(situation, printed);
  // Whichever situation ran first, the others answered to the letter the same.
  const [first] = outputs.values();
  const common = Math.min(printed.length, first?.length ?? 0);
  expect(common).toBeGreaterThanOrEqual(steps.length - exportSteps.length);
  expect(printed.slice(0, common)).toEqual([...(first ?? [])].slice(0, common));
}

function expectFiles(): void {
  expect(readFileSync(join(home, "out/patient.csv"), "utf8")).toBe(
    '__aggregate_id,age,reason,ssn,ward\np-001,42,recovered,078,""\n',
  );
  expect(readFileSync(join(home, "out/ward.json"), "utf8")).toBe(
    '[{"__aggregate_id":"w-2","name":"=HYPER"}]\n',
  );
  expect(readdirSync(join(home, "out")).toSorted()).toEqual([
    "all.zip",
    "patient.csv",
    "ward.json",
  ]);
}

/** What the command line reads for its user, a client of the socket has in hand. */
const withStdin = ({ args, stdin }: Step): readonly string[] =>
  stdin === undefined ? args : args.map((arg) => (arg === "-" ? stdin : arg));

const verifyAll = async (): Promise<{ position: number }> => {
  const { stdout, stderr, code } = await dbx(["aggregate", "verify", "--all", "--json"], { home });
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  return JSON.parse(stdout);
};

describe("every command answers the same", () => {
  test("with the server down", async () => {
    await writersToken();
    await runAll("down");
    expect((await verifyAll()).position).toBe(5);
  }, 120_000);

  test("with the server up", async () => {
    await using _server = await startForeground({ home });
    await writersToken();
    await runAll("up");
    expect((await verifyAll()).position).toBe(5);
  }, 120_000);

  test("with the server elsewhere, reached by its URL over TLS", async () => {
    const there = join(home, "server");
    mkdirSync(join(there, ".eventdbx"), { recursive: true });
    const { cert, key } = await makePair(there, "elsewhere");
    await Bun.write(
      join(there, ".eventdbx/config.toml"),
      `[tls]\ncert = ${JSON.stringify(cert)}\nkey = ${JSON.stringify(key)}\n`,
    );
    await using server = await startForeground({ home: there });
    await runAll("elsewhere", {
      EVENTDBX_URL: `https://localhost:${server.port}`,
      EVENTDBX_CA_FILE: cert,
      EVENTDBX_TOKEN: await writersToken(there),
    });
    expect(existsSync(join(home, ".eventdbx"))).toBe(false);
    const { stdout } = await dbx(["aggregate", "verify", "--all", "--json"], { home: there });
    expect(JSON.parse(stdout).position).toBe(5);
  }, 120_000);

  test("over the control socket", async () => {
    await using server = await startForeground({ home });
    const token = await writersToken();
    using client = await connectSocket(server.socket_port);
    const withoutFiles = steps.filter((step) => !exportSteps.includes(step));
    await runSteps("socket", withoutFiles, async (step) => {
      const { exit, ...printed } = await client.ask(withStdin(step), token);
      return { ...printed, code: exit };
    });
    expect((await verifyAll()).position).toBe(5);
  }, 120_000);

  test("with the server up and 16 writers busy", async () => {
    await using server = await startForeground({ home });
    const load = keepWriting(server, await writersToken());
    try {
      await runAll("busy");
    } finally {
      const acknowledged = await load.stop();
      expect(acknowledged).toBeGreaterThan(16);
      expect((await verifyAll()).position).toBe(5 + acknowledged);
    }
  }, 300_000);
});
