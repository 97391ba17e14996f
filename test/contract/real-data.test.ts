// The registry of language subtags (IANA, by way of the package language-subtag-registry, CC0):
// nine thousand records that nobody made for dbx, with lists, objects and names in many scripts.
// Loaded over REST, one by one and in batches, and by command line; read back on both; compared
// with the source as canonical text.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/root.ts";
import { referenceCanonical } from "../support/canonical-reference.ts";
import { dbx, http, startForeground, type RunningServer } from "../support/cli.ts";
import { tempDir } from "../support/temp.ts";

interface Source {
  readonly aggregate_type: string;
  readonly aggregate_id: string;
  /** Canonical text by the tests' own reference implementation. */
  readonly canonical: string;
}

const folder = join(root, "node_modules/language-subtag-registry/data/json");
const registryText = readFileSync(join(folder, "registry.json"), "utf8");
const indexText = readFileSync(join(folder, "index.json"), "utf8");
const registry: Record<string, string | string[]>[] = JSON.parse(registryText);

const sources = registry.map((entry): Source => {
  const id = String(entry["Subtag"] ?? entry["Tag"]);
  return {
    aggregate_type: String(entry["Type"]),
    aggregate_id: id,
    canonical: canonicalText(JSON.stringify(entry)),
  };
});
const byCommand = sources.filter(({ aggregate_type }) =>
  ["script", "variant"].includes(aggregate_type),
);
const byRest = sources.filter((source) => !byCommand.includes(source));
const single = byRest.filter((_, index) => index % 4 === 0);
const batched = byRest.filter((_, index) => index % 4 !== 0);
/** One large document of nested objects and numbers. */
const index: Source = {
  aggregate_type: "index",
  aggregate_id: "all",
  canonical: canonicalText(indexText),
};

const connections = 16;
const batch_events = 500;
const count = sources.length + 2;

function canonicalText(json: string): string {
  const text = referenceCanonical(json);
  if (text === null) throw new Error("the source is JSON");
  return text;
}

const body = ({ aggregate_type, aggregate_id }: Source, payload: string): string => {
  const names = JSON.stringify({ aggregate_type, aggregate_id, event_type: "registered" });
  // Spliced in as text, so that it reaches the server as it is written.
  return `${names.slice(0, -1)},"payload":${payload}}`;
};

