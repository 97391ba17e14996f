// scripts/eventdbx-installer.sh over TLS, which is how people use it: nothing that a server says
// may lead it to a place without.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { archiveName, install, lacking, pathWith, releaseOf } from "../support/installer.ts";
import { startReleases, type Releases } from "../support/releases.ts";
import { tempDir, type TempDir } from "../support/temp.ts";
import { makePair, type MadePair } from "../support/tls.ts";

const untold = lacking || Bun.which("openssl") === null;
const archive = archiveName("tar.gz");

describe.skipIf(untold)("over TLS [needs curl and openssl]", () => {
  let dir: TempDir;
  let releases: Releases;
  let pair: MadePair;
  let home: string;
  let front: Bun.Server<undefined>;
  /** What the server does instead of answering as releases do. */
  let leads: "nowhere" | "by its list" | "by a redirect";

  beforeAll(async () => {
    dir = tempDir();
    releases = await startReleases({ releases: { "v2.1.0": releaseOf(dir.path, "2.1.0") } });
    pair = await makePair(dir.path, "releases");
    front = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      tls: { cert: readFileSync(pair.cert), key: readFileSync(pair.key) },
      async fetch(request) {
        const { pathname } = new URL(request.url);
        if (leads === "by a redirect" && pathname.endsWith(archive)) {
          return Response.redirect(`${releases.origin}${pathname}`);
        }
        const answer = await fetch(`${releases.origin}${pathname}`);
        const origin = leads === "by its list" ? releases.origin : front.url.origin;
        if (pathname.startsWith("/download")) return answer;
        return new Response((await answer.text()).replaceAll(releases.origin, origin));
      },
    });
  });
  afterAll(async () => {
    await front.stop(true);
    await releases[Symbol.asyncDispose]();
    dir[Symbol.dispose]();
  });
  beforeEach(() => {
    leads = "nowhere";
    home = join(dir.path, "person", "home");
    rmSync(join(dir.path, "person"), { recursive: true, force: true });
    mkdirSync(home, { recursive: true });
  });

  const go = (over: Readonly<Record<string, string>> = {}) => {
    const trust = { CURL_CA_BUNDLE: pair.cert, DBX_RELEASES_URL: `${front.url.origin}/releases` };
    const env = { PATH: pathWith(dir.path, ["curl", "gzip", "sha256sum"]), ...trust, ...over };
    return install({ home, releases, env, shell: ["/bin/sh"] });
  };
  const isThere = () => existsSync(join(home, ".local/bin/dbx"));

  test("a release is installed", async () => {
    expect(await go()).toMatchObject({ code: 0, stderr: expect.not.stringContaining("warning") });
    expect(isThere()).toBe(true);
  });

  test("a certificate that nobody vouches for ends it", async () => {
    const { code, stderr } = await go({ CURL_CA_BUNDLE: "" });
    expect(stderr).toMatch(/no answer: curl: \(60\).*certificate/);
    expect([code, isThere()]).toEqual([1, false]);
  });

  test("a list that names files without TLS is not followed", async () => {
    leads = "by its list";
    const { code, stderr } = await go();
    expect(stderr).toContain(`${archive} is not encrypted, and nobody said that it may be so`);
    expect([code, isThere()]).toEqual([1, false]);
  });

  test("nor is a redirect to a place without TLS", async () => {
    leads = "by a redirect";
    const asked = releases.asked.length;
    const { code, stderr } = await go();
    expect(stderr).toMatch(/the server answered 302, and that is not followed: curl: \(1\)/);
    expect([code, isThere()]).toEqual([1, false]);
    expect(releases.asked.slice(asked)).toEqual(["/releases/latest"]);
  });
});

describe.skipIf(lacking)("without TLS [needs curl]", () => {
  test("a token goes to no other machine, and an unstamped script says what that is worth", async () => {
    using dir = tempDir();
    const home = join(dir.path, "home");
    mkdirSync(home);
    await using place = await startReleases({ releases: { "v2.1.0": {} } });
    // Names of this machine and look-alikes; none of the latter is asked, because of the proxy.
    const proxy = { http_proxy: place.origin, no_proxy: "" };
    const hosts: readonly (readonly [string, boolean])[] = [
      ["127.0.0.1.example.com", false],
      ["127.0.0.1:1@example.com", false],
      ["localhost.example.com", false],
      ["10.0.0.1", false],
      ["127.0.0.1:9", true],
      ["localhost:9", true],
      ["[::1]:9", true],
    ];
    for (const [host, isHere] of hosts) {
      const env = {
        ...proxy,
        DBX_RELEASES_URL: `http://${host}/r`,
        EVENTDBX_GITHUB_TOKEN: "hidden",
      };
      const { code, stderr } = await install({ home, releases: place, env });
      expect([host, code]).toEqual([host, 1]);
      expect([host, stderr.includes("is not sent over http://")]).toEqual([host, !isHere]);
      expect([host, stderr.includes("can exchange a file together with")]).toEqual([host, !isHere]);
      const sent = place.requests.at(-1)?.headers["authorization"];
      expect([host, sent === "Bearer hidden"]).toEqual([host, isHere]);
    }
    expect(place.asked.length).toBe(hosts.length);
  });
});
