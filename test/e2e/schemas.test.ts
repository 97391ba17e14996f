// Schemas from the command line: every sub-command, with the server up and down, and what they do
// to appends. What an edited or damaged file does to a running server.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dbx, http, startForeground, type RunOptions } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
const run = (args: readonly string[], over: Partial<RunOptions> = {}) =>
  dbx(args, { home, ...over });
/** Runs `dbx schema …`; words are separated by blanks. */
const schema = (line: string, over: Partial<RunOptions> = {}) =>
  run(["schema", ...line.split(" ")], over);
const file = () => join(home, ".eventdbx", "schemas.json");

beforeEach(() => {
  dir = tempDir();
  home = dir.path;
});
afterEach(() => dir[Symbol.dispose]());

/** The life of a schema: what is typed, and what is printed. */
const life: readonly (readonly [string, string])[] = [
  [
    "create patient --events patient-added,patient-updated --snapshot-threshold 100",
    "schema=patient events=2 snapshot_threshold=100",
  ],
  [
    "create --aggregate person --events a --events b,c",
    "schema=person events=3 snapshot_threshold=none",
  ],
  [
    "create thing one two,three --snapshot-threshold 0",
    "schema=thing events=3 snapshot_threshold=0",
  ],
  [
    "add patient --events patient-moved,patient-left",
    "schema=patient added_events=patient-moved,patient-left total_events=4",
  ],
  [
    "add patient patient-moved born",
    "schema=patient added_events=patient-moved,born total_events=5",
  ],
  ["remove patient born", "schema=patient removed_event=born remaining_events=4"],
  [
    "remove --aggregate patient --event patient-left",
    "schema=patient removed_event=patient-left remaining_events=3",
  ],
  [
    "annotate patient patient-moved --note moved",
    'aggregate=patient event=patient-moved note_set="moved"',
  ],
  ["annotate patient patient-moved --clear", "aggregate=patient event=patient-moved note_cleared"],
  ["hide --aggregate patient", "aggregate=patient hidden"],
  ["unhide --aggregate patient", "aggregate=patient shown"],
  ["hide --aggregate patient --field ssn", "aggregate=patient field=ssn hidden"],
  ["hide patient name", "aggregate=patient field=name hidden"],
  ["unhide patient --field name", "aggregate=patient field=name shown"],
  ["lock patient", "aggregate=patient locked"],
  ["unlock patient", "aggregate=patient unlocked"],
  ["lock patient --field ssn", "aggregate=patient field=ssn locked"],
  ["lock patient name", "aggregate=patient field=name locked"],
  ["unlock patient name", "aggregate=patient field=name unlocked"],
  [
    "field patient age --type integer --required --min -1 --max 150",
    "aggregate=patient field=age type=integer",
  ],
  [
    "field patient mail --type text --format email --min-length 3 --max-length 99 --contains @ " +
      "--contains . --not-contains + --not-contains ? --regex ^[a-z] --regex @",
    "aggregate=patient field=mail type=text",
  ],
  [
    "field patient again --type integer --must-match age",
    "aggregate=patient field=again type=integer",
  ],
  [
    'field patient address --settings {"type":"object","properties":{"zip":"text"}}',
    "aggregate=patient field=address type=object",
  ],
  ["field patient address.city --type text", "aggregate=patient field=address.city type=text"],
  ["field patient address.zip --remove", "aggregate=patient field=address.zip removed"],
  ['field patient born --settings "date"', "aggregate=patient field=born type=date"],
  [
    "alter patient --add-fields patient-added=age,name --add-fields patient-left=age " +
      "--remove-fields patient-added=name --clear-snapshot-threshold",
    "schema=patient events=4 locked=false snapshot_threshold=none",
  ],
  [
    "alter patient --snapshot-threshold 7",
    "schema=patient events=4 locked=false snapshot_threshold=7",
  ],
  [
    'validate --aggregate patient --event patient-left --payload {"age":-1}',
    "aggregate=patient event=patient-left validation=ok",
  ],
  ["validate nobody anything {}", "aggregate=nobody event=anything validation=ok"],
  [
    "list",
    "schema=patient events=4 locked=false snapshot_threshold=7\n" +
      "schema=person events=3 locked=false snapshot_threshold=none\n" +
      "schema=thing events=3 locked=false snapshot_threshold=0",
  ],
];

