// The place of releases that other tests download from: a fault that it does not do would make
// them pass for nothing.

import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startReleases, withChecksums, type Fault } from "../support/releases.ts";
import { tempDir } from "../support/temp.ts";

const releases = {
  "v2.1.0": withChecksums({ "a.tar.gz": "0123456789" }),
  "v2.10.0-rc.1": withChecksums({ "a.tar.gz": "next" }),
  "v2.2.0": withChecksums({ "a.tar.gz": "newer" }),
};

test("the list is paged, the latest is no pre-release, and files are where the list says", async () => {
  await using server = await startReleases({ releases });
  const list = async (query: string) =>
    ((await (await fetch(`${server.url}?${query}`)).json()) as { tag_name: string }[]).map(
      ({ tag_name }) => tag_name,
    );
  expect(await list("per_page=2&page=1")).toEqual(["v2.10.0-rc.1", "v2.2.0"]);
  expect(await list("per_page=2&page=2")).toEqual(["v2.1.0"]);
  expect(await list("per_page=2&page=3")).toEqual([]);
  const latest = (await (await fetch(`${server.url}/latest`)).json()) as {
    tag_name: string;
    assets: { name: string; browser_download_url: string }[];
  };
  expect(latest.tag_name).toBe("v2.2.0");
  const archive = latest.assets.find(({ name }) => name === "a.tar.gz");
  expect(archive?.browser_download_url).toBe(`${server.download}/v2.2.0/a.tar.gz`);
  expect(await (await fetch(archive?.browser_download_url ?? "")).text()).toBe("newer");
  expect((await fetch(`${server.url}/tags/v9.9.9`)).status).toBe(404);
  expect(server.asked[0]).toBe("/releases?per_page=2&page=1");
});

test("a folder is served as what is in it", async () => {
  using dir = tempDir();
  mkdirSync(join(dir.path, "v2.1.0"));
  writeFileSync(join(dir.path, "v2.1.0", "a.tar.gz"), "0123456789");
  await using server = await startReleases({ releases: dir.path });
  expect(await (await fetch(`${server.download}/v2.1.0/a.tar.gz`)).text()).toBe("0123456789");
});

describe("a file that is", () => {
  const get = async (fault: Fault, signal?: AbortSignal) => {
    await using server = await startReleases({ releases, faults: { "a.tar.gz": fault } });
    const answer = await fetch(`${server.download}/v2.1.0/a.tar.gz`, {
      redirect: "manual",
      ...(signal === undefined ? {} : { signal }),
    });
    return { status: answer.status, headers: answer.headers, text: await answer.text() };
  };

  test("altered has one other byte", async () => {
    expect((await get({ kind: "altered" })).text).toBe("0123446789");
  });
  test("cut ends before what was announced", async () => {
    const failed = await get({ kind: "cut" }).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(Error);
  });
  test("missing or refused is answered so", async () => {
    expect((await get({ kind: "missing" })).status).toBe(404);
    const limited = { kind: "refused", status: 429, headers: { "retry-after": "7" } } as const;
    const refused = await get(limited);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "7"]);
  });
  test("elsewhere is pointed to", async () => {
    const moved = await get({ kind: "redirect", to: "http://127.0.0.1:1/x" });
    expect([moved.status, moved.headers.get("location")]).toEqual([302, "http://127.0.0.1:1/x"]);
  });
  test("silent or stalled never ends", async () => {
    for (const kind of ["silent", "stalled"] as const) {
      const failed = await get({ kind }, AbortSignal.timeout(50)).catch((error: unknown) => error);
      expect(failed).toMatchObject({ name: "TimeoutError" });
    }
  });
});
