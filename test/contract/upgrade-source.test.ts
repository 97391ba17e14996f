// The place of releases as dbx asks it: what is sent and to whom, how long it waits, and what it
// says of every answer that is none.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { findRelease, listReleases } from "../../src/cli/upgrade/releases.ts";
import { createSource } from "../../src/cli/upgrade/source.ts";
import { DbxError, type ErrorCode } from "../../src/model/error.ts";
import { version } from "../../src/version.ts";
import { startReleases, type Assets, type Fault, type Releases } from "../support/releases.ts";
import { tempDir } from "../support/temp.ts";

const releases = { "v2.1.0": { "a.tar.gz": "0123456789" }, "v2.0.0": { "a.tar.gz": "older" } };
const { signal } = new AbortController();

/** One that is asked for what never comes is not worth waiting for; any other may be slow. */
const patience = (fault?: Fault): number =>
  fault?.kind === "silent" || fault?.kind === "stalled" ? 150 : 20_000;

const sourceOf = (
  server: Pick<Releases, "url">,
  { env = {}, fault }: { env?: Record<string, string>; fault?: Fault } = {},
) => {
  const silence_ms = patience(fault);
  return createSource({ env: { DBX_RELEASES_URL: server.url, ...env }, silence_ms, signal });
};

async function failureOf(work: Promise<unknown>): Promise<DbxError> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error instanceof DbxError) return error;
  throw new Error(`expected a refusal, got ${String(error)}`);
}

describe("a look-up", () => {
  test("asks for the latest, or for one tag, and says who asks", async () => {
    await using server = await startReleases({ releases });
    const source = sourceOf(server);
    expect((await findRelease(source, null)).version).toBe("2.1.0");
    expect((await findRelease(source, "v2.0.0")).version).toBe("2.0.0");
    expect(server.asked).toEqual(["/releases/latest", "/releases/tags/v2.0.0"]);
    const [first] = server.requests;
    expect(first?.headers["user-agent"]).toBe(`eventdbx-cli/${version}`);
    expect(first?.headers["accept"]).toBe("application/vnd.github+json");
    expect(first?.headers["authorization"]).toBeUndefined();
  });

  test("below the floor asks nobody, and a latest below it is refused as well", async () => {
    const old = { "v1.13.1": { "a.tar.gz": "" } };
    await using server = await startReleases({ releases: old });
    const source = sourceOf(server);
    const words = "upgrading to 'v1.13.1' is not supported; minimum supported version is v1.13.2";
    expect((await failureOf(findRelease(source, "v1.13.1"))).message).toBe(words);
    expect(server.asked).toEqual([]);
    expect((await failureOf(findRelease(source, null))).message).toBe(words);
  });

  const refused = (status: number, headers: Record<string, string> = {}): Fault => ({
    ...{ kind: "refused", status, headers },
  });
  const reset = { "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800000000" };
  const end = "its rate limit is used up until 2027-01-15T08:00:00Z; ";
  const returned = "GitHub returned an error when fetching the latest release: ";
  const contact = "failed to contact GitHub releases API for latest tag: ";
  const date = { "retry-after": "Fri, 15 Jan 2027 08:00:00 GMT" };
  test.each<[string, Fault, ErrorCode, string]>([
    ["missing", { kind: "missing" }, "not_found", "no releases found for EventDBX"],
    ["limited (403)", refused(403, reset), "overloaded", `${returned}${end}`],
    ["limited (429)", refused(429, reset), "overloaded", `${returned}${end}`],
    ["limited by a date", refused(429, date), "overloaded", `${returned}${end}`],
    ["limited", refused(429), "overloaded", `${returned}its rate limit is used up; `],
    ["forbidden", refused(403), "unavailable", returned],
    ["broken", refused(500), "unavailable", returned],
    [
      "no JSON",
      { kind: "nonsense" },
      "unavailable",
      "failed to parse GitHub latest release response: ",
    ],
    ["silent", { kind: "silent" }, "unavailable", contact],
    ["cut", { kind: "cut" }, "unavailable", contact],
    ["stalled", { kind: "stalled" }, "unavailable", contact],
  ])("whose answer is %s says so", async (_, fault, code, words) => {
    await using server = await startReleases({ releases, faults: { latest: fault } });
    const error = await failureOf(findRelease(sourceOf(server, { fault }), null));
    expect(error.message).toStartWith(words);
    expect(error.code).toBe(code);
  });

  test("of a tag has words of its own", async () => {
    await using server = await startReleases({ releases });
    const missing = await failureOf(findRelease(sourceOf(server), "v2.0.9"));
    expect(missing.message).toBe("release 'v2.0.9' was not found on GitHub");
    const say = async (fault: Fault) => {
      server.faults.set("tag", fault);
      return (await failureOf(findRelease(sourceOf(server, { fault }), "v2.0.0"))).message;
    };
    expect(await say(refused(502))).toStartWith(
      "GitHub returned an error when fetching tag v2.0.0: ",
    );
    expect(await say({ kind: "nonsense" })).toStartWith(
      "failed to parse GitHub response for tag v2.0.0: ",
    );
    expect(await say({ kind: "silent" })).toStartWith(
      "failed to contact GitHub releases API for tag v2.0.0: ",
    );
  });

  test("where nobody listens names the place", async () => {
    const error = await failureOf(findRelease(sourceOf({ url: "http://127.0.0.1:1/r" }), null));
    expect(error.message).toStartWith("failed to contact GitHub releases API for latest tag: ");
    expect(error.message).toContain("http://127.0.0.1:1/r/latest");
  });

  test.each(["ftp://x/releases", "no url", "https://jo:secret@x/releases", "https://x/?a=b"])(
    "at %p is refused before anybody is asked",
    (url) => {
      expect(() => sourceOf({ url })).toThrow("DBX_RELEASES_URL must be");
    },
  );
});