/** What the file holds of the patient after that life. */
const patient = {
  aggregate: "patient",
  snapshot_threshold: 7,
  locked: false,
  field_locks: ["ssn"],
  hidden: false,
  hidden_fields: ["ssn"],
  column_types: {
    address: { type: "object", properties: { city: "text" } },
    again: { type: "integer", must_match: "age" },
    age: { type: "integer", required: true, range: { min: "-1", max: "150" } },
    born: "date",
    mail: {
      type: "text",
      contains: ["@", "."],
      does_not_contain: ["+", "?"],
      regex: ["^[a-z]", "@"],
      length: { min: 3, max: 99 },
      format: "email",
    },
  },
  events: {
    "patient-added": { fields: ["age"] },
    "patient-left": { fields: ["age"] },
    "patient-moved": { fields: [] },
    "patient-updated": { fields: [] },
  },
};

async function live(): Promise<void> {
  for (const [line, wanted] of life) {
    const { stdout, stderr, code } = await schema(line);
    expect({ stdout, code }).toEqual({ stdout: `${wanted}\n`, code: 0 });
    // What the schema does not speak of may be a slip; nothing declares these two so far.
    const isNoted = /^(hide|lock) .*(ssn|name)$/.test(line);
    const noted = `note: no column or event of patient names field=${line.split(" ").at(-1)}; `;
    expect(stderr).toBe(isNoted ? `${noted}check the name\n` : "");
  }
  const document = JSON.parse(readFileSync(file(), "utf8"));
  const { created_at, updated_at, ...rest } = document.patient;
  expect(rest).toEqual(patient);
  expect(created_at < updated_at).toBe(true);
  expect(statSync(file()).mode & 0o777).toBe(0o600);
  // What is shown is what the file says, member by member.
  const shown = await schema("show patient");
  expect(shown.stdout).toBe(`${JSON.stringify(document.patient, null, 2)}\n`);
  for (const line of ["patient", "show --aggregate patient --json", "--json patient"]) {
    expect(await schema(line)).toEqual(shown);
  }
  const listed = await schema("list --json");
  expect(listed.stdout).toBe(`${JSON.stringify(Object.values(document), null, 2)}\n`);
  const changed = await schema("lock patient ssn --json");
  expect(JSON.parse(changed.stdout)).toMatchObject(patient);
  const tried = await schema('validate patient patient-moved {"age":1} --json');
  expect(JSON.parse(tried.stdout)).toEqual({
    ...{ aggregate: "patient", event: "patient-moved" },
    validation: "ok",
  });
}

describe("every sub-command", () => {
  test("does its work with the server down", async () => {
    await live();
  }, 60_000);

  test("does the same with the server up", async () => {
    await using server = await startForeground({ home });
    await live();
    expect(server.log()).not.toContain(" error ");
  }, 60_000);

  const names = [
    ...["create", "add", "remove", "annotate", "alter", "field", "lock", "unlock", "hide"],
    ...["unhide", "validate", "list", "show"],
  ];
  test.each(names)("dbx schema %s --help teaches", async (name) => {
    const { stdout, stderr, code } = await schema(`${name} --help`);
    for (const heading of ["USAGE", "OPTIONS", "EXAMPLES", "EXIT CODES"]) {
      expect(stdout).toContain(`\n${heading}\n`);
    }
    expect(stdout).toContain(`\n  dbx schema ${name} `);
    expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThan(130);
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  });
});

