// The format of a backup from within: tar that other tools read, segments that nobody can cut or
// swap, chunks that find again what has changed.

import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { changedChunks, chunksOf, indexFile, readChanged } from "../../src/backup/chunks.ts";
import { isSealedBackup, sealSegments, unsealSegments } from "../../src/backup/segments.ts";
import { readTar, tarEnd, tarHeader, tarPadding } from "../../src/backup/tar.ts";
import { chunkBytes } from "../../src/model/backup.ts";
import { tempDir } from "../support/temp.ts";

async function* piecesOf(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function joined(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const piece of source) parts.push(piece);
  return Buffer.concat(parts);
}

const codeOf = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => "no error",
    (error) => error.code,
  );

describe("segments", () => {
  const passphrase = "correct horse battery";
  const salt = new Uint8Array(16).fill(7);
  const plain = Buffer.from(Array.from({ length: 3 * 65_536 }, (_, at) => at % 251));
  const seal = (content: Uint8Array) =>
    joined(sealSegments(piecesOf(content, 10_000), { passphrase, salt, log_n: 12 }));
  const open = (sealed: Uint8Array, word = passphrase) =>
    joined(unsealSegments(piecesOf(sealed, 7_777), word));
  const header = 12 + 1 + 3 + 16 + 32;
  const segment = 65_536 + 16;

  test("give back what was sealed, around each edge of a segment", async () => {
    for (const length of [0, 1, 65_535, 65_536, 65_537, plain.length]) {
      const content = plain.subarray(0, length);
      const sealed = await seal(content);
      expect(isSealedBackup(sealed)).toBe(true);
      expect((await open(sealed)).equals(content)).toBe(true);
    }
  }, 60_000);

  test("refuse a wrong passphrase, and say that it is that", async () => {
    const sealed = await seal(plain);
    expect(await codeOf(open(sealed, "correct horse batterY"))).toBe("failed_precondition");
  }, 30_000);

  test("refuse a changed byte, a cut, a swap, a repetition, and what is added", async () => {
    const sealed = await seal(plain);
    const at = (number: number) => header + number * segment;
    const [one, two] = [sealed.subarray(at(0), at(1)), sealed.subarray(at(1), at(2))];
    const changed = Buffer.from(sealed);
    changed.writeUInt8(changed.readUInt8(at(1) + 5) ^ 1, at(1) + 5);
    const cases: Record<string, Uint8Array> = {
      changed,
      "cut at a segment": sealed.subarray(0, at(2)),
      "cut in a segment": sealed.subarray(0, at(2) + 100),
      "cut after the header": sealed.subarray(0, header),
      swapped: Buffer.concat([sealed.subarray(0, at(0)), two, one, sealed.subarray(at(2))]),
      repeated: Buffer.concat([sealed.subarray(0, at(1)), sealed.subarray(at(0))]),
      added: Buffer.concat([sealed, two]),
    };
    for (const [name, bytes] of Object.entries(cases)) {
      expect({ name, code: await codeOf(open(bytes)) }).toEqual({ name, code: "data_corrupted" });
    }
  }, 60_000);

  test("refuse a cost that would take all memory, before it is paid", async () => {
    const sealed = await seal(plain);
    sealed.writeUInt8(30, 13);
    expect(await codeOf(open(sealed))).toBe("data_corrupted");
  }, 30_000);
});