describe("the list", () => {
  const many: Record<string, Assets> = Object.fromEntries(
    Array.from({ length: 250 }, (_, index) => [`v2.0.${index}`, {}]),
  );

  test("beyond a hundred repeats none and leaves none out, by pages of one size", async () => {
    await using server = await startReleases({ releases: many });
    const tags = (await listReleases(sourceOf(server), 230)).map(({ tag_name }) => tag_name);
    expect(tags).toEqual(Array.from({ length: 230 }, (_, index) => `v2.0.${249 - index}`));
    expect(server.asked).toEqual([1, 2, 3].map((page) => `/releases?per_page=100&page=${page}`));
  });
  test("ends where there is no more", async () => {
    await using server = await startReleases({ releases: many });
    expect(await listReleases(sourceOf(server), 1_000)).toHaveLength(250);
    expect(server.asked).toHaveLength(4);
  });
  test("of a place without pages ends, too", async () => {
    await using pages = await startReleases({ releases });
    await using server = await startReleases({
      releases,
      faults: { list: { kind: "redirect", to: `${pages.url}?per_page=2&page=1` } },
    });
    expect(await listReleases(sourceOf(server), 500)).toHaveLength(2);
    expect(server.asked).toHaveLength(2);
  });
  test("of a few asks for a few, and a place without any has none", async () => {
    await using server = await startReleases({ releases: many });
    expect(await listReleases(sourceOf(server), 3)).toHaveLength(3);
    expect(server.asked).toEqual(["/releases?per_page=3&page=1"]);
    server.faults.set("list", { kind: "missing" });
    expect(await listReleases(sourceOf(server), 3)).toEqual([]);
    server.faults.set("list", { kind: "nonsense" });
    expect((await failureOf(listReleases(sourceOf(server), 3))).message).toStartWith(
      "failed to parse GitHub releases response (page 1): ",
    );
    server.faults.set("list", { kind: "refused", status: 500 });
    expect((await failureOf(listReleases(sourceOf(server), 3))).message).toStartWith(
      "GitHub returned an error listing releases (page 1): ",
    );
  });
});