/** What is typed, how stderr begins after `error: `, and the exit code. */
const wrong: readonly (readonly [string, string, number])[] = [
  ["creat order --events a", 'unknown command "creat"; did you mean dbx schema create?', 2],
  ["lst", 'unknown command "lst"; did you mean dbx schema list? There is no schema "lst"', 2],
  ["nobody", 'schema not found: "nobody" is neither a schema nor a command', 3],
  ["nobody at home", 'unknown command "nobody"', 2],
  ["show nobody", "schema not found (not_found)\n       hint:  dbx schema list\n", 3],
  ["show", "--aggregate is missing", 2],
  ["create known --events a", "schema already exists (already_exists)", 4],
  ["create order", "--events is missing", 2],
  ["create order --events a,,b", "--events[1] must not be empty", 2],
  ["create order --events=", "--events[0] must not be empty", 2],
  [
    "create order a --snapshot-threshold=-1",
    "--snapshot-threshold must be an integer of at least 0",
    2,
  ],
  ["create order --events a b", 'unexpected argument "b"', 2],
  ["add nobody a", "schema not found", 3],
  ["add known --event a", "unknown flag --event; did you mean --events?", 2],
  ["remove known other", "schema violation: event other is not defined for aggregate known", 6],
  ["remove known made", "schema violation: aggregate known must define at least one event", 6],
  ["annotate known made", "either --note must be provided or use --clear", 2],
  ["annotate known made --note x --clear", "--note cannot be combined with --clear", 2],
  ["annotate known other --note x", "invalid schema: event other is not defined for aggregate", 2],
  [
    `annotate known made --note ${"n".repeat(129)}`,
    "invalid schema: default note for event made",
    2,
  ],
  ["hide", "--aggregate is missing", 2],
  ["hide nobody", "schema not found", 3],
  ["hide known --field=", "invalid schema: field name cannot be empty", 2],
  ["field known age", "--type is missing; or say --settings or --remove", 2],
  ["field known age --min 1", "--type is missing; or say --settings or --remove", 2],
  ["field known age --type int --remove", "--remove and --type exclude each other", 2],
  ["field known age --remove --settings {}", "--settings and --remove exclude each other", 2],
  ["field known age --settings {", "--settings is not valid JSON: ", 2],
  ["field known age --type word", "invalid schema: invalid column type 'word'", 2],
  ["field known age --type int --regex a", "invalid schema: ", 2],
  ["field known age --type int --min 3 --max 2", "invalid schema: ", 2],
  ["field known age --type text --regex (", "invalid schema: ", 2],
  [
    "field known age --type text --min-length -1",
    "--min-length must be an integer of at least 0",
    2,
  ],
  ["field known no.age --type text", "invalid schema: ", 2],
  ["hide known --field address.city", "invalid schema: field address.city has a dot: only", 2],
  ["lock known address.city", "invalid schema: field address.city has a dot: only", 2],
  ["alter known --add-fields made=", "invalid schema: field names cannot be empty", 2],
  ["alter known --remove-fields made=", "invalid schema: field names cannot be empty", 2],
  ["alter known", "there is nothing to change", 2],
  ["alter known --add-fields made", '--add-fields must be EVENT=FIELD,FIELD; it is "made"', 2],
  [
    "alter known --snapshot-threshold 1 --clear-snapshot-threshold",
    "--snapshot-threshold and --clear-snapshot-threshold exclude each other",
    2,
  ],
  [
    "validate known other {}",
    "schema violation: event other is not defined for aggregate known",
    6,
  ],
  ["validate known made {", "--payload is not valid JSON: ", 2],
  ["validate known made", "--payload is missing", 2],
];

test("wrong usage says what is wrong, and changes nothing", async () => {
  await schema("create known made");
  const before = readFileSync(file(), "utf8");
  for (const [line, message, code] of wrong) {
    const ran = await schema(line);
    expect(ran.stderr).toStartWith(`error: ${message}`);
    expect({ line, stdout: ran.stdout, code: ran.code }).toEqual({ line, stdout: "", code });
  }
  expect(readFileSync(file(), "utf8")).toBe(before);
}, 60_000);

test("settings and payloads may come from a file and from stdin", async () => {
  await schema("create known made");
  writeFileSync(join(home, "age.json"), '{ "type": "integer", "range": { "max": "9" } }\n');
  expect((await schema("field known age --settings @age.json")).code).toBe(0);
  const text = await schema("field known name --settings -", { stdin: '"text"' });
  expect(text.stdout).toBe("aggregate=known field=name type=text\n");
  writeFileSync(join(home, "event.json"), '{"age":10}');
  const above = await schema("validate known made @event.json");
  expect(above.stderr).toStartWith("error: schema violation: field age must be <= 9 (schema_viol");
  expect(above.code).toBe(6);
  expect((await schema("validate known made -", { stdin: '{"age":9}' })).code).toBe(0);
});

test("a token binds here as anywhere", async () => {
  const issued = await run([..."token generate --group app --user jane --json".split(" ")]);
  const { token } = JSON.parse(issued.stdout);
  await schema("create known made");
  const denied = await schema(`lock known --token ${token}`);
  expect(denied.stderr).toContain("(permission_denied)");
  expect({ stdout: denied.stdout, code: denied.code }).toEqual({ stdout: "", code: 5 });
  expect((await schema(`show known --token ${token}`)).code).toBe(5);
  expect((await schema(`validate known made --payload {} --token ${token}`)).code).toBe(0);
  expect((await schema("known", { env: { EVENTDBX_TOKEN: token } })).code).toBe(5);
  expect((await schema("known", { env: { EVENTDBX_TOKEN: "EVT-none" } })).code).toBe(5);
});

