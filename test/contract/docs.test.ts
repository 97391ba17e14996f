/**
 * The documentation says what the code does: generated tables are fresh, nothing that exists is
 * left out, links lead somewhere, and the formats it publishes are the ones that are hashed.
 */
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { refresh } from "../../scripts/generate.ts";
import { root } from "../../scripts/root.ts";
import { routes } from "../../src/api/routes.ts";
import { commands } from "../../src/cli/cli.ts";
import type { Command, Group } from "../../src/cli/command.ts";
import { configKeys } from "../../src/cli/keys.ts";
import { canonicalize } from "../../src/model/canonical.ts";
import { emptyRoot } from "../../src/model/merkle.ts";
import { contentDigest, eventHash } from "../../src/model/plan.ts";
import { blocksOf, type Block } from "../support/readme.ts";
import { openStore, root as actor } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const readme = readFileSync(join(root, "README.md"), "utf8");
const blocks = blocksOf(readme);
const prose = withoutBlocks(readme);

function withoutBlocks(markdown: string): string {
  const lines = markdown.split("\n");
  for (const { line, text } of blocksOf(markdown)) {
    lines.fill("", line - 1, line + text.split("\n").length + 1);
  }
  return lines.join("\n");
}

describe("the generated tables of README.md", () => {
  test("are what `node_modules/.bin/bun run generate` writes", async () => {
    const fresh = (await refresh(readme)) === readme;
    expect(fresh ? "fresh" : "stale: run `node_modules/.bin/bun run generate`").toBe("fresh");
  });
  test("are made again where somebody wrote into them, and nothing else is touched", async () => {
    const [inside, outside] = ["| `port` ", "# dbx\n"];
    const fresh = await refresh(readme);
    const edited = fresh.replace(inside, "| `gate` ").replace(outside, "# another\n");
    expect(await refresh(edited)).toBe(fresh.replace(outside, "# another\n"));
  });
  test("are refused without their markers, rather than silently left out", async () => {
    const broken = readme.replace("<!-- generated:errors:end -->\n", "");
    expect(refresh(broken)).rejects.toThrow("<!-- generated:errors:end -->");
  });
});

describe("README.md leaves nothing out:", () => {
  test("every command has a heading", async () => {
    const names = await commandNames(commands, "dbx");
    expect(names.length).toBeGreaterThan(10);
    expect(names.filter((name) => !prose.includes(`# \`${name}\`\n`))).toEqual([]);
  });
  test("every command takes --json, as the page says", async () => {
    const all = await Promise.all(
      (await commandNames(commands, "dbx")).map(async (name) => [name, await find(name)] as const),
    );
    const without = all.filter(
      ([, node]) => node.kind === "command" && !("json" in node.flags.properties),
    );
    expect(without.map(([name]) => name)).toEqual([]);
  });
  test("every route is in the table and in an example", () => {
    const examples = blocks.filter(({ language }) => language === "sh").map(({ text }) => text);
    const missing = routes.filter(({ method, path }) => {
      const pattern = RegExp.escape(path).replaceAll(/\\\{\w+\\\}/g, "[\\w$-]+");
      const inExample = examples.some((text) => new RegExp(`${pattern}(?![/\\w])`).test(text));
      // For the machine's own command line alone, which proves itself as no reader can.
      const exampleIsCommand =
        path === "/admin/key/rotate" && examples.some((text) => text.includes("--rotate-dek -"));
      return !prose.includes(`\`${method} ${path}\``) || !(inExample || exampleIsCommand);
    });
    expect(missing.map(({ method, path }) => `${method} ${path}`)).toEqual([]);
  });
  test("every key of the configuration that does something", () => {
    const keys = configKeys.filter(({ reserved }) => !reserved).map(({ name }) => name);
    expect(keys.length).toBeGreaterThan(8);
    expect(keys.filter((name) => !prose.includes(`| \`${name}\` `))).toEqual([]);
  });
});

async function commandNames(group: Group, path: string): Promise<string[]> {
  const names: string[] = [];
  for (const [word, load] of Object.entries(group.commands)) {
    const node = await load();
    names.push(`${path} ${word}`);
    if (node.kind === "group") names.push(...(await commandNames(node, `${path} ${word}`)));
  }
  return names;
}

async function find(name: string): Promise<Command | Group> {
  let node: Command | Group = commands;
  for (const word of name.split(" ").slice(1)) {
    const load: (() => Promise<Command | Group>) | undefined =
      node.kind === "group" ? node.commands[word] : undefined;
    if (load === undefined) throw new Error(`${name} does not exist`);
    node = await load();
  }
  return node;
}

describe("links", () => {
  const pages = [
    "README.md",
    "CHANGELOG.md",
    "src/DESIGN.md",
    "proto/README.md",
    "capnp/README.md",
  ];
  for (const path of pages) {
    test(`in ${path} lead to a file of the checkout or a heading that exists`, () => {
      const text = withoutBlocks(readFileSync(join(root, path), "utf8"));
      const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target]) => target ?? []);
      const broken = targets.filter((target) => {
        if (target.startsWith("https://")) return false;
        if (target.startsWith("#")) return !anchorsOf(text).has(target.slice(1));
        return !existsSync(join(root, path, "..", target));
      });
      expect(broken).toEqual([]);
    });
  }
  test("are found at all, so that the rule above does not run over nothing", () => {
    expect(prose.match(/\]\(#/g)?.length ?? 0).toBeGreaterThan(10);
  });
});