describe("a token", () => {
  const env = { EVENTDBX_GITHUB_TOKEN: "own-token", GITHUB_TOKEN: "other-token" };
  const sentBy = (server: Releases) => server.requests.map(({ headers }) => headers.authorization);

  test("goes to the place, the own one before the common one", async () => {
    await using server = await startReleases({ releases });
    await findRelease(sourceOf(server, { env }), null);
    await findRelease(sourceOf(server, { env: { GITHUB_TOKEN: "other-token" } }), null);
    await findRelease(sourceOf(server, { env: { ...env, EVENTDBX_GITHUB_TOKEN: " " } }), null);
    expect(sentBy(server)).toEqual([
      "Bearer own-token",
      "Bearer other-token",
      "Bearer other-token",
    ]);
  });

  test("goes along no redirect, and to no other origin", async () => {
    await using other = await startReleases({ releases });
    await using server = await startReleases({
      releases,
      faults: {
        latest: { kind: "redirect", to: `${other.url}/latest` },
        tag: { kind: "redirect", to: "/releases/latest" },
      },
    });
    const source = sourceOf(server, { env });
    expect((await findRelease(source, null)).version).toBe("2.1.0");
    await source.readFile(`${other.download}/v2.1.0/a.tar.gz`);
    expect(sentBy(other)).toEqual([undefined, undefined]);
    server.faults.delete("latest");
    await findRelease(source, "v2.0.0");
    expect(sentBy(server)).toEqual(["Bearer own-token", "Bearer own-token", undefined]);
  });

  test("that the place refuses is named by its variable, and never shown", async () => {
    const faults = { latest: { kind: "refused", status: 401 } } as const;
    await using server = await startReleases({ releases, faults });
    const error = await failureOf(findRelease(sourceOf(server, { env }), null));
    expect(error.code).toBe("unauthenticated");
    expect(error.message).toContain("EVENTDBX_GITHUB_TOKEN");
    expect(JSON.stringify([error.message, error.details])).not.toContain("own-token");
  });
});

describe("a file", () => {
  const quiet = { progress: () => {} };

  test("comes whole, counted and hashed", async () => {
    using dir = tempDir();
    await using server = await startReleases({ releases });
    const to = join(dir.path, "a");
    const seen: number[] = [];
    const digest = await sourceOf(server).download(`${server.download}/v2.1.0/a.tar.gz`, {
      to,
      progress: ({ bytes, total }) => seen.push(bytes, total ?? -1),
    });
    expect(digest).toBe(new Bun.CryptoHasher("sha256").update("0123456789").digest("hex"));
    expect(readFileSync(to, "utf8")).toBe("0123456789");
    expect(seen.slice(-2)).toEqual([10, 10]);
  });

  test.each<[Fault, RegExp]>([
    [{ kind: "missing" }, /status 404/],
    [{ kind: "cut" }, /bytes arrived|closed|ECONNRESET|terminated/i],
    [{ kind: "stalled" }, /nothing arrived for 0.15 s/],
    [{ kind: "silent" }, /nothing arrived for 0.15 s/],
    [{ kind: "redirect", to: "/download/v2.1.0/a.tar.gz" }, /leads from one place to the next/],
    [{ kind: "redirect", to: "file:///etc/passwd" }, /not encrypted/],
  ])("that is %p is none", async (fault, reason) => {
    using dir = tempDir();
    await using server = await startReleases({ releases, faults: { "a.tar.gz": fault } });
    const address = `${server.download}/v2.1.0/a.tar.gz`;
    const work = sourceOf(server, { fault }).download(address, {
      to: join(dir.path, "a"),
      ...quiet,
    });
    expect((await failureOf(work)).message).toMatch(reason);
  });

  test("is not asked for in clear by a place that is not", async () => {
    const source = createSource({ env: {}, silence_ms: 150, signal });
    expect(source.base).toBe("https://api.github.com/repos/thachp/eventdbx/releases");
    expect(() => source.readFile("http://127.0.0.1:1/x")).toThrow("is not encrypted");
  });
});