describe("a running server", () => {
  const issue = async () => {
    const issued = await run([..."token generate --group admin --user jane --json".split(" ")]);
    return String(JSON.parse(issued.stdout).token);
  };
  const appending = (port: number, token: string) => async (type: string, event: string) => {
    const body = `{"aggregate_type":"${type}","aggregate_id":"1","event_type":"${event}","payload":{}}`;
    const { status, text } = await http(port, "/v1/events", { token, body });
    return status === 200 ? "fine" : `${status} ${JSON.parse(text).message}`;
  };
  const undefinedEvent = (event: string, type: string) =>
    `400 schema violation: event ${event} is not defined for aggregate ${type}`;

  test("is bound by the next command and by an edit, at once", async () => {
    await using server = await startForeground({ home });
    const append = appending(server.port, await issue());
    expect(await append("order", "any")).toBe("fine");
    await schema("create order --events placed");
    expect(await append("order", "any")).toBe(undefinedEvent("any", "order"));
    expect(await append("order", "placed")).toBe("fine");
    await schema("add order any");
    expect(await append("order", "any")).toBe("fine");
    const text = readFileSync(file(), "utf8");
    writeFileSync(file(), text.replaceAll('"placed"', '"edited"'));
    expect(await append("order", "placed")).toBe(undefinedEvent("placed", "order"));
    expect(await append("order", "edited")).toBe("fine");
    expect((await schema("lock order")).code).toBe(0);
    expect(await append("order", "edited")).toBe(
      "400 schema violation: aggregate order is locked for updates",
    );
    const refused = await run(["aggregate", "apply", "order", "1", "edited", "--payload={}"]);
    expect(refused.code).toBe(6);
    expect(refused.stderr).toEndWith("       hint:  dbx schema show order\n");
  });

  test("keeps the last good schemas while the file is damaged, and says so", async () => {
    await schema("create order --events placed");
    const good = readFileSync(file(), "utf8");
    await using server = await startForeground({ home });
    const append = appending(server.port, await issue());
    const damaged = good.slice(0, -10);
    writeFileSync(file(), damaged);
    for (let round = 0; round < 3; round++) {
      expect(await append("order", "placed")).toBe("fine");
      expect(await append("order", "other")).toBe(undefinedEvent("other", "order"));
    }
    await server.until(" error document damaged; the last good one stays ");
    expect(server.log().split(" error ")).toHaveLength(2);
    const refused = await schema("lock order");
    expect(refused.stderr).toStartWith("error: schemas cannot be changed before the file is rep");
    expect(refused.code).toBe(4);
    const status = JSON.parse((await run(["status", "--json"])).stdout);
    expect(status.figures.schemas_fault).toEndWith(` (${file()})`);
    expect((await run(["status"])).stdout).toContain(
      "\n  schemas_fault: schemas.json is no JSON: ",
    );
    const restarted = await run(["restart"]);
    expect(restarted.stderr).toContain("no server would start now: schemas.json is no JSON: ");
    expect({ stdout: restarted.stdout, code: restarted.code }).toEqual({ stdout: "", code: 4 });
    expect(readFileSync(file(), "utf8")).toBe(damaged);
    writeFileSync(file(), good.replaceAll("placed", "mended"));
    expect(await append("order", "mended")).toBe("fine");
    expect((await schema("lock order")).code).toBe(0);
  });

  test("does not start on a damaged file, and neither does a command", async () => {
    await schema("create order --events placed");
    writeFileSync(file(), "{}}");
    for (const args of [["start"], ["schema", "list"], ["aggregate", "list"]]) {
      const { stdout, stderr, code } = await run(args);
      expect(stderr).toContain(file());
      expect({ stdout, code }).toEqual({ stdout: "", code: 8 });
      if (args[0] !== "start") expect(stderr).toEndWith("hint:  edit that file, or restore it\n");
    }
    expect(readFileSync(file(), "utf8")).toBe("{}}");
    writeFileSync(file(), "{}");
    expect(await schema("list")).toEqual({ stdout: "", stderr: "", code: 0 });
  });
});