/** As the usual Markdown hosts make them: lower case, blanks to hyphens, signs dropped. */
function anchorsOf(markdown: string): Set<string> {
  const headings = [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => heading);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

describe("published formats", () => {
  test("every JSON block is JSON", () => {
    const json = blocks.filter(({ language }) => language === "json");
    expect(json.length).toBeGreaterThan(4);
    for (const { text } of json) expect(() => JSON.parse(text)).not.toThrow();
  });
  test("numbers are spelled as the page says", () => {
    const pairs = [...prose.matchAll(/`([\d.eE+]+)` (?:→\s+|comes back as\s+)`([\d.eE+]+)`/g)];
    expect(pairs.length).toBeGreaterThanOrEqual(4);
    for (const [, sent = "", kept = ""] of pairs) {
      expect(String(canonicalize(sent))).toBe(kept);
    }
    for (const kept of ["9007199254740993", "1e400", "1.0000000000000000001"]) {
      expect(prose).toContain(kept);
      expect(String(canonicalize(kept))).toBe(kept);
    }
  });
  test("the vector is what dbx itself computes", () => {
    const shell = blocks.find(({ text }) => text.startsWith("salt="))?.text ?? "";
    const [salt = "", content = "", members = ""] = [
      /^salt='(.+)'$/m,
      /printf '%s' '(\{.+\})'/,
      /^leaf='(.+)'$/m,
    ].map((pattern) => pattern.exec(shell)?.[1] ?? "");
    const bytes = salt.split("\\").slice(1);
    const { note }: { note: null } = JSON.parse(content);
    const payload = canonicalize(/"payload":(.+)\}$/.exec(content)?.[1] ?? "");
    const content_digest = contentDigest({
      salt: Uint8Array.from(bytes, (octal) => Number.parseInt(octal, 8)),
      note,
      payload,
    });
    const leaf = JSON.parse(members.replaceAll(/'\$\w+'/g, ""));
    const hash = eventHash({ ...leaf, content_digest, previous_root: emptyRoot });

    expect(bytes).toHaveLength(16);
    const shown = `content_digest ${hex(content_digest)}\nhash           ${hex(hash)}`;
    expect(blocks.map(({ text }) => text)).toContain(shown);
  });
  test("a record is verified by the page's recipe alone, without code of dbx", async () => {
    using place = tempDir();
    await using store = await openStore(place.path);
    const event = { aggregate_type: "patient", aggregate_id: "p-001", event_type: "seen" };
    const notes = ["first", null];
    for (const [index, note] of notes.entries()) {
      const payload = canonicalize(`{"at":${index},"é":[9007199254740993,1e400]}`);
      await store.dbx.appendEvent(actor, { ...event, payload, note });
    }

    const records = await store.dbx.listEvents(actor, {
      aggregate_type: "patient",
      aggregate_id: "p-001",
    });

    let previous_root = hex(sha256(""));
    const leaves: Uint8Array[] = [];
    for (const record of records) {
      const { salt, content_digest } = saltOf(place.path, record.position);
      const { event_id, created_at, issued_by, note = null } = record.metadata;
      const content = `{"note":${JSON.stringify(note)},"payload":${record.payload}}`;
      const digest = hex(sha256(Uint8Array.fromHex(salt), content));
      expect(digest).toBe(content_digest);
      const issuer = issued_by === null ? null : { group: issued_by.group, user: issued_by.user };
      const leaf = {
        ...{ aggregate_id: record.aggregate_id, aggregate_type: record.aggregate_type },
        ...{ content_digest: digest, created_at, event_id, event_type: record.event_type },
        ...{ issued_by: issuer, previous_root, version: record.version },
      };
      leaves.push(sha256(Uint8Array.of(0), JSON.stringify(leaf)));
      expect(record.hash).toBe(hex(leaves.at(-1) ?? sha256("")));
      previous_root = hex(treeOf(leaves));
      expect(record.merkle_root).toBe(previous_root);
    }
    expect(records).toHaveLength(notes.length);
  });
});

const hex = (bytes: Uint8Array): string => bytes.toHex();

function sha256(...parts: (string | Uint8Array)[]): Uint8Array {
  const hasher = new Bun.CryptoHasher("sha256");
  for (const part of parts) hasher.update(part);
  return new Uint8Array(hasher.digest());
}

/** RFC 6962, section 2.1, as it is written there. */
function treeOf(leaves: readonly Uint8Array[]): Uint8Array {
  const [first = sha256("")] = leaves;
  if (leaves.length < 2) return first;
  const split = 2 ** Math.floor(Math.log2(leaves.length - 1));
  return sha256(Uint8Array.of(1), treeOf(leaves.slice(0, split)), treeOf(leaves.slice(split)));
}

/** Runs the page's own statement for an event, beside the open store. */
function saltOf(data_dir: string, position: number) {
  const found: Block | undefined = blocks.find(({ language }) => language === "sql");
  const statement = found?.text.replace("event.position = 1", "event.position = ?") ?? "";
  using database = new Database(join(data_dir, "dbx.db"), { readonly: true });
  const row = database.query(statement).get(position);
  return row as { salt: string; content_digest: string };
}