describe("a real public data set", () => {
  const dir = tempDir();
  const home = dir.path;
  let server: RunningServer;
  let token: string;

  beforeAll(async () => {
    server = await startForeground({ home });
    const issued = await dbx(
      ["token", "generate", "--group", "admin", "--user", "loader", "--json"],
      {
        home,
      },
    );
    token = JSON.parse(issued.stdout).token;
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    dir[Symbol.dispose]();
  });

  const post = async (path: string, text: string): Promise<string> => {
    const answer = await http(server.port, path, { token, body: text });
    if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text.slice(0, 500)}`);
    return answer.text;
  };
  const get = async (path: string): Promise<Response> => {
    const answer = await fetch(`http://127.0.0.1:${server.port}${path}`, {
      headers: { Authorization: `Bearer ${token}` },
    });
    expect(answer.status).toBe(200);
    return answer;
  };
  /** Many command lines in one process: its stdout, or its stderr as an error. */
  const commands = async (lines: readonly (readonly string[])[]): Promise<string> => {
    const argv = [process.execPath, "--no-env-file", join(root, "test/support/real-data-cli.ts")];
    const child = Bun.spawn(argv, {
      env: { PATH: process.env["PATH"] ?? "", HOME: home, USER: "tester" },
      cwd: home,
      stdin: new Blob([lines.map((line) => JSON.stringify(line)).join("\n")]),
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    if ((await child.exited) !== 0) throw new Error(stderr);
    return stdout;
  };

  test("is large, nested and not only ASCII", () => {
    expect(sources.length).toBeGreaterThan(9_000);
    expect(new Set(sources.map((each) => `${each.aggregate_type}/${each.aggregate_id}`)).size).toBe(
      sources.length,
    );
    const foreign = sources.filter(({ canonical }) => /[^\u0000-\u007f]/.test(canonical));
    expect(foreign.length).toBeGreaterThan(400);
    expect(sources.every(({ canonical }) => canonical.includes('"Description":["'))).toBe(true);
    expect(byCommand.length).toBeGreaterThan(300);
  });

  test("goes in over REST, one record at a time", async () => {
    let next = 0;
    const load = async () => {
      for (let source = single[next++]; source !== undefined; source = single[next++]) {
        const answer = await post("/v1/events", body(source, source.canonical));
        expect(answer).toContain(`"payload":${source.canonical}`);
        expect(answer).toContain('"version":1');
      }
    };
    await Promise.all(Array.from({ length: connections }, load));
  });

  test("goes in over REST in batches", async () => {
    for (let first = 0; first < batched.length; first += batch_events) {
      const part = batched.slice(first, first + batch_events);
      const events = part.map((source) => body(source, source.canonical)).join(",");
      const answer = await post("/v1/events/batch", `{"events":[${events}]}`);
      expectInOrder(answer, part);
    }
  });

  test("goes in as one large document, with its white space and its order of members", async () => {
    const answer = await post("/v1/events", body(index, indexText));
    expect(answer).toContain(`"payload":${index.canonical}`);
  });

  test("goes in by command line from files", async () => {
    const lines = byCommand.map((source, nth) => {
      const file = join(home, `record-${nth}.json`);
      // Laid out for people, as files are.
      writeFileSync(file, JSON.stringify(JSON.parse(source.canonical), null, 2));
      const { aggregate_type, aggregate_id } = source;
      return [
        ...["aggregate", "apply", aggregate_type, aggregate_id, "registered"],
        ...["--payload", `@${file}`],
      ];
    });
    const again = ["aggregate", "apply", "index", "all", "registered"];
    const printed = await commands([
      ...lines,
      [...again, "--payload", `@${join(folder, "index.json")}`],
    ]);
    expectInOrder(withoutBlanks(printed), [...byCommand, index].map(squeezed));
  });

  test("comes back from the log in order, every payload as canonical text", async () => {
    const expected = new Map(sources.map((source) => [keyOf(source), source]));
    expected.set(keyOf(index), index);
    const found = new Map<string, number>();
    for (let after = 0; after < count;) {
      const text = await (await get(`/v1/events?after=${after}&take=1000`)).text();
      const records: (Source & { position: number; hash: string })[] = JSON.parse(text);
      if (records.length === 0) break;
      expectInOrder(
        text,
        records.map((record) => sourceOf(expected, record)),
      );
      for (const record of records) {
        expect(record.position).toBe(++after);
        found.set(keyOf(record), (found.get(keyOf(record)) ?? 0) + 1);
      }
    }
    expect(found.size).toBe(sources.length + 1);
    expect([...found].filter(([, times]) => times !== 1)).toEqual([[keyOf(index), 2]]);
  });

  test("comes back as aggregates whose state is the record", async () => {
    const expected = new Map([...sources, index].map((source) => [keyOf(source), source]));
    let cursor: string | null = "";
    let seen = 0;
    while (cursor !== null) {
      const answer = await get(`/v1/aggregates?take=1000${cursor && `&cursor=${cursor}`}`);
      const text = await answer.text();
      const aggregates: Source[] = JSON.parse(text);
      let at = 0;
      for (const aggregate of aggregates) {
        // Every member is a text, a list or an object, so folding changes nothing.
        const member = `"state":${sourceOf(expected, aggregate).canonical}`;
        at = text.indexOf(member, at);
        if (at === -1) throw new Error(`the state of ${keyOf(aggregate)} is not its record`);
        at += member.length;
      }
      seen += aggregates.length;
      const next = answer.headers.get("X-Next-Cursor");
      cursor = next === null ? null : encodeURIComponent(next);
    }
    expect(seen).toBe(expected.size);
  });

  test("comes back by command line, and is proved, also with the server down", async () => {
    const some = sources.filter((_, nth) => nth % 40 === 0);
    const lines = [
      ...some.map((each) => ["aggregate", "get", each.aggregate_type, each.aggregate_id, "--json"]),
      ["aggregate", "verify", "--all", "--json"],
    ];
    const up = await commands(lines);
    server.kill("SIGTERM");
    expect(await server.exited).toBe(0);
    const down = await commands(lines);
    expect(down).toBe(up);
    const text = withoutBlanks(down);
    let at = 0;
    for (const source of some) {
      const state = `"state":${squeezed(source).canonical}`;
      at = text.indexOf(state, at);
      if (at === -1) throw new Error(`the state of ${keyOf(source)} is not its record`);
      at += state.length;
    }
    expect(text).toContain(`"aggregates":${sources.length + 1},`);
    expect(text).toContain(`"position":${count}`);
  });
});

const keyOf = ({ aggregate_type, aggregate_id }: Source): string =>
  `${aggregate_type}/${aggregate_id}`;

function sourceOf(expected: ReadonlyMap<string, Source>, key: Source): Source {
  const source = expected.get(keyOf(key));
  if (source === undefined) throw new Error(`${keyOf(key)} was never loaded`);
  return source;
}

/** The payloads stand in the text exactly so, one after the other. */
function expectInOrder(text: string, expected: readonly Source[]): void {
  let at = 0;
  for (const source of expected) {
    const member = `"payload":${source.canonical}`;
    at = text.indexOf(member, at);
    if (at === -1) throw new Error(`the payload of ${keyOf(source)} is not what was sent`);
    at += member.length;
  }
}

/**
 * Output for people is laid out; without any blank, also in texts, it can be compared with
 * canonical text.
 */
const withoutBlanks = (text: string): string => text.replaceAll(/\s+/g, "");
const squeezed = (source: Source): Source => ({
  ...source,
  canonical: withoutBlanks(source.canonical),
});
