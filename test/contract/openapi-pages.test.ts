// The two pages that describe the API: open to everybody, kept by caches as long as they are right,
// small on the wire, and loading nothing from anywhere.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { routes } from "../../src/api/routes.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server[Symbol.asyncDispose]());

/** As it comes over the wire: nothing is unpacked. */
const fetchPage = (path: string, headers: Record<string, string> = {}) =>
  fetch(`http://127.0.0.1:${server.port}${path}`, { headers, decompress: false });

describe.each([
  ["/docs", "text/html; charset=utf-8", 20_000],
  ["/openapi.json", "application/json", 20_000],
])("%s", (path, type, zipped_max) => {
  test("needs no token, and says what it is", async () => {
    const page = await fetchPage(path, { "Accept-Encoding": "identity" });
    expect([page.status, page.headers.get("content-type")]).toEqual([200, type]);
    expect(page.headers.get("x-content-type-options")).toBe("nosniff");
    expect(page.headers.has("content-encoding")).toBe(false);
  });

  test("comes packed to who takes that, and is the same unpacked", async () => {
    const plain = await (await fetchPage(path, { "Accept-Encoding": "identity" })).text();
    const packed = await fetchPage(path, { "Accept-Encoding": "br, gzip" });
    expect(packed.headers.get("content-encoding")).toBe("gzip");
    const bytes = new Uint8Array(await packed.arrayBuffer());
    expect(bytes.length).toBeLessThan(zipped_max);
    expect(new TextDecoder().decode(Bun.gunzipSync(bytes))).toBe(plain);
  });

  test.each([
    ["gzip", true],
    ["GZIP;q=0.5", true],
    ["x-gzip", true],
    ["br, gzip ;q=1, *", true],
    ["gzip;q=0", false],
    ["gzip; q=0.000", false],
    ["gzip;q=0, br", false],
    ["gzipped", false],
    ["br", false],
    ["identity", false],
  ])("Accept-Encoding: %s takes gzip: %p", async (accepted, packs) => {
    const { headers } = await fetchPage(path, { "Accept-Encoding": accepted });
    expect(headers.get("content-encoding")).toBe(packs ? "gzip" : null);
    expect(headers.get("vary")).toBe("Accept-Encoding");
  });

  test("is not sent again to who has it, each form under a tag of its own", async () => {
    const forms = ["identity", "gzip"].map(async (accepted) => {
      const asked = { "Accept-Encoding": accepted };
      const tag = (await fetchPage(path, asked)).headers.get("etag") ?? "none";
      const again = await fetchPage(path, { ...asked, "If-None-Match": tag });
      expect([again.status, await again.text(), again.headers.get("etag")]).toEqual([304, "", tag]);
      expect(again.headers.get("cache-control")).toBe("no-cache");
      return tag;
    });
    const [plain, packed] = await Promise.all(forms);
    expect(plain).not.toBe(packed);
    const other = { "Accept-Encoding": "gzip", "If-None-Match": plain ?? "" };
    expect((await fetchPage(path, other)).status).toBe(200);
  });

  test("is answered to HEAD without a body", async () => {
    const { status, text } = await server.ask("HEAD", path, { token: null });
    expect([status, text]).toEqual([200, ""]);
  });
});

describe("the reference", () => {
  let text: string;
  let policy: string;
  beforeAll(async () => {
    const page = await fetchPage("/docs", { "Accept-Encoding": "identity" });
    text = await page.text();
    policy = page.headers.get("content-security-policy") ?? "";
  });

  test("shows every operation and the stream", () => {
    const shown = [...routes.map(({ operation }) => operation), "followLog"];
    expect(shown.filter((name) => !text.includes(`id="${name}"`))).toEqual([]);
  });

  test("says which headers show who asks, and where the master key is one", () => {
    expect(text).toContain("<code>Authorization: Bearer</code>");
    expect(text).toContain("<code>X-Admin-Key</code>");
    const keyed = routes.filter(({ path }) => path.startsWith("/admin/"));
    expect(text.split(", or the master key.")).toHaveLength(keyed.length + 1);
    // Whatever is not open is shown with the header that most will use.
    expect(text.split(" -H &quot;$AUTH&quot;")).toHaveLength(routes.length + 1);
  });

  test("has no script and nothing that a browser would load", () => {
    expect(text).not.toMatch(/<(?:script|img|iframe|object|embed|form|input|base)\b/i);
    expect(text).not.toMatch(/\s(?:on\w+|src|srcset|style)=/i);
    expect(text).not.toMatch(/@import|url\(/i);
    const links = [...text.matchAll(/href="([^"]*)"/g)].map(([, target = ""]) => target);
    const outside = links.filter((target) => !target.startsWith("#"));
    expect([...new Set(outside)].sort()).toEqual(["data:,", "openapi.json"]);
  });

  test("forbids all but its own style, which it names by its hash", () => {
    const [, style = ""] = /<style>([^]*?)<\/style>/.exec(text) ?? [];
    const hash = new Bun.CryptoHasher("sha256").update(style).digest("base64");
    expect(policy.split("; ")).toEqual([
      "default-src 'none'",
      "img-src data:",
      `style-src 'sha256-${hash}'`,
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ]);
  });

  test("has links that lead somewhere, and no two places of one name", () => {
    const places = [...text.matchAll(/\sid="([^"]*)"/g)].map(([, name = ""]) => name);
    expect(new Set(places).size).toBe(places.length);
    const targets = [...text.matchAll(/href="#([^"]*)"/g)].map(([, name = ""]) => name);
    expect(targets.length).toBeGreaterThan(60);
    expect(targets.filter((name) => !places.includes(name))).toEqual([]);
  });

  test("closes every element that it opens", () => {
    const open: string[] = [];
    const empty = ["meta", "link", "br", "!doctype"];
    for (const [, slash = "", name = ""] of text.matchAll(/<(\/?)([!\w]+)[^>]*>/g)) {
      if (slash === "/") expect([name, open.pop()]).toEqual([name, name]);
      else if (!empty.includes(name)) open.push(name);
    }
    expect(open).toEqual([]);
  });
});
