// The events of an aggregate by command line: all of them, however large, and on a terminal whole
// lines.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { canonicalOf } from "../../src/model/canonical.ts";
import { limits } from "../../src/model/limits.ts";
import { dbx, startForeground, type RunningServer } from "../support/cli.ts";
import { openStore, root } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

/** More than a page may have, in events of a million characters. */
const count = 70;
const text = "x".repeat(1_000_000);

async function fill(data_dir: string): Promise<void> {
  await using store = await openStore(data_dir);
  const most = Math.floor(limits.batch_bytes_max / (text.length + 1_000));
  for (let first = 0; first < count; first += most) {
    const events = Array.from({ length: Math.min(most, count - first) }, (_, index) => ({
      ...{ aggregate_type: "film", aggregate_id: "f-1", event_type: "shot" },
      payload: canonicalOf({ n: first + index, text }),
    }));
    await store.dbx.appendEvents(root, { events });
  }
}

const dir = tempDir();
const home = dir.path;
beforeAll(() => fill(`${home}/.eventdbx`));
afterAll(() => dir[Symbol.dispose]());

for (const up of [true, false]) {
  describe(`with the server ${up ? "up" : "down"}`, () => {
    let server: RunningServer | undefined;
    beforeAll(async () => {
      if (up) server = await startForeground({ home });
    });
    afterAll(async () => {
      await server?.[Symbol.asyncDispose]();
    });
    const versions = Array.from({ length: count }, (_, index) => index + 1);

    test("replay gives all events, though no page could hold them", async () => {
      const { stdout, stderr, code } = await dbx(["aggregate", "replay", "film", "f-1", "--json"], {
        home,
      });
      expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
      const events: { version: number; payload: { n: number; text: string } }[] =
        JSON.parse(stdout);
      expect(events.map(({ version }) => version)).toEqual(versions);
      expect(events.every(({ payload }, n) => payload.n === n && payload.text === text)).toBe(true);
    });

    test("and so does get with its events", async () => {
      const asked = ["aggregate", "get", "film", "f-1", "--include-events"];
      const { stdout, stderr, code } = await dbx(asked, { home });
      expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
      const { events }: { events: { version: number }[] } = JSON.parse(stdout);
      expect(events.map(({ version }) => version)).toEqual(versions);
    });
  });
}
