// Bundles that mean harm, as tar and as zip: each is refused for what it does, and leaves nothing.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { limits } from "../../src/model/limits.ts";
import { tempDir, type TempDir } from "../support/temp.ts";
import { paxRecord, tarGzOf, tarHeader, tarOf, zipOf, type Entry } from "./archives.ts";
import { siteIn, type Site } from "./installing.ts";

let dir: TempDir;
let site: Site;
beforeEach(() => {
  dir = tempDir();
  site = siteIn(dir.path);
});
afterEach(() => dir[Symbol.dispose]());

const one: Entry[] = [{ name: "search", content: "program" }];
const big = Buffer.alloc(17_000_000);
const isFile = 0o100_644;
const hostileTars: [string, RegExp, Entry[] | Buffer][] = [
  ["a name that climbs out", /leads out/, [{ name: "../search", content: "x" }]],
  ["a name that climbs in between", /leads out/, [{ name: "a/../../search", content: "x" }]],
  ["an absolute name", /absolute/, [{ name: "/etc/cron.d/search", content: "x" }]],
  ["a drive", /absolute/, [{ name: "C:search", content: "x" }]],
  ["a backslash", /characters/, [{ name: "a\\..\\b", content: "x" }]],
  ["a control character", /characters/, [{ name: "a\nb", content: "x" }]],
  ["a name that is not UTF-8", /UTF-8/, [{ name: Buffer.from([0xff, 0x61]), content: "x" }]],
  ["a symbolic link", /symbolic link/, [{ name: "search", kind: "2", link: "/etc/passwd" }]],
  ["a hard link", /hard link/, [{ name: "search", kind: "1", link: "/etc/passwd" }]],
  ["a device", /device/, [{ name: "search", kind: "3" }]],
  ["a pipe", /pipe/, [{ name: "search", kind: "6" }]],
  ["a sparse file", /sparse/, [{ name: "search", kind: "S" }]],
  [
    "the same name twice",
    /twice/,
    [
      { name: "search", content: "1" },
      { name: "./search", content: "2" },
    ],
  ],
  [
    "names that are one on some systems",
    /one name on some systems/,
    [
      { name: "Bin/search", content: "1" },
      { name: "bin/other", content: "2" },
    ],
  ],
  [
    "a file that is also a directory",
    /twice/,
    [
      { name: "a", content: "1" },
      { name: "a/search", content: "2" },
    ],
  ],
  ["a size that is longer than it", /too early/, [{ name: "a", content: "x", size: 5_000 }]],
  ["a size of terabytes", /size/, [{ name: "a", content: "x", size: 0o77777777777 }]],
  ["a size that is no number", /tar archive/, tarOf([{ name: "a" }]).fill("9", 124, 130)],
  [
    "an extended header that is broken",
    /extended header/,
    [{ name: "x", kind: "x", content: "999 path=x\n" }],
  ],
  [
    "a negative size in an extended header",
    /size/,
    [{ name: "x", kind: "x", content: paxRecord("size", "-1") }],
  ],
  ["an extended header of megabytes", /too large/, [{ name: "x", kind: "x", content: big }]],
  ["no end", /too early/, tarHeader({ name: "search" })],
  [
    "a name that is too long",
    /too long/,
    [{ name: "x", kind: "L", content: "n".repeat(2_000) }, { name: "a" }],
  ],
  ["names that are too deep", /too deep/, [{ name: "a/".repeat(40) + "b", content: "x" }]],
  [
    "more entries than anybody needs",
    /more than 10000 entries/,
    Array.from({ length: limits.plugin_bundle_entries_max + 1 }, () => ({ name: "d/", kind: "5" })),
  ],
];
const hostileZips: [string, RegExp, Buffer][] = [
  ["a name that climbs out", /leads out/, zipOf([{ name: "../search", content: "x" }])],
  ["an absolute name", /absolute/, zipOf([{ name: "/search", content: "x" }])],
  ["a backslash", /characters/, zipOf([{ name: "..\\search", content: "x" }])],
  ["a name that is not UTF-8", /UTF-8/, zipOf([{ name: Buffer.from([0xff]), content: "x" }])],
  [
    "a symbolic link",
    /symbolic link/,
    zipOf([{ name: "search", content: "/etc/passwd", attributes: 0o120_777 }]),
  ],
  ["a device", /plain file/, zipOf([{ name: "search", attributes: 0o020_666 }])],
  ["a pipe", /plain file/, zipOf([{ name: "search", attributes: 0o010_666 }])],
  [
    "the same name twice",
    /twice/,
    zipOf([
      { name: "search", content: "1" },
      { name: "search", content: "2" },
    ]),
  ],
  ["a size that is too small", /zip archive/, zipOf([{ name: "a", content: "four", size: 2 }])],
  ["a size that is too large", /zip archive/, zipOf([{ name: "a", content: "four", size: 9 }])],
  [
    "a stored size that lies",
    /zip archive/,
    zipOf([{ name: "a", content: "four", size: 2, stored: true }]),
  ],
  ["a checksum that lies", /checksum/, zipOf([{ name: "a", content: "four", crc: 7 }])],
  ["a count that lies", /zip archive/, zipOf([{ name: "a", attributes: isFile }], { count: 2 })],
  ["a huge count", /more than 10000 entries/, zipOf([{ name: "a" }], { count: 60_000 })],
  ["its end cut off", /zip archive/, zipOf([{ name: "a", content: "four" }]).subarray(0, -30)],
];

describe("a hostile bundle", () => {
  test.each(hostileTars)("as tar, with %s, leaves nothing", async (_, message, content) => {
    const plain = Buffer.isBuffer(content) ? content : tarOf(content);
    for (const bundle of [plain, gzipSync(plain)]) {
      const error = await site.refusal({ source: site.put("hostile.tar", bundle) });
      expect(error.message).toMatch(message);
      expect(["failed_precondition", "too_large"]).toContain(error.code);
      expect(site.found()).toEqual({});
      expect(readdirSync(dir.path).sort()).toEqual(["data", "hostile.tar"]);
    }
  });

  test.each(hostileZips)("as zip, with %s, leaves nothing", async (_, message, bundle) => {
    const error = await site.refusal({ source: site.put("hostile.zip", bundle) });
    expect(error.message).toMatch(message);
    expect(["failed_precondition", "too_large"]).toContain(error.code);
    expect(site.found()).toEqual({});
    expect(readdirSync(dir.path).sort()).toEqual(["data", "hostile.zip"]);
  });

  test("that is a bomb is stopped long before its end", async () => {
    const zeros = { name: "search", content: big };
    for (const bundle of [zipOf([zeros]), tarGzOf([zeros])]) {
      const error = await site.refusal({ source: site.put("bomb", bundle) });
      expect(error.message).toMatch(/more than 100 times its size/);
      expect(error.code).toBe("too_large");
      expect(site.found()).toEqual({});
    }
  });

  const wrong: [string, string, Buffer | string, RegExp][] = [
    ["an archive's name only", "x.zip", "no archive", /"x.zip" is no zip archive/],
    ["a gzip that is cut off", "x", tarGzOf(one).subarray(0, 60), /no gzip archive/],
    ["a gzip of something else", "x", gzipSync("text"), /too early/],
    ["a tar.xz", "x", Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), /packed with xz/],
    ["nothing", "x", "", /it is empty/],
  ];
  test.each(wrong)("that has %s is refused", async (_, name, content, message) => {
    expect((await site.refusal({ source: site.put(name, content) })).message).toMatch(message);
    expect(site.found()).toEqual({});
  });
});