describe("tar", () => {
  const files = [
    { path: "data/a", content: Buffer.from("abc"), executable: false },
    { path: `data/${"long/".repeat(30)}name`, content: Buffer.alloc(513, 1), executable: true },
    { path: "data/über alles", content: Buffer.alloc(0), executable: false },
    { path: "x".repeat(100), content: Buffer.alloc(512, 2), executable: false },
  ];
  const packed = Buffer.concat([
    ...files.flatMap(({ path, content, executable }) => [
      tarHeader({ path, bytes: content.length, executable, modified: 1 }),
      content,
      tarPadding(content.length),
    ]),
    tarEnd(),
  ]);

  test("comes back as it was written, in whatever pieces", async () => {
    for (const size of [1, 511, 512, 10_000]) {
      const found: unknown[] = [];
      for await (const { path, executable, content } of readTar(piecesOf(packed, size))) {
        found.push({ path, content: await joined(content), executable });
      }
      expect(found).toEqual(files);
    }
  });

  test("goes on behind what nobody read", async () => {
    const paths: string[] = [];
    for await (const { path } of readTar(piecesOf(packed, 100))) paths.push(path);
    expect(paths).toEqual(files.map(({ path }) => path));
  });

  test("is refused wherever it is cut, and where something follows", async () => {
    const read = async (bytes: Uint8Array) => {
      for await (const { content } of readTar(piecesOf(bytes, 999))) await joined(content);
    };
    for (let length = 0; length < packed.length - 512; length += 199) {
      expect(await codeOf(read(packed.subarray(0, length)))).toBe("data_corrupted");
    }
    const more = Buffer.concat([packed, Buffer.from("more")]);
    expect(await codeOf(read(more))).toBe("data_corrupted");
  });

  test("has sizes beyond what octal digits hold", async () => {
    const bytes = 9 * 2 ** 30;
    const header = tarHeader({ path: "data/dbx.db", bytes, executable: false, modified: 1 });
    for await (const entry of readTar(piecesOf(header, 512))) {
      expect(entry.bytes).toBe(bytes);
      return;
    }
    throw new Error("there is an entry");
  });

  test("is read by the system's tar", async () => {
    using dir = tempDir();
    const file = join(dir.path, "a.tar");
    writeFileSync(file, packed);
    const { stdout, exitCode } = Bun.spawnSync(["tar", "-tf", file], {
      env: { PATH: process.env["PATH"] ?? "", LC_ALL: "C.UTF-8" },
    });
    expect(exitCode).toBe(0);
    expect(stdout.toString().trim().split("\n")).toHaveLength(files.length);
    expect(stdout.toString()).toContain(files[1]?.path ?? "missing");
  });
});

describe("chunks", () => {
  test("of any two files: the older one with the changes is the newer one", async () => {
    using dir = tempDir();
    const at = (name: string) => join(dir.path, name);
    let round = 0;
    const bytes = fc.integer({ min: 0, max: 5 * chunkBytes });
    const writes = fc.array(fc.tuple(bytes, fc.integer({ min: 0, max: 255 })), { maxLength: 4 });
    const property = fc.asyncProperty(bytes, bytes, writes, async (length, later, changes) => {
      const own = round++;
      const older = Buffer.alloc(length, 1);
      const newer = Buffer.alloc(later, 1);
      for (const [place, value] of changes) if (place < later) newer[place] = value;
      writeFileSync(at(`${own}.old`), older);
      writeFileSync(at(`${own}.new`), newer);
      const options = { list: at(`${own}.list`), incremental: true, seen: () => undefined };
      const first = { ...options, index: at(`${own}.first`), base: null };
      const all = await indexFile(at(`${own}.old`), first);
      expect(all.changed?.chunks).toBe(Math.ceil(length / chunkBytes));
      const second = { ...options, index: at(`${own}.second`), base: first.index };
      const { changed_bytes, changed } = await indexFile(at(`${own}.new`), second);
      const packed = await joined(changedChunks(at(`${own}.new`), second.list));
      expect(packed.length).toBe(changed_bytes);
      const result = Buffer.alloc(later);
      older.copy(result);
      let chunks = 0;
      for await (const { number, chunk } of readChanged(piecesOf(packed, 5_000), later)) {
        chunk.copy(result, number * chunkBytes);
        chunks++;
      }
      expect(chunks).toBe(changed?.chunks ?? -1);
      expect(result.equals(newer)).toBe(true);
    });
    const outcome = await fc.check(property, { numRuns: 60 });
    if (outcome.failed)
      throw new Error(`seed ${outcome.seed}: ${fc.defaultReportMessage(outcome)}`);
  }, 30_000);

  test("are cut anew from any pieces", async () => {
    const bytes = Buffer.from(Array.from({ length: 2 * chunkBytes + 5 }, (_, at) => at % 256));
    for (const size of [100, chunkBytes - 1, chunkBytes, 50_000]) {
      const lengths: number[] = [];
      for await (const chunk of chunksOf(piecesOf(bytes, size))) lengths.push(chunk.length);
      expect(lengths).toEqual([chunkBytes, chunkBytes, 5]);
      expect((await joined(chunksOf(piecesOf(bytes, size)))).equals(bytes)).toBe(true);
    }
  });
});
